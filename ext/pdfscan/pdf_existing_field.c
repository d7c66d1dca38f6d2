/* Finds a field by its full name (ISO 32000-2 12.7.4.2), and reads what a signature in it must respect. */
#include "pdfscan/pdf_existing_field.h"

#include <string.h>

#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_pages.h"
#include "pdfscan/pdf_seen.h"
#include "pdfscan/pdf_text_read.h"

/* Longer full names are not compared, and belong to no field that can be signed. Of the names that a refusal tells there are
 * at most so many, and of each at most so many bytes. */
enum { MAX_FIELD_NAME = 4096, TOLD_NAMES = 10, TOLD_NAME_BYTES = 120 };

/* A node whose children are being visited, with what they inherit (12.7.4.1). */
typedef struct {
    pdf_members kids;
    pdf_object holder; /* the object in which `kids` stand; its own value is not looked at */
    size_t name; /* bytes of its full name */
    pdf_span type, value;
    bool is_named;
} level;

typedef struct {
    pdf_document *doc;
    pdf_plan *plan;
    pdf_buffer levels, name, scratch;
    pdf_seen seen;
    pdf_object field; /* the one with the name; num is 0 as long as none was found */
    pdf_span type, value;
    bool is_found, is_ambiguous;
} search;

enum { NAME, TYPE, VALUE, KIDS, KEYS };
static const char *const FIELD_KEYS[KEYS] = {"T", "FT", "V", "Kids"};

static pdf_refusal out_of(const pdf_buffer *a, const pdf_buffer *b) { return a->failed || b->failed ? PDF_REFUSE_MEMORY : PDF_REFUSE_OBJECTS; }

/* Puts the partial name of a node behind the full name of its parent. `*fits` says whether the name is short enough. */
static pdf_refusal extend_name(search *s, const pdf_object *holder, pdf_span partial, bool is_first, bool *fits) {
    if (!is_first) pdf_puts(&s->name, ".");
    if (!pdf_append_text(s->doc, holder, partial, &s->scratch, &s->name)) return out_of(&s->name, &s->scratch);
    *fits = s->name.length <= MAX_FIELD_NAME;
    return PDF_OK;
}

/* The first kid that is a dictionary, and whether it is a field of its own and not a widget (12.7.4.1). */
static pdf_refusal first_kid(pdf_document *doc, pdf_span kids, pdf_object *kid, bool *is_field) {
    pdf_object array, name;
    pdf_span each;
    *is_field = false;
    *kid = (pdf_object){0};
    pdf_refusal refusal = pdf_resolve(doc, kids, &array);
    if (refusal || pdf_kind_of(array.value) != PDF_ARRAY) return refusal;
    pdf_members members = pdf_open(array.value);
    while (pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, kid))) return refusal;
        if (pdf_kind_of(kid->value) != PDF_DICT) continue;
        if ((refusal = pdf_get_resolved(doc, kid->value, "T", &name))) return refusal;
        *is_field = pdf_kind_of(name.value) == PDF_STRING;
        return PDF_OK;
    }
    *kid = (pdf_object){0};
    return PDF_OK;
}

/* Notes the name of a field that could be signed, for a refusal that tells which there are. */
static pdf_refusal note_open(search *s, pdf_span type, pdf_span value, pdf_span kids) {
    pdf_object resolved;
    bool is_parent;
    pdf_refusal refusal = pdf_resolve(s->doc, type, &resolved);
    if (refusal || !pdf_name_is(resolved.value, "Sig")) return refusal;
    if ((refusal = pdf_resolve(s->doc, value, &resolved)) || pdf_kind_of(resolved.value) != PDF_NULL) return refusal;
    if ((refusal = first_kid(s->doc, kids, &resolved, &is_parent)) || is_parent) return refusal;
    if (s->plan->open_count++ >= TOLD_NAMES) return PDF_OK;
    pdf_put(&s->plan->open_fields, s->name.bytes, s->name.length < TOLD_NAME_BYTES ? s->name.length : TOLD_NAME_BYTES);
    pdf_put(&s->plan->open_fields, "", 1);
    return s->plan->open_fields.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

static pdf_refusal note_match(search *s, const pdf_object *field, pdf_span type, pdf_span value, unsigned ambiguous) {
    if (s->is_found) return PDF_REFUSE_FIELD_TWICE;
    if (!field->num) return PDF_REFUSE_BROKEN_OBJECT; /* 12.7.3: /Fields holds references, so it cannot be replaced */
    s->is_found = true;
    s->field = *field;
    s->type = type;
    s->value = value;
    s->is_ambiguous = ambiguous != 0;
    return PDF_OK;
}

/* Visits one node, and makes its children the next ones. */
static pdf_refusal visit(search *s, pdf_span reference, level inherited) {
    pdf_document *doc = s->doc;
    pdf_object node, entry;
    pdf_span entries[KEYS];
    unsigned ambiguous;
    bool fits = true;
    s->name.length = inherited.name;
    pdf_refusal refusal = pdf_resolve(doc, reference, &node);
    if (refusal || pdf_kind_of(node.value) != PDF_DICT) return refusal;
    const pdf_object holder = *pdf_holder(&node, &inherited.holder);
    if (node.num && !pdf_is_first_time(&s->seen, node.num)) return PDF_OK;
    if (!pdf_get_entries(doc, node.value, FIELD_KEYS, entries, KEYS, &ambiguous)) return PDF_REFUSE_OBJECTS;
    if (pdf_kind_of(entries[TYPE]) != PDF_NULL) inherited.type = entries[TYPE];
    if (pdf_kind_of(entries[VALUE]) != PDF_NULL) inherited.value = entries[VALUE];
    if ((refusal = pdf_resolve(doc, entries[NAME], &entry))) return refusal;
    if (pdf_kind_of(entry.value) == PDF_STRING) {
        if ((refusal = extend_name(s, pdf_holder(&entry, &holder), entry.value, !inherited.is_named, &fits))) return refusal;
        if (!fits) return PDF_OK;
        inherited.is_named = true;
        inherited.name = s->name.length;
        if (s->name.length == doc->field.bytes && (!doc->field.bytes || memcmp(s->name.bytes, doc->field.utf8, doc->field.bytes) == 0))
            refusal = note_match(s, &node, inherited.type, inherited.value, ambiguous);
        if (!refusal) refusal = note_open(s, inherited.type, inherited.value, entries[KIDS]);
        if (refusal) return refusal;
    }
    if ((refusal = pdf_resolve(doc, entries[KIDS], &entry))) return refusal;
    if (pdf_kind_of(entry.value) != PDF_ARRAY) return PDF_OK;
    inherited.kids = pdf_open(entry.value);
    inherited.holder = *pdf_holder(&entry, &holder);
    pdf_put(&s->levels, &inherited, sizeof inherited);
    return s->levels.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

static pdf_refusal walk(search *s, const pdf_object *holder, pdf_span fields) {
    pdf_refusal refusal = PDF_OK;
    level first = {.kids = pdf_open(fields), .holder = *holder};
    if (pdf_kind_of(fields) != PDF_ARRAY) return PDF_OK;
    if (!pdf_start_seen(&s->seen, s->doc->arena, s->doc->size)) return PDF_REFUSE_MEMORY;
    pdf_put(&s->levels, &first, sizeof first);
    while (!refusal && !s->levels.failed && s->levels.length) {
        level *top = (level *)(void *)(s->levels.bytes + s->levels.length - sizeof *top);
        pdf_span each;
        if (pdf_next(&top->kids, &each))
            refusal = visit(s, each, *top);
        else
            s->levels.length -= sizeof *top;
    }
    return refusal ? refusal : s->levels.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

/* How the page of the widget turns it, and the length of its unit. A widget that does not name its page may say itself how it
 * is turned (12.5.6.19). */
static pdf_refusal read_turn(pdf_document *doc, pdf_existing_field *found, double *unit) {
    enum { MAX_PAGE_LEVELS = 64 };
    static const char *const KEYS_OF_PAGE[] = {"Rotate", "Parent"};
    pdf_object node, entry, look;
    pdf_span entries[2];
    int64_t turned = 0;
    pdf_refusal refusal = pdf_get_resolved(doc, found->widget.value, "P", &node);
    if (refusal) return refusal;
    if (pdf_kind_of(node.value) != PDF_DICT) {
        if ((refusal = pdf_get_resolved(doc, found->widget.value, "MK", &look))) return refusal;
        if ((refusal = pdf_get_resolved(doc, look.value, "R", &entry))) return refusal;
        pdf_to_integer(entry.value, &turned);
    } else {
        if ((refusal = pdf_get_resolved(doc, node.value, "UserUnit", &entry))) return refusal;
        if (!pdf_to_real(entry.value, unit) || *unit <= 0) *unit = 1;
    }
    for (unsigned n = 0; n < MAX_PAGE_LEVELS && pdf_kind_of(node.value) == PDF_DICT; n++) {
        if (!pdf_get_entries(doc, node.value, KEYS_OF_PAGE, entries, 2, NULL)) return PDF_REFUSE_OBJECTS;
        if ((refusal = pdf_resolve(doc, entries[0], &entry))) return refusal;
        if (pdf_to_integer(entry.value, &turned)) break;
        if ((refusal = pdf_resolve(doc, entries[1], &node))) return refusal;
    }
    found->rotation = turned % 90 ? 0 : (unsigned)((turned % 360 + 360) % 360);
    return PDF_OK;
}

/* 12.7.5.5: a signature field whose rectangle has no area is invisible. */
static pdf_refusal read_rectangle(pdf_document *doc, pdf_existing_field *found) {
    pdf_object rectangle, number;
    pdf_span each;
    double corners[4], unit = 1;
    unsigned n = 0;
    pdf_refusal refusal = pdf_get_resolved(doc, found->widget.value, "Rect", &rectangle);
    if (refusal || pdf_kind_of(rectangle.value) != PDF_ARRAY) return refusal;
    pdf_members members = pdf_open(rectangle.value);
    for (; n < 4 && pdf_next(&members, &each); n++) {
        if ((refusal = pdf_resolve(doc, each, &number))) return refusal;
        if (!pdf_to_real(number.value, &corners[n])) return PDF_OK;
    }
    if (n < 4 || (refusal = read_turn(doc, found, &unit))) return refusal;
    double width = (corners[2] - corners[0]) * unit, height = (corners[3] - corners[1]) * unit;
    bool is_turned = found->rotation % 180 != 0;
    if (width < 0) width = -width;
    if (height < 0) height = -height;
    found->width = is_turned ? height : width;
    found->height = is_turned ? width : height;
    found->is_visible = width > 0 && height > 0;
    return PDF_OK;
}

/* Finds the widget: the field itself, where the two share a dictionary, or its first kid. */
static pdf_refusal read_widget(pdf_document *doc, pdf_existing_field *found) {
    enum { SUBTYPE, RECTANGLE, FIELD_KIDS, WIDGET_KEYS };
    static const char *const KEYS_OF_WIDGET[WIDGET_KEYS] = {"Subtype", "Rect", "Kids"}, *const VALUE_AND_LOOK[] = {"V", "AP"};
    pdf_span entries[WIDGET_KEYS], own[2];
    pdf_object value, appearance;
    unsigned ambiguous;
    bool is_field;
    if (!pdf_get_entries(doc, found->field.value, KEYS_OF_WIDGET, entries, WIDGET_KEYS, NULL)) return PDF_REFUSE_OBJECTS;
    found->widget = found->field;
    if (!pdf_name_is(entries[SUBTYPE], "Widget") && pdf_kind_of(entries[RECTANGLE]) == PDF_NULL) {
        pdf_refusal refusal = first_kid(doc, entries[FIELD_KIDS], &found->widget, &is_field);
        if (refusal) return refusal;
        if (!found->widget.num) {
            found->widget = (pdf_object){0};
            return PDF_OK;
        }
    }
    if (!pdf_get_entries(doc, found->widget.value, VALUE_AND_LOOK, own, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    pdf_refusal refusal = pdf_resolve(doc, own[0], &value);
    if (refusal) return refusal;
    if (pdf_kind_of(value.value) != PDF_NULL) return PDF_REFUSE_FIELD_SIGNED;
    if ((refusal = pdf_resolve(doc, own[1], &appearance))) return refusal;
    found->has_appearance = pdf_kind_of(appearance.value) == PDF_DICT;
    found->appearances_differ = ambiguous >> 1 & 1;
    return read_rectangle(doc, found);
}

/* Copies the names of a lock. The limits of work and of the update bound them: one long name may be referred to often. */
static pdf_refusal read_locked_names(pdf_document *doc, const pdf_object *holder, pdf_span names, pdf_existing_field *found) {
    pdf_buffer texts = {.arena = doc->arena}, list = {.arena = doc->arena}, scratch = {.arena = doc->arena};
    pdf_object name;
    pdf_span each;
    pdf_members members = pdf_open(names);
    while (pdf_next(&members, &each)) {
        pdf_refusal refusal = pdf_resolve(doc, each, &name);
        if (refusal) return refusal;
        if (pdf_kind_of(name.value) != PDF_STRING) return PDF_REFUSE_FIELD_LOCK;
        size_t start = texts.length;
        if (!pdf_append_text(doc, pdf_holder(&name, holder), name.value, &scratch, &texts)) return out_of(&texts, &scratch);
        if (texts.length > doc->update_limit) return PDF_REFUSE_UPDATE;
        pdf_text text = {NULL, texts.length - start};
        pdf_put(&list, &text, sizeof text);
    }
    if (list.failed) return PDF_REFUSE_MEMORY;
    /* The texts stay where they are from now on. */
    pdf_text *texts_of = (pdf_text *)(void *)list.bytes;
    found->locked_count = list.length / sizeof *texts_of;
    const uint8_t *at = texts.bytes ? texts.bytes : (const uint8_t *)"";
    for (size_t i = 0; i < found->locked_count; i++) {
        texts_of[i].utf8 = at;
        at += texts_of[i].bytes;
    }
    found->locked = texts_of;
    return PDF_OK;
}

/* 12.7.5.5, table 236. A lock that says nothing that readers know is not passed over: the author wanted something. */
static pdf_refusal read_lock(pdf_document *doc, pdf_existing_field *found) {
    pdf_object lock, action, fields, level_value;
    int64_t permitted;
    pdf_refusal refusal = pdf_get_decisive(doc, found->field.value, "Lock", &lock);
    if (refusal || pdf_kind_of(lock.value) == PDF_NULL) return refusal;
    if (pdf_kind_of(lock.value) != PDF_DICT) return PDF_REFUSE_FIELD_LOCK;
    if ((refusal = pdf_get_decisive(doc, lock.value, "Action", &action))) return refusal;
    if ((refusal = pdf_get_decisive(doc, lock.value, "Fields", &fields))) return refusal;
    if ((refusal = pdf_get_decisive(doc, lock.value, "P", &level_value))) return refusal;
    if (pdf_name_is(action.value, "All")) found->lock = PDF_LOCK_ALL;
    if (pdf_name_is(action.value, "Include")) found->lock = PDF_LOCK_INCLUDE;
    if (pdf_name_is(action.value, "Exclude")) found->lock = PDF_LOCK_EXCLUDE;
    if (!found->lock) return PDF_REFUSE_FIELD_LOCK;
    if (pdf_kind_of(level_value.value) != PDF_NULL) {
        if (!pdf_to_integer(level_value.value, &permitted) || permitted < 1 || permitted > 3) return PDF_REFUSE_FIELD_LOCK;
        found->lock_level = (uint32_t)permitted;
    }
    if (found->lock == PDF_LOCK_ALL) return PDF_OK;
    return pdf_kind_of(fields.value) == PDF_ARRAY ? read_locked_names(doc, pdf_holder(&fields, pdf_holder(&lock, &found->field)), fields.value, found) : PDF_REFUSE_FIELD_LOCK;
}

/* Each object is written once, and copied without repair. */
static pdf_refusal check_writable(pdf_document *doc, const pdf_structure *structure) {
    enum { WRITING_SEARCHES = 4 };
    const pdf_object *taken[] = {&structure->existing.field, &structure->existing.widget};
    for (unsigned i = 0; i < 2; i++) {
        if (!taken[i]->num) continue;
        if (taken[i]->num == structure->catalog.num || taken[i]->num == structure->form.num) return PDF_REFUSE_BROKEN_OBJECT;
        if (!pdf_spend(doc, WRITING_SEARCHES * (size_t)(taken[i]->value.end - taken[i]->value.at))) return PDF_REFUSE_OBJECTS;
        if (!pdf_well_formed(taken[i]->value)) return PDF_REFUSE_BROKEN_OBJECT;
    }
    return PDF_OK;
}

/* Takes what the update writes anew. */
static pdf_refusal take(pdf_document *doc, pdf_existing_field *found) {
    bool is_merged = found->widget.num == found->field.num;
    pdf_refusal refusal = pdf_take(doc, &found->field);
    if (refusal) return refusal;
    if (is_merged) found->widget = found->field;
    return pdf_take(doc, &found->widget);
}

/* Judges the field that has the name. */
static pdf_refusal check_field(search *s, pdf_existing_field *found) {
    pdf_object type, value, kids, kid;
    bool is_parent;
    if (!s->is_found) return PDF_REFUSE_FIELD_MISSING;
    if (s->is_ambiguous) return PDF_REFUSE_AMBIGUOUS;
    pdf_refusal refusal = pdf_resolve(s->doc, s->type, &type);
    if (refusal) return refusal;
    if ((refusal = pdf_get_resolved(s->doc, s->field.value, "Kids", &kids))) return refusal;
    if ((refusal = first_kid(s->doc, kids.value, &kid, &is_parent))) return refusal;
    if (!pdf_name_is(type.value, "Sig") || is_parent) return PDF_REFUSE_FIELD_TYPE;
    if ((refusal = pdf_resolve(s->doc, s->value, &value))) return refusal;
    if (pdf_kind_of(value.value) != PDF_NULL) return PDF_REFUSE_FIELD_SIGNED;
    found->field = s->field;
    return PDF_OK;
}

pdf_refusal pdf_find_field(pdf_document *doc, pdf_structure *structure, pdf_plan *plan) {
    pdf_existing_field *found = &structure->existing;
    search s = {.doc = doc, .plan = plan, .levels = {.arena = doc->arena}, .name = {.arena = doc->arena}, .scratch = {.arena = doc->arena}};
    pdf_object seeds;
    *found = (pdf_existing_field){0};
    plan->open_fields = (pdf_buffer){.arena = doc->arena};
    plan->seed_values = (pdf_buffer){.arena = doc->arena};
    plan->open_count = 0;
    pdf_refusal refusal = walk(&s, pdf_holder(&structure->fields, pdf_holder(&structure->form, &structure->catalog)), structure->fields.value);
    if (!refusal) refusal = check_field(&s, found);
    if (!refusal) refusal = read_widget(doc, found);
    if (!refusal) refusal = read_lock(doc, found);
    if (!refusal) refusal = check_writable(doc, structure);
    if (!refusal) refusal = take(doc, found);
    if (!refusal) refusal = pdf_get_decisive(doc, found->field.value, "SV", &seeds);
    if (refusal || pdf_kind_of(seeds.value) == PDF_NULL) return refusal;
    uint8_t level_digit = (uint8_t)('0' + found->lock_level);
    refusal = pdf_flatten(doc, pdf_holder(&seeds, &found->field), seeds.value, &plan->seed_values);
    return refusal ? refusal : pdf_flatten(doc, &found->field, (pdf_span){&level_digit, &level_digit + 1}, &plan->seed_values);
}
