/* Walks the tree of form fields (ISO 32000-2 12.7.4), with a stack in the arena in place of recursion. */
#include "pdfscan/pdf_fields.h"

#include "pdfscan/pdf_permission.h"
#include "pdfscan/pdf_seen.h"

typedef enum { UNTYPED, SIGNATURE, OTHER, TYPES } field_type;

/* One node of the tree whose children are being visited. Fields inherit /FT and /V from their ancestors (12.7.4.1). */
typedef struct {
    pdf_members kids;
    pdf_object holder, value_holder; /* the objects in which `kids` and `value` stand; their own values are not looked at */
    pdf_span value;
    field_type type;
    bool named; /* the node or an ancestor has a name, so children have only partial names */
} level;

typedef struct {
    pdf_document *doc;
    pdf_fields *found;
    pdf_buffer levels; /* a stack of level */
    pdf_seen seen;
} walk;

enum { NAME, TYPE, VALUE, KIDS, KEYS };
static const char *const FIELD_KEYS[KEYS] = {"T", "FT", "V", "Kids"};

static pdf_refusal push(walk *w, pdf_span kids, level inherited) {
    inherited.kids = pdf_open(kids);
    pdf_put(&w->levels, &inherited, sizeof inherited);
    return w->levels.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

/* A field's value is a signature if its type says so. Where no type is known, a value that has a /ByteRange is taken for
 * one, because readers differ in where they look for the type. */
static pdf_refusal check_value(walk *w, const level *field, bool is_ambiguous) {
    field_type type = field->type;
    pdf_span value = field->value;
    pdf_object signature;
    if (type == OTHER) return PDF_OK;
    pdf_refusal refusal = pdf_resolve(w->doc, value, &signature);
    if (refusal) return refusal;
    bool is_dict = pdf_kind_of(signature.value) == PDF_DICT;
    if (is_ambiguous && (type == SIGNATURE || is_dict)) return PDF_REFUSE_AMBIGUOUS;
    if (!is_dict || (type == UNTYPED && !pdf_get(signature.value, "ByteRange", &value))) return PDF_OK;
    w->found->has_signatures = true;
    return pdf_check_signature(w->doc, pdf_holder(&signature, &field->value_holder), signature.value, &w->found->names);
}

/* Visits one field, and makes its children the next ones. */
static pdf_refusal visit(walk *w, pdf_span reference, level inherited) {
    pdf_document *doc = w->doc;
    pdf_object field, entry;
    pdf_span entries[KEYS];
    unsigned ambiguous;
    pdf_refusal refusal = pdf_resolve(doc, reference, &field);
    if (refusal) return refusal;
    const pdf_object holder = *pdf_holder(&field, &inherited.holder);
    if (!pdf_get_entries(doc, field.value, FIELD_KEYS, entries, KEYS, &ambiguous)) return PDF_REFUSE_OBJECTS;
    if ((refusal = pdf_resolve(doc, entries[TYPE], &entry))) return refusal;
    if (pdf_kind_of(entry.value) == PDF_NAME) inherited.type = pdf_name_is(entry.value, "Sig") ? SIGNATURE : OTHER;
    if (pdf_kind_of(entries[VALUE]) != PDF_NULL) inherited.value = entries[VALUE], inherited.value_holder = holder;
    /* A field that stands in the tree twice is visited again where its type is another one there. */
    if (field.num && !pdf_is_first_time(&w->seen, (uint64_t)field.num * TYPES + inherited.type)) return PDF_OK;
    if (!inherited.named) {
        if ((refusal = pdf_resolve(doc, entries[NAME], &entry))) return refusal;
        inherited.named = pdf_kind_of(entry.value) == PDF_STRING;
        pdf_note_name(doc, &w->found->names, pdf_holder(&entry, &holder), entry.value);
    }
    if ((refusal = check_value(w, &inherited, (ambiguous & (1u << TYPE | 1u << VALUE)) != 0))) return refusal;
    if ((refusal = pdf_resolve(doc, entries[KIDS], &entry))) return refusal;
    inherited.holder = *pdf_holder(&entry, &holder);
    return pdf_kind_of(entry.value) == PDF_ARRAY ? push(w, entry.value, inherited) : PDF_OK;
}

pdf_refusal pdf_walk_fields(pdf_document *doc, const pdf_object *holder, pdf_span fields, pdf_fields *found) {
    walk w = {.doc = doc, .found = found, .levels = {.arena = doc->arena}};
    if (pdf_kind_of(fields) != PDF_ARRAY) return PDF_OK;
    if (!pdf_start_seen(&w.seen, doc->arena, doc->size * TYPES)) return PDF_REFUSE_MEMORY;
    pdf_refusal refusal = push(&w, fields, (level){.holder = *holder});
    while (!refusal && w.levels.length) {
        level *top = (level *)(void *)(w.levels.bytes + w.levels.length - sizeof *top);
        pdf_span each;
        if (pdf_next(&top->kids, &each))
            refusal = visit(&w, each, *top);
        else
            w.levels.length -= sizeof *top;
    }
    return refusal;
}
