/* Copies the seed values of a field (ISO 32000-2 12.7.5.5, tables 237 and 238) without judging them: a policy is easier to
 * read, and to change, where it need not be written in C.
 *
 * Each value is a letter and what belongs to it; N is a length in four bytes, the most significant one first:
 *     n                    null
 *     ?                    what is no value that readers know
 *     t f                  true, false
 *     # N text             a number, as it is written
 *     s N bytes N text     a string, decoded (7.3.4), and the same as a text in UTF-8 (7.9.2.2)
 *     / N text             a name without its slash, with its escapes (7.3.5)
 *     [ values ]           an array
 *     < key value ... >    a dictionary; each key is a name */
#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_existing_field.h"
#include "pdfscan/pdf_text_read.h"

enum { MAX_SEED_BYTES = 256 << 10, MAX_SEED_DEPTH = 6 };

/* Leaves room for a length, which put_length() writes once it is known. */
static size_t begin_counted(pdf_buffer *out) {
    pdf_puts(out, "    ");
    return out->length;
}

static void put_length(pdf_buffer *out, size_t start) {
    size_t length = out->length - start;
    for (unsigned i = 0; !out->failed && i < 4; i++) out->bytes[start - 4 + i] = (uint8_t)(length >> (24 - 8 * i));
}

static pdf_refusal put_string(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out, pdf_buffer *scratch) {
    pdf_puts(out, "s");
    size_t start = begin_counted(out);
    bool fits = pdf_append_string(doc, holder, value, out);
    put_length(out, start);
    start = begin_counted(out);
    fits = fits && pdf_append_text(doc, holder, value, scratch, out);
    put_length(out, start);
    return fits ? PDF_OK : out->failed || scratch->failed ? PDF_REFUSE_MEMORY : PDF_REFUSE_OBJECTS;
}

static pdf_refusal put_scalar(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out, pdf_buffer *scratch) {
    pdf_kind kind = pdf_kind_of(value);
    if (kind == PDF_STRING) return put_string(doc, holder, value, out, scratch);
    if (kind != PDF_NUMBER && kind != PDF_NAME) {
        pdf_puts(out, kind == PDF_NULL ? "n" : kind != PDF_BOOLEAN ? "?" : *value.at == 't' ? "t" : "f");
        return PDF_OK;
    }
    pdf_puts(out, kind == PDF_NUMBER ? "#" : "/");
    size_t start = begin_counted(out);
    const uint8_t *at = value.at + (kind == PDF_NAME);
    pdf_put(out, at, (size_t)(value.end - at));
    put_length(out, start);
    return PDF_OK;
}

typedef struct {
    pdf_members members;
    pdf_object holder; /* the object in which they stand */
    bool is_dict;
} open_value;

/* Writes one value, or the beginning of one that has members, which are the next ones. */
static pdf_refusal put_value(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out, pdf_buffer *scratch, open_value *levels, unsigned *depth) {
    pdf_object object;
    pdf_refusal refusal = pdf_resolve(doc, value, &object);
    if (refusal) return refusal;
    pdf_kind kind = pdf_kind_of(object.value);
    if (kind != PDF_ARRAY && kind != PDF_DICT) return put_scalar(doc, pdf_holder(&object, holder), object.value, out, scratch);
    if (*depth == MAX_SEED_DEPTH || !pdf_spend(doc, (size_t)(object.value.end - object.value.at))) return PDF_REFUSE_OBJECTS;
    pdf_puts(out, kind == PDF_DICT ? "<" : "[");
    levels[(*depth)++] = (open_value){pdf_open(object.value), *pdf_holder(&object, holder), kind == PDF_DICT};
    return PDF_OK;
}

pdf_refusal pdf_flatten(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out) {
    open_value levels[MAX_SEED_DEPTH];
    pdf_buffer scratch = {.arena = doc->arena};
    unsigned depth = 0;
    pdf_refusal refusal = put_value(doc, holder, value, out, &scratch, levels, &depth);
    while (!refusal && depth) {
        open_value *top = &levels[depth - 1];
        const pdf_object parent = top->holder;
        pdf_span key = {0}, each;
        if (top->is_dict ? !pdf_next_pair(&top->members, &key, &each) : !pdf_next(&top->members, &each)) {
            pdf_puts(out, top->is_dict ? ">" : "]");
            depth--;
            continue;
        }
        if (top->is_dict) refusal = put_scalar(doc, &parent, key, out, &scratch);
        if (!refusal) refusal = put_value(doc, &parent, each, out, &scratch, levels, &depth);
        if (!refusal && out->length > MAX_SEED_BYTES) refusal = PDF_REFUSE_OBJECTS;
    }
    return refusal ? refusal : out->failed ? PDF_REFUSE_MEMORY : PDF_OK;
}
