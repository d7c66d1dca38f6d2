/* Loads objects by number, from the file or from object streams, and decodes streams (ISO 32000-2 7.3.10, 7.5.7).
 *
 * The functions here call each other in a circle, because the format does: to load an object from an object stream, the
 * stream must be decoded, and its /Length, /Filter and /DecodeParms may be references to other objects. in_objstm and
 * the limits bound this. */
#include <string.h>

#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_document.h"

enum { REFERENCE_HOPS = 8, RESOLVE_WORK = 16 };

pdf_refusal pdf_read_value(pdf_document *doc, const uint8_t *at, const uint8_t *end, pdf_span *value) {
    bool too_deep = false;
    const uint8_t *start = value->at = value->end = pdf_skip_space(at, end);
    bool whole = pdf_skip_value(&start, end, doc->limits->depth, &too_deep);
    if (!pdf_spend(doc, (size_t)(start - at))) return PDF_REFUSE_OBJECTS;
    if (!whole) return too_deep ? PDF_REFUSE_DEPTH : PDF_REFUSE_BROKEN_OBJECT;
    value->end = start;
    return PDF_OK;
}

static bool ends_there(const pdf_document *doc, const uint8_t *at) {
    return pdf_skip_word(pdf_skip_space(at, doc->file.end), doc->file.end, "endstream") != NULL;
}

bool pdf_stream_bytes(pdf_document *doc, pdf_span dict, const uint8_t *end, pdf_span *raw) {
    const uint8_t *at = pdf_skip_space(dict.end, end);
    if (end - at < 6 || memcmp(at, "stream", 6) != 0) return false;
    at += 6;
    if (at < end && *at == '\r') at++;
    if (at < end && *at == '\n') at++;
    raw->at = at;
    pdf_object length;
    int64_t n;
    if (!pdf_get_resolved(doc, dict, "Length", &length) && pdf_to_integer(length.value, &n) && n >= 0 && n <= end - at && ends_there(doc, at + n)) {
        raw->end = at + n;
        return true;
    }
    const uint8_t *stop = pdf_find(at, end, "endstream");
    if (!pdf_spend(doc, (size_t)((stop ? stop : end) - at)) || !stop) return false;
    if (stop > at && stop[-1] == '\n') stop--;
    if (stop > at && stop[-1] == '\r') stop--;
    raw->end = stop;
    return true;
}

pdf_refusal pdf_decode_stream(pdf_document *doc, pdf_span dict, pdf_span raw, pdf_span *data) {
    enum { MAX_FILTERS = 8 };
    pdf_object filters, parameters;
    pdf_refusal refusal;
    *data = raw;
    if ((refusal = pdf_get_resolved(doc, dict, "Filter", &filters))) return refusal;
    if ((refusal = pdf_get_resolved(doc, dict, "DecodeParms", &parameters))) return refusal;
    pdf_kind kind = pdf_kind_of(filters.value);
    if (kind == PDF_NULL) return PDF_OK;
    if (kind == PDF_NAME) {
        /* Some files have an array of parameters for a single filter. */
        pdf_members list = pdf_open(parameters.value);
        if (pdf_kind_of(parameters.value) == PDF_ARRAY && !pdf_next(&list, &parameters.value)) parameters.value.at = parameters.value.end;
        return pdf_apply_filter(doc, filters.value, parameters.value, data);
    }
    if (kind != PDF_ARRAY) return PDF_REFUSE_FILTER;
    pdf_members names = pdf_open(filters.value), list = pdf_open(parameters.value);
    bool shared = pdf_kind_of(parameters.value) == PDF_DICT;
    pdf_span name, each = parameters.value;
    for (unsigned i = 0; pdf_next(&names, &name); i++) {
        pdf_object own = {.value = each};
        if (i == MAX_FILTERS) return PDF_REFUSE_FILTER;
        if (!shared) {
            if (!pdf_next(&list, &each)) each = (pdf_span){name.end, name.end};
            if ((refusal = pdf_resolve(doc, each, &own))) return refusal;
        }
        if ((refusal = pdf_apply_filter(doc, name, own.value, data))) return refusal;
    }
    return PDF_OK;
}

/* 7.6.6: whether the stream itself says that it is not encrypted, by a filter /Crypt that names /Identity. Of other names, the
 * standard security handler has only that of the usual method. */
static pdf_refusal reads_as_identity(pdf_document *doc, pdf_span dict, bool *is_identity) {
    pdf_object filter, parameters, name;
    pdf_refusal refusal = pdf_get_resolved(doc, dict, "Filter", &filter);
    if (refusal || (refusal = pdf_get_resolved(doc, dict, "DecodeParms", &parameters))) return refusal;
    pdf_span first = filter.value, with = parameters.value;
    pdf_members names = pdf_open(first), list = pdf_open(with);
    *is_identity = false;
    if (pdf_kind_of(first) == PDF_ARRAY && !pdf_next(&names, &first)) return PDF_OK;
    if (!pdf_name_is(first, "Crypt")) return PDF_OK;
    if (pdf_kind_of(with) == PDF_ARRAY && !pdf_next(&list, &with)) with = (pdf_span){dict.end, dict.end};
    if ((refusal = pdf_resolve(doc, with, &parameters)) || (refusal = pdf_get_resolved(doc, parameters.value, "Name", &name))) return refusal;
    *is_identity = pdf_kind_of(name.value) != PDF_NAME || pdf_name_is(name.value, "Identity");
    return PDF_OK;
}

pdf_refusal pdf_decrypt_data(pdf_document *doc, const pdf_object *holder, pdf_span dict, pdf_span *raw) {
    bool is_identity;
    if (!doc->crypt) return PDF_OK;
    pdf_refusal refusal = reads_as_identity(doc, dict, &is_identity);
    return refusal || is_identity ? refusal : pdf_decrypt_stream(doc, holder, raw);
}

pdf_refusal pdf_parse_objstm(pdf_document *doc, pdf_span dict, pdf_span raw, pdf_objstm *stream) {
    pdf_object value;
    const pdf_object holder = {.num = stream->num};
    int64_t n, first;
    pdf_refusal refusal = pdf_decrypt_data(doc, &holder, dict, &raw);
    if (refusal || (refusal = pdf_decode_stream(doc, dict, raw, &stream->data))) return refusal;
    size_t length = (size_t)(stream->data.end - stream->data.at);
    if ((refusal = pdf_get_resolved(doc, dict, "N", &value))) return refusal;
    if (!pdf_to_integer(value.value, &n)) return PDF_REFUSE_BROKEN_OBJECT;
    if ((refusal = pdf_get_resolved(doc, dict, "First", &value))) return refusal;
    if (!pdf_to_integer(value.value, &first) || n < 0 || first < 0 || (uint64_t)first > length || (uint64_t)n > length / 2) return PDF_REFUSE_BROKEN_OBJECT;
    /* The shortest pair takes four bytes, whatever /N says. */
    if (n > first / 4 + 1) n = first / 4 + 1;
    if (!pdf_spend(doc, (size_t)first)) return PDF_REFUSE_OBJECTS;
    stream->pairs = pdf_alloc(doc->arena, (size_t)n * 2 * sizeof(uint32_t) + 1);
    if (!stream->pairs) return PDF_REFUSE_MEMORY;
    const uint8_t *at = stream->data.at, *end = at + first;
    for (stream->count = 0; stream->count < (uint64_t)n; stream->count++) {
        uint64_t num, offset;
        if (!(at = pdf_skip_number(pdf_skip_space(at, end), end, &num)) || !(at = pdf_skip_number(pdf_skip_space(at, end), end, &offset))) break;
        stream->pairs[2 * stream->count] = num > UINT32_MAX ? UINT32_MAX : (uint32_t)num;
        stream->pairs[2 * stream->count + 1] = (uint64_t)first + offset > length ? (uint32_t)length : (uint32_t)(first + (int64_t)offset);
    }
    return PDF_OK;
}

pdf_refusal pdf_load_objstm(pdf_document *doc, uint32_t num, pdf_objstm **stream) {
    for (*stream = doc->objstms; *stream; *stream = (*stream)->next) {
        if ((*stream)->num == num) return PDF_OK;
        if (!pdf_spend(doc, 4)) return PDF_REFUSE_OBJECTS;
    }
    if (pdf_lookup(doc, num).type != PDF_ENTRY_PLAIN) return PDF_REFUSE_BROKEN_XREF;
    pdf_object object;
    pdf_span raw, type;
    pdf_refusal refusal = pdf_load(doc, num, 0, &object);
    if (refusal) return refusal;
    pdf_objstm *loaded = pdf_alloc_zeroed(doc->arena, sizeof *loaded);
    if (!loaded) return PDF_REFUSE_MEMORY;
    loaded->num = num;
    /* 7.5.7: its /Length must not be in an object stream, which could even be itself. */
    if (doc->in_objstm) return PDF_REFUSE_BROKEN_OBJECT;
    doc->in_objstm = true;
    if (!pdf_get(object.value, "Type", &type) || !pdf_name_is(type, "ObjStm") || !pdf_stream_bytes(doc, object.value, doc->file.end, &raw))
        refusal = PDF_REFUSE_BROKEN_XREF;
    else
        refusal = pdf_parse_objstm(doc, object.value, raw, loaded);
    doc->in_objstm = false;
    if (refusal) return refusal;
    loaded->next = doc->objstms;
    doc->objstms = *stream = loaded;
    return PDF_OK;
}

static pdf_refusal load_compressed(pdf_document *doc, uint32_t num, const pdf_entry *entry, pdf_object *object) {
    pdf_objstm *stream;
    if (entry->location > PDF_MAX_OBJECT_NUMBER) return PDF_REFUSE_BROKEN_XREF;
    pdf_refusal refusal = pdf_load_objstm(doc, (uint32_t)entry->location, &stream);
    if (refusal) return refusal;
    uint32_t index = entry->generation;
    if (index >= stream->count || stream->pairs[2 * (size_t)index] != num) {
        for (index = 0; index < stream->count && stream->pairs[2 * (size_t)index] != num;) index++;
        doc->work += index;
    }
    if (index >= stream->count) return PDF_REFUSE_BROKEN_XREF;
    object->compressed = true;
    return pdf_read_value(doc, stream->data.at + stream->pairs[2 * (size_t)index + 1], stream->data.end, &object->value);
}

pdf_refusal pdf_load(pdf_document *doc, uint32_t num, uint32_t gen, pdf_object *object) {
    memset(object, 0, sizeof *object);
    object->num = num;
    object->gen = gen;
    if (++doc->visited > doc->limits->objects) return PDF_REFUSE_OBJECTS;
    pdf_entry entry = pdf_lookup(doc, num);
    if (!pdf_spend(doc, 0)) return PDF_REFUSE_OBJECTS;
    if (entry.type == PDF_ENTRY_COMPRESSED && gen == 0) return load_compressed(doc, num, &entry, object);
    if (entry.type == PDF_ENTRY_BROKEN) return PDF_REFUSE_BROKEN_XREF;
    if (entry.type != PDF_ENTRY_PLAIN || entry.generation != gen) return PDF_OK;
    uint64_t found_num, found_gen;
    if (entry.location >= (uint64_t)(doc->file.end - doc->file.at)) return PDF_REFUSE_BROKEN_XREF;
    const uint8_t *at = pdf_skip_space(doc->file.at + entry.location, doc->file.end);
    at = pdf_skip_header(at, doc->file.end, &found_num, &found_gen);
    if (!at || found_num != num || found_gen != gen) return PDF_REFUSE_BROKEN_XREF;
    /* An empty object is null. */
    if (pdf_skip_word(at = pdf_skip_space(at, doc->file.end), doc->file.end, "endobj")) return PDF_OK;
    return pdf_read_value(doc, at, doc->file.end, &object->value);
}

pdf_refusal pdf_resolve(pdf_document *doc, pdf_span value, pdf_object *object) {
    uint32_t num, gen;
    memset(object, 0, sizeof *object);
    object->value = value;
    if (!pdf_spend(doc, RESOLVE_WORK + (size_t)(value.end - value.at))) return PDF_REFUSE_OBJECTS;
    for (unsigned hops = 0; pdf_to_ref(object->value, &num, &gen); hops++) {
        if (hops == REFERENCE_HOPS) return PDF_REFUSE_BROKEN_OBJECT;
        pdf_refusal refusal = pdf_load(doc, num, gen, object);
        if (refusal) return refusal;
    }
    return PDF_OK;
}

bool pdf_get_entries(pdf_document *doc, pdf_span dict, const char *const *keys, pdf_span *values, unsigned n, unsigned *ambiguous) {
    if (!pdf_spend(doc, (size_t)(dict.end - dict.at))) return false;
    unsigned found = pdf_get_each(dict, keys, values, n);
    if (ambiguous) *ambiguous = found;
    return true;
}

pdf_refusal pdf_get_resolved(pdf_document *doc, pdf_span dict, const char *key, pdf_object *object) {
    pdf_span value;
    if (!pdf_get_entries(doc, dict, &key, &value, 1, NULL)) return PDF_REFUSE_OBJECTS;
    return pdf_resolve(doc, value, object);
}

pdf_refusal pdf_get_decisive(pdf_document *doc, pdf_span dict, const char *key, pdf_object *object) {
    pdf_span value;
    unsigned ambiguous;
    if (!pdf_get_entries(doc, dict, &key, &value, 1, &ambiguous)) return PDF_REFUSE_OBJECTS;
    return ambiguous ? PDF_REFUSE_AMBIGUOUS : pdf_resolve(doc, value, object);
}
