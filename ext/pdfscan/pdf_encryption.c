/* Reads how a document is encrypted, and what that permits (ISO 32000-2 7.6.2, 7.6.4, 7.6.6). */
#include "pdfscan/pdf_encryption.h"

#include <string.h>

#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_string.h"

/* Strings of the encryption dictionary have at most 127 bytes. */
enum { MOST_ENTRY_BYTES = 127 };

/* Gives the bytes of a string entry; an entry that is absent has none. The strings here are never encrypted. */
static pdf_refusal read_bytes(pdf_document *doc, pdf_span value, size_t most, pdf_buffer *out) {
    size_t n = (size_t)(value.end - value.at);
    *out = (pdf_buffer){.arena = doc->arena};
    if (pdf_kind_of(value) != PDF_STRING) return PDF_OK;
    if (!pdf_spend(doc, n)) return PDF_REFUSE_OBJECTS;
    if (!pdf_reserve(out, n < most ? n : most)) return PDF_REFUSE_MEMORY;
    out->length = pdf_decode_string(value, out->bytes, n < most ? n : most);
    return PDF_OK;
}

static pdf_refusal read_string(pdf_document *doc, pdf_span dict, const char *key, pdf_buffer *out) {
    pdf_object value;
    pdf_refusal refusal = pdf_get_decisive(doc, dict, key, &value);
    return refusal ? refusal : read_bytes(doc, value.value, MOST_ENTRY_BYTES, out);
}

static pdf_refusal read_integer(pdf_document *doc, pdf_span dict, const char *key, int64_t otherwise, int64_t *out) {
    pdf_object value;
    pdf_refusal refusal = pdf_get_decisive(doc, dict, key, &value);
    if (refusal) return refusal;
    if (pdf_kind_of(value.value) == PDF_NULL)
        *out = otherwise;
    else if (!pdf_to_integer(value.value, out))
        return PDF_REFUSE_BROKEN_ENCRYPTION;
    return PDF_OK;
}

/* The first element of /ID, of any length. */
static pdf_refusal read_file_id(pdf_document *doc, pdf_encryption *found) {
    pdf_span entry, first;
    pdf_object list, element;
    found->file_id = (pdf_buffer){.arena = doc->arena};
    if (!pdf_trailer_get(doc, "ID", &entry)) return PDF_OK;
    if (!pdf_well_formed(entry)) return PDF_REFUSE_BROKEN_ENCRYPTION;
    pdf_refusal refusal = pdf_resolve(doc, entry, &list);
    if (refusal) return refusal;
    pdf_members members = pdf_open(list.value);
    if (pdf_kind_of(list.value) != PDF_ARRAY || !pdf_next(&members, &first)) return PDF_OK;
    if ((refusal = pdf_resolve(doc, first, &element))) return refusal;
    return read_bytes(doc, element.value, SIZE_MAX, &found->file_id);
}

/* 7.6.6: the method of the crypt filter that `key` names, /StmF or /StrF. */
static pdf_refusal read_method(pdf_document *doc, pdf_span dict, pdf_span filters, const char *key, int64_t version, pdf_method *method) {
    pdf_object name, filter, value;
    pdf_refusal refusal = pdf_get_decisive(doc, dict, key, &name);
    if (refusal) return refusal;
    *method = PDF_NOT_ENCRYPTED;
    if (pdf_kind_of(name.value) == PDF_NULL || pdf_name_is(name.value, "Identity")) return PDF_OK;
    /* The standard security handler has no other. */
    if (!pdf_name_is(name.value, "StdCF")) return PDF_REFUSE_CRYPT_METHOD;
    if ((refusal = pdf_get_decisive(doc, filters, "StdCF", &filter))) return refusal;
    if (pdf_kind_of(filter.value) != PDF_DICT) return PDF_REFUSE_BROKEN_ENCRYPTION;
    if ((refusal = pdf_get_decisive(doc, filter.value, "CFM", &value))) return refusal;
    if (version == 4 && pdf_name_is(value.value, "V2"))
        *method = PDF_RC4;
    else if (version == 4 && pdf_name_is(value.value, "AESV2"))
        *method = PDF_AES_128;
    else if (version == 5 && pdf_name_is(value.value, "AESV3"))
        *method = PDF_AES_256;
    return *method == PDF_NOT_ENCRYPTED ? PDF_REFUSE_CRYPT_METHOD : PDF_OK;
}

/* 7.6.2, table 20: version 1 and 2 are RC4, 4 and 5 have crypt filters. Version 3 was never published. */
static pdf_refusal read_methods(pdf_document *doc, pdf_span dict, pdf_encryption *found) {
    pdf_object filters;
    pdf_refusal refusal = read_integer(doc, dict, "V", 0, &found->version);
    if (refusal || (refusal = read_integer(doc, dict, "R", 0, &found->revision))) return refusal;
    int64_t v = found->version, r = found->revision;
    if (v == 1 || v == 2) {
        found->strings = found->streams = PDF_RC4;
        return r == 2 || r == 3 ? PDF_OK : PDF_REFUSE_CRYPT_METHOD;
    }
    if (!(v == 4 && r == 4) && !(v == 5 && (r == 5 || r == 6))) return PDF_REFUSE_CRYPT_METHOD;
    if ((refusal = pdf_get_decisive(doc, dict, "CF", &filters))) return refusal;
    if ((refusal = read_method(doc, dict, filters.value, "StrF", v, &found->strings))) return refusal;
    return read_method(doc, dict, filters.value, "StmF", v, &found->streams);
}

static pdf_refusal read_dictionary(pdf_document *doc, pdf_span dict, pdf_encryption *found) {
    static const char *const STRINGS[] = {"O", "U", "OE", "UE", "Perms"};
    pdf_buffer *const entries[] = {&found->owner, &found->user, &found->owner_key, &found->user_key, &found->confirmed_permissions};
    pdf_object metadata;
    int64_t permissions;
    pdf_refusal refusal = read_methods(doc, dict, found);
    if (refusal || (refusal = read_integer(doc, dict, "Length", 40, &found->key_bits))) return refusal;
    if ((refusal = read_integer(doc, dict, "P", INT64_MAX, &permissions))) return refusal;
    if (permissions == INT64_MAX) return PDF_REFUSE_BROKEN_ENCRYPTION;
    found->permissions = (uint32_t)permissions;
    if ((refusal = pdf_get_decisive(doc, dict, "EncryptMetadata", &metadata))) return refusal;
    found->encrypts_metadata = !pdf_skip_word(metadata.value.at, metadata.value.end, "false");
    for (unsigned i = 0; i < sizeof STRINGS / sizeof *STRINGS; i++)
        if ((refusal = read_string(doc, dict, STRINGS[i], entries[i]))) return refusal;
    return read_file_id(doc, found);
}

/* 7.6.4.2, table 22, whose bits count from 1: bit 6 permits filling in forms and, from revision 3 on, bit 9 does so alone. Forms
 * include signature fields. Readers that make a field for a signature want bit 4 too, but whoever lets others fill in and sign
 * has nothing against the field of a signature. */
static bool may_sign(const pdf_encryption *encryption) {
    bool fill = encryption->permissions >> 5 & 1, fill_alone = encryption->permissions >> 8 & 1;
    return fill || (encryption->revision > 2 && fill_alone);
}

pdf_refusal pdf_check_encryption(pdf_document *doc, pdf_span entry, pdf_encryption *found) {
    pdf_object encryption, handler;
    pdf_refusal refusal = pdf_resolve(doc, entry, &encryption);
    if (refusal) return refusal;
    pdf_span dict = encryption.value;
    pdf_kind kind = pdf_kind_of(dict);
    if (kind == PDF_NULL && !doc->crypt) return PDF_OK;
    if (kind != PDF_DICT) return PDF_REFUSE_BROKEN_ENCRYPTION;
    if (!pdf_spend(doc, 16 * (size_t)(dict.end - dict.at))) return PDF_REFUSE_OBJECTS;
    if ((refusal = pdf_get_decisive(doc, dict, "Filter", &handler))) return refusal;
    if (pdf_name_is(handler.value, "Adobe.PubSec")) return PDF_REFUSE_PUBLIC_KEY;
    if (!pdf_name_is(handler.value, "Standard")) return PDF_REFUSE_CRYPT_METHOD;
    /* ISO/TS 32004: a code over the whole file that every update must renew. */
    if (pdf_trailer_get(doc, "AuthCode", &dict)) return PDF_REFUSE_CRYPT_METHOD;
    if ((refusal = read_dictionary(doc, encryption.value, found))) return refusal;
    if (!doc->crypt) return PDF_REFUSE_ENCRYPTED;
    const pdf_unlock *unlock = doc->crypt->unlock;
    doc->crypt->keeps_metadata_clear = !found->encrypts_metadata;
    if (unlock->strings != found->strings || unlock->streams != found->streams) return PDF_REFUSE_BROKEN_ENCRYPTION;
    return may_sign(found) ? PDF_OK : PDF_REFUSE_FORBIDDEN;
}
