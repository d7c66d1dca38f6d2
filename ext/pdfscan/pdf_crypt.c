/* Encrypts and decrypts by object, with the method and the key of the document. */
#include "pdfscan/pdf_crypt.h"

#include <string.h>

#include "pdfscan/pdf_string.h"

/* Units of work for a byte, and for the key of an object. */
enum { BYTE_WORK = 8, KEY_WORK = 1024 };

/* A key with the number and the generation of the object, and "sAlT" (7.6.3.2 algorithm 1). */
enum { NUMBER_BYTES = 5, SALT_BYTES = 4, LEAST_KEY_BYTES = 5, MOST_OBJECT_KEY = 16 };

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

/* What is kept: the two methods, the number of vectors with the most significant byte first, the seed, the key. */
enum { METHODS_BYTES = 2, VECTORS_BYTES = 8, KEPT_BYTES = METHODS_BYTES + VECTORS_BYTES + PDF_SEED_BYTES };

void pdf_keep_crypt(const pdf_crypt *crypt, pdf_buffer *out) {
    const pdf_unlock *unlock = crypt->unlock;
    uint8_t first[METHODS_BYTES + VECTORS_BYTES] = {(uint8_t)unlock->strings, (uint8_t)unlock->streams};
    for (unsigned i = 0; i < VECTORS_BYTES; i++) first[METHODS_BYTES + i] = (uint8_t)(crypt->vectors >> (56 - 8 * i));
    pdf_put(out, first, sizeof first);
    pdf_put(out, unlock->seed, PDF_SEED_BYTES);
    pdf_put(out, unlock->key, unlock->key_bytes);
}

static bool has_key(pdf_method method, size_t key_bytes) {
    if (method == PDF_AES_128) return key_bytes == MOST_OBJECT_KEY;
    if (method == PDF_AES_256) return key_bytes == PDF_MOST_KEY_BYTES;
    return method == PDF_NOT_ENCRYPTED || (method == PDF_RC4 && key_bytes >= LEAST_KEY_BYTES && key_bytes <= MOST_OBJECT_KEY);
}

pdf_crypt *pdf_restart_crypt(pdf_arena *arena, const uint8_t *kept, size_t n) {
    if (n < KEPT_BYTES || n > KEPT_BYTES + PDF_MOST_KEY_BYTES || kept[0] > PDF_AES_256 || kept[1] > PDF_AES_256) return NULL;
    pdf_unlock *unlock = pdf_alloc_zeroed(arena, sizeof *unlock);
    if (!unlock) return NULL;
    unlock->strings = (pdf_method)kept[0];
    unlock->streams = (pdf_method)kept[1];
    unlock->key_bytes = n - KEPT_BYTES;
    memcpy(unlock->seed, kept + KEPT_BYTES - PDF_SEED_BYTES, PDF_SEED_BYTES);
    memcpy(unlock->key, kept + KEPT_BYTES, unlock->key_bytes);
    if (!has_key(unlock->strings, unlock->key_bytes) || !has_key(unlock->streams, unlock->key_bytes)) return NULL;
    pdf_crypt *crypt = pdf_start_crypt(arena, unlock);
    for (unsigned i = 0; crypt && i < VECTORS_BYTES; i++) crypt->vectors = crypt->vectors << 8 | kept[METHODS_BYTES + i];
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

static size_t encrypted_length(pdf_method method, size_t n) { return method == PDF_NOT_ENCRYPTED || method == PDF_RC4 ? n : pdf_aes_length(n); }

/* Encrypts to `out`, which has room for encrypted_length() bytes. */
static void encrypt(pdf_document *doc, pdf_method method, uint32_t num, uint32_t gen, const uint8_t *in, size_t n, uint8_t *out) {
    object_key key = key_of(doc, method, num, gen);
    pdf_crypt *crypt = doc->crypt;
    pdf_spend(doc, KEY_WORK + BYTE_WORK * encrypted_length(method, n));
    if (method == PDF_RC4) {
        pdf_rc4(key.bytes, key.length, in, n, out);
        return;
    }
    pdf_aes_key expanded;
    uint8_t vector[PDF_AES_BLOCK];
    next_vector(crypt, vector);
    pdf_aes_expand(&crypt->tables, key.bytes, method == PDF_AES_256 ? 32 : 16, &expanded);
    pdf_aes_encrypt(&crypt->tables, &expanded, vector, in, n, out);
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

void pdf_put_string(pdf_document *doc, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n) {
    pdf_method method = doc->crypt ? doc->crypt->unlock->strings : PDF_NOT_ENCRYPTED;
    size_t length = encrypted_length(method, n);
    if (method == PDF_NOT_ENCRYPTED) {
        pdf_put_hex_string(out, bytes, n);
        return;
    }
    uint8_t *encrypted = pdf_alloc(doc->arena, length + 1);
    if (!encrypted) {
        out->failed = true;
        return;
    }
    encrypt(doc, method, num, gen, bytes, n, encrypted);
    pdf_put_hex_string(out, encrypted, length);
}

size_t pdf_encrypted_length(const pdf_document *doc, size_t n) { return encrypted_length(doc->crypt ? doc->crypt->unlock->streams : PDF_NOT_ENCRYPTED, n); }

void pdf_encrypt_stream(pdf_document *doc, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n) {
    if (!pdf_encrypts_streams(doc)) {
        pdf_put(out, bytes, n);
        return;
    }
    size_t length = pdf_encrypted_length(doc, n);
    if (!length || !pdf_reserve(out, length)) return;
    encrypt(doc, doc->crypt->unlock->streams, num, gen, bytes, n, out->bytes + out->length);
    out->length += length;
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

bool pdf_append_string(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out) {
    size_t most = (size_t)(value.end - value.at);
    if (pdf_kind_of(value) != PDF_STRING) return true;
    if (!pdf_spend(doc, most) || !pdf_reserve(out, most + PDF_AES_BLOCK)) return false;
    uint8_t *at = out->bytes + out->length;
    if (!doc->crypt || doc->crypt->unlock->strings == PDF_NOT_ENCRYPTED || holder->compressed) {
        out->length += pdf_decode_string(value, at, most);
        return true;
    }
    if (!pdf_spend(doc, KEY_WORK + BYTE_WORK * most)) return false;
    object_key key = key_of(doc, doc->crypt->unlock->strings, holder->num, holder->gen);
    /* Each block is written one block before the place from which it was read. */
    size_t given = pdf_decode_string(value, at + PDF_AES_BLOCK, most), n = decrypt(doc, &key, at + PDF_AES_BLOCK, given, at);
    out->length += key.method == PDF_RC4 ? n : pdf_aes_unpadded(at, n);
    return true;
}

pdf_refusal pdf_put_moved(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out, uint32_t num, uint32_t gen) {
    const uint8_t *at = value.at, *end = value.end, *copied = at;
    pdf_buffer bytes = {.arena = doc->arena};
    while (doc->crypt && (at = pdf_skip_space(at, end)) < end) {
        bool too_deep = false, opens_or_closes = *at == '[' || *at == ']' || *at == '>' || (*at == '<' && end - at > 1 && at[1] == '<');
        pdf_span token = {at, at};
        if (opens_or_closes) {
            at += *at == '[' || *at == ']' || end - at < 2 ? 1 : 2;
            continue;
        }
        if (!pdf_skip_value(&token.end, end, 1, &too_deep)) return PDF_REFUSE_BROKEN_OBJECT;
        at = token.end;
        if (pdf_kind_of(token) != PDF_STRING) continue;
        bytes.length = 0;
        if (!pdf_append_string(doc, holder, token, &bytes)) return bytes.failed ? PDF_REFUSE_MEMORY : PDF_REFUSE_OBJECTS;
        pdf_put(out, copied, (size_t)(token.at - copied));
        pdf_put_string(doc, out, num, gen, bytes.bytes, bytes.length);
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
    pdf_refusal refusal = pdf_put_moved(doc, object, object->value, &out, object->num, object->gen);
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
