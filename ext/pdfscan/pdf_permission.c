/* Reads what existing signatures permit (ISO 32000-2 12.8.1, 12.8.2). */
#include "pdfscan/pdf_permission.h"

#include "pdfscan/pdf_text_read.h"

/* Notes a name in the list of a lock: for a new field as one that is taken, for an existing one in `is_listed`. */
static pdf_refusal note_locked(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_field_names *names, pdf_buffer texts[2], bool *is_listed) {
    if (!doc->field.utf8) {
        pdf_note_name(doc, names, holder, value);
        return PDF_OK;
    }
    texts[1].length = 0;
    if (pdf_kind_of(value) != PDF_STRING) return PDF_OK;
    if (!pdf_append_text(doc, holder, value, &texts[0], &texts[1])) return texts[0].failed || texts[1].failed ? PDF_REFUSE_MEMORY : PDF_REFUSE_OBJECTS;
    *is_listed |= pdf_is_name_or_below(doc->field, (pdf_text){texts[1].bytes, texts[1].length});
    return PDF_OK;
}

/* 12.8.2.4: whether an existing signature locks the field that would be signed. One that does not exist yet is locked by
 * any signature that names only what it leaves open. */
static pdf_refusal check_locks(pdf_document *doc, const pdf_object *holder, pdf_span parameters, pdf_field_names *names) {
    pdf_object action, fields, name;
    pdf_span each;
    pdf_buffer texts[2] = {{.arena = doc->arena}, {.arena = doc->arena}};
    bool is_listed = false;
    pdf_refusal refusal = pdf_get_decisive(doc, parameters, "Action", &action);
    if (refusal) return refusal;
    bool excludes = pdf_name_is(action.value, "Exclude");
    if (pdf_name_is(action.value, "All") || (excludes && !doc->field.utf8)) return PDF_REFUSE_LOCKED;
    if ((refusal = pdf_get_decisive(doc, parameters, "Fields", &fields))) return refusal;
    pdf_members members = pdf_open(fields.value);
    while (pdf_kind_of(fields.value) == PDF_ARRAY && pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, &name))) return refusal;
        if ((refusal = note_locked(doc, pdf_holder(&name, pdf_holder(&fields, holder)), name.value, names, texts, &is_listed))) return refusal;
    }
    return doc->field.utf8 && is_listed != excludes ? PDF_REFUSE_LOCKED : PDF_OK;
}

static pdf_refusal check_transform(pdf_document *doc, const pdf_object *holder, pdf_span reference, pdf_field_names *names) {
    pdf_object method, parameters, value;
    int64_t level;
    pdf_refusal refusal = pdf_get_decisive(doc, reference, "TransformMethod", &method);
    if (refusal) return refusal;
    if ((refusal = pdf_get_decisive(doc, reference, "TransformParams", &parameters))) return refusal;
    if ((refusal = pdf_get_decisive(doc, parameters.value, "P", &value))) return refusal;
    bool forbids = pdf_to_integer(value.value, &level) && level == 1;
    if (forbids && pdf_name_is(method.value, "DocMDP")) return PDF_REFUSE_CERTIFIED;
    if (forbids && pdf_name_is(method.value, "FieldMDP")) return PDF_REFUSE_LOCKED;
    return pdf_name_is(method.value, "FieldMDP") ? check_locks(doc, pdf_holder(&parameters, holder), parameters.value, names) : PDF_OK;
}

/* 12.8.1: a /ByteRange that ends beyond the file covers whatever is appended, so that the signature would be broken by
 * any addition. */
static pdf_refusal check_byte_range(pdf_document *doc, pdf_span signature) {
    pdf_object range, number;
    pdf_span each;
    int64_t start = 0, value;
    uint64_t length = (uint64_t)(doc->file.end - doc->file.at);
    pdf_refusal refusal = pdf_get_resolved(doc, signature, "ByteRange", &range);
    if (refusal || pdf_kind_of(range.value) != PDF_ARRAY) return refusal;
    pdf_members members = pdf_open(range.value);
    for (bool is_length = false; pdf_next(&members, &each); is_length = !is_length) {
        if ((refusal = pdf_resolve(doc, each, &number))) return refusal;
        if (!pdf_to_integer(number.value, &value) || value < 0) return PDF_OK;
        if (is_length && ((uint64_t)start > length || (uint64_t)value > length - (uint64_t)start)) return PDF_REFUSE_BEYOND_END;
        start = value;
    }
    return PDF_OK;
}

pdf_refusal pdf_check_signature(pdf_document *doc, const pdf_object *holder, pdf_span signature, pdf_field_names *names) {
    pdf_object list, reference;
    pdf_span each;
    pdf_refusal refusal = check_byte_range(doc, signature);
    if (refusal) return refusal;
    if ((refusal = pdf_get_decisive(doc, signature, "Reference", &list))) return refusal;
    if (pdf_kind_of(list.value) != PDF_ARRAY) return PDF_OK;
    pdf_members members = pdf_open(list.value);
    while (pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, &reference))) return refusal;
        if ((refusal = check_transform(doc, pdf_holder(&reference, pdf_holder(&list, holder)), reference.value, names))) return refusal;
    }
    return PDF_OK;
}
