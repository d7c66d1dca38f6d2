/* Encrypts and decrypts by object, with the method and the key of the document. */
#include "pdfscan/pdf_crypt.h"

#include <string.h>

#include "pdfscan/pdf_string.h"

/* Units of work for a byte, and for the key of an object. */
enum { BYTE_WORK = 8, KEY_WORK = 1024 };

/* A key with the number and the generation of the object, and "sAlT" (7.6.3.2 algorithm 1). */
enum { NUMBER_BYTES = 5, SALT_BYTES = 4, MOST_OBJECT_KEY = 16 };

typedef struct {
    pdf_method method;
    uint8_t bytes[PDF_MOST_KEY_BYTES];
    size_t length;
} object_key;

pdf_crypt *pdf_start_crypt(pdf_arena *arena, const pdf_unlock *unlock) {
    pdf_crypt *crypt = pdf_alloc_zeroed(arena, sizeof *crypt);
    if (!crypt) return NULL;
    crypt->unlock = unlock;
    pdf_aes_make_tables(&crypt->tables);
    pdf_aes_expand(&crypt->tables, unlock->seed, PDF_SEED_BYTES, &crypt->seed);
    return crypt;
}

/* 7.6.3.2 and 7.6.3.3: the key of an object. With AES-256 it is that of the file. */
static object_key key_of(pdf_document *doc, pdf_method method, uint32_t num, uint32_t gen) {
    const pdf_unlock *unlock = doc->crypt->unlock;
    object_key key = {.method = method, .length = unlock->key_bytes};
    uint8_t joined[PDF_MOST_KEY_BYTES + NUMBER_BYTES + SALT_BYTES];
    size_t n = unlock->key_bytes;
    memcpy(key.bytes, unlock->key, n);
    if (method == PDF_AES_256) return key;
    const uint8_t number[NUMBER_BYTES] = {(uint8_t)num, (uint8_t)(num >> 8), (uint8_t)(num >> 16), (uint8_t)gen, (uint8_t)(gen >> 8)};
    memcpy(joined, unlock->key, n);
    memcpy(joined + n, number, NUMBER_BYTES);
    memcpy(joined + n + NUMBER_BYTES, "sAlT", SALT_BYTES);
    pdf_md5_short(joined, n + NUMBER_BYTES + (method == PDF_AES_128 ? SALT_BYTES : 0), key.bytes);
    key.length = n + NUMBER_BYTES < MOST_OBJECT_KEY ? n + NUMBER_BYTES : MOST_OBJECT_KEY;
    return key;
}

/* Decrypts to `out`, which has room for `n` bytes. Returns the length, for AES with its padding. */
static size_t decrypt(pdf_document *doc, const object_key *key, const uint8_t *in, size_t n, uint8_t *out) {
    if (key->method == PDF_RC4) {
        pdf_rc4(key->bytes, key->length, in, n, out);
        return n;
    }
    pdf_aes_key expanded;
    pdf_aes_expand(&doc->crypt->tables, key->bytes, key->method == PDF_AES_256 ? 32 : 16, &expanded);
    return pdf_aes_decrypt(&doc->crypt->tables, &expanded, in, n, out);
}

static void next_vector(pdf_crypt *crypt, uint8_t vector[PDF_AES_BLOCK]) {
    uint8_t counter[PDF_AES_BLOCK] = {0};
    uint64_t number = crypt->vectors++;
    for (unsigned i = 0; i < 8; i++) counter[i] = (uint8_t)(number >> 8 * i);
    pdf_aes_encrypt_block(&crypt->tables, &crypt->seed, counter, vector);
}

/* Gives the encrypted bytes in a block of the arena; NULL if memory runs out. */
static uint8_t *encrypt(pdf_document *doc, pdf_method method, uint32_t num, uint32_t gen, const uint8_t *in, size_t n, size_t *length) {
    object_key key = key_of(doc, method, num, gen);
    pdf_crypt *crypt = doc->crypt;
    *length = method == PDF_RC4 ? n : pdf_aes_length(n);
    pdf_spend(doc, KEY_WORK + BYTE_WORK * *length);
    uint8_t *out = pdf_alloc(doc->arena, *length + 1);
    if (!out) return NULL;
    if (method == PDF_RC4) {
        pdf_rc4(key.bytes, key.length, in, n, out);
        return out;
    }
    pdf_aes_key expanded;
    uint8_t vector[PDF_AES_BLOCK];
    next_vector(crypt, vector);
    pdf_aes_expand(&crypt->tables, key.bytes, method == PDF_AES_256 ? 32 : 16, &expanded);
    pdf_aes_encrypt(&crypt->tables, &expanded, vector, in, n, out);
    return out;
}

pdf_refusal pdf_decrypt_stream(pdf_document *doc, const pdf_object *holder, pdf_span *data) {
    if (!doc->crypt || doc->crypt->unlock->streams == PDF_NOT_ENCRYPTED) return PDF_OK;
    size_t n = (size_t)(data->end - data->at);
    if (!n) return PDF_OK;
    if (!pdf_spend(doc, KEY_WORK + BYTE_WORK * n)) return PDF_REFUSE_OBJECTS;
    object_key key = key_of(doc, doc->crypt->unlock->streams, holder->num, holder->gen);
    uint8_t *out = pdf_alloc(doc->arena, n);
    if (!out) return PDF_REFUSE_MEMORY;
    size_t length = decrypt(doc, &key, data->at, n, out);
    if (key.method != PDF_RC4) length = pdf_aes_unpadded(out, length);
    *data = (pdf_span){out, out + length};
    return PDF_OK;
}

static void put_encrypted(pdf_document *doc, pdf_method method, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n, bool as_string) {
    size_t length = n;
    const uint8_t *encrypted = method == PDF_NOT_ENCRYPTED ? bytes : encrypt(doc, method, num, gen, bytes, n, &length);
    if (!encrypted && method != PDF_NOT_ENCRYPTED)
        out->failed = true;
    else if (as_string)
        pdf_put_hex_string(out, encrypted, length);
    else
        pdf_put(out, encrypted, length);
}

void pdf_put_string(pdf_document *doc, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n) {
    put_encrypted(doc, doc->crypt ? doc->crypt->unlock->strings : PDF_NOT_ENCRYPTED, out, num, gen, bytes, n, true);
}

void pdf_encrypt_stream(pdf_document *doc, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n) {
    put_encrypted(doc, doc->crypt ? doc->crypt->unlock->streams : PDF_NOT_ENCRYPTED, out, num, gen, bytes, n, false);
}

size_t pdf_read_string(pdf_document *doc, const pdf_object *holder, pdf_span value, uint8_t *out, size_t room) {
    if (!doc->crypt || doc->crypt->unlock->strings == PDF_NOT_ENCRYPTED || holder->compressed) return pdf_decode_string(value, out, room);
    object_key key = key_of(doc, doc->crypt->unlock->strings, holder->num, holder->gen);
    /* The bytes are decrypted up to `room`: there are few of them that are of use. */
    size_t most = key.method == PDF_RC4 ? room : (room / PDF_AES_BLOCK + 3) * PDF_AES_BLOCK, whole = (size_t)(value.end - value.at);
    if (most > whole) most = whole;
    if (!most) return 0;
    if (!pdf_spend(doc, KEY_WORK + BYTE_WORK * most)) return 0;
    pdf_arena scratch = {.limit = 0};
    uint8_t *encrypted = pdf_alloc(&scratch, most), *clear = pdf_alloc(&scratch, most);
    size_t n = 0;
    if (encrypted && clear) {
        size_t given = pdf_decode_string(value, encrypted, most);
        n = decrypt(doc, &key, encrypted, given, clear);
        if (key.method != PDF_RC4 && n <= room + PDF_AES_BLOCK) n = pdf_aes_unpadded(clear, n);
        if (n > room) n = room;
        memcpy(out, clear, n);
    }
    pdf_arena_free(&scratch);
    return n;
}

/* Copies a value and encrypts its strings. */
static pdf_refusal copy_encrypted(pdf_document *doc, const pdf_object *object, pdf_buffer *out) {
    const uint8_t *at = object->value.at, *end = object->value.end, *copied = at;
    while ((at = pdf_skip_space(at, end)) < end) {
        bool too_deep = false, opens_or_closes = *at == '[' || *at == ']' || *at == '>' || (*at == '<' && end - at > 1 && at[1] == '<');
        pdf_span token = {at, at};
        if (opens_or_closes) {
            at += *at == '[' || *at == ']' || end - at < 2 ? 1 : 2;
            continue;
        }
        if (!pdf_skip_value(&token.end, end, 1, &too_deep)) return PDF_REFUSE_BROKEN_OBJECT;
        at = token.end;
        if (pdf_kind_of(token) != PDF_STRING) continue;
        size_t n = (size_t)(token.end - token.at);
        uint8_t *bytes = pdf_alloc(doc->arena, n);
        if (!bytes) return PDF_REFUSE_MEMORY;
        pdf_put(out, copied, (size_t)(token.at - copied));
        pdf_put_string(doc, out, object->num, object->gen, bytes, pdf_decode_string(token, bytes, n));
        if (!pdf_spend(doc, 0)) return PDF_REFUSE_OBJECTS;
        copied = token.end;
    }
    pdf_put(out, copied, (size_t)(end - copied));
    return out->failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

pdf_refusal pdf_take(pdf_document *doc, pdf_object *object) {
    if (!doc->crypt || !object->compressed) return PDF_OK;
    pdf_crypt *crypt = doc->crypt;
    if (crypt->taken_count == PDF_MOST_TAKEN) return PDF_REFUSE_OBJECTS;
    crypt->taken[crypt->taken_count++] = object->num;
    pdf_buffer out = {.arena = doc->arena};
    pdf_refusal refusal = copy_encrypted(doc, object, &out);
    if (refusal) return refusal;
    object->value = (pdf_span){out.bytes, out.bytes + out.length};
    object->compressed = false;
    return PDF_OK;
}

bool pdf_is_taken(pdf_document *doc, uint32_t num) {
    const pdf_crypt *crypt = doc->crypt;
    if (!crypt || pdf_lookup(doc, num).type != PDF_ENTRY_COMPRESSED) return true;
    for (unsigned i = 0; i < crypt->taken_count; i++)
        if (crypt->taken[i] == num) return true;
    return false;
}
