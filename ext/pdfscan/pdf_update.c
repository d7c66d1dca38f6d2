/* Writes the objects of the update: the signature, its field, and what refers to the field. */
#include "pdfscan/pdf_update.h"

#include <string.h>

#include "pdfscan/pdf_appearance.h"
#include "pdfscan/pdf_edit.h"
#include "pdfscan/pdf_field_update.h"
#include "pdfscan/pdf_writer.h"

enum { MOST_NEW_OBJECTS = 6 + PDF_MOST_DRAWN };

static void put_text_entry(pdf_writer *w, const char *key, pdf_text text) {
    if (!text.utf8) return;
    pdf_puts(w->out, key);
    pdf_put_text_string(w, text);
}

/* The signature dictionary (12.8.1, table 255), without /Cert as ETSI EN 319 142-1 6.3 demands. The head ends before
 * the reserved region, and the tail begins after it. */
static void put_signature(pdf_writer *w, uint32_t num, const pdf_plan_request *request, pdf_plan *plan, size_t *range_at) {
    pdf_begin_object(w, num, 0);
    pdf_puts(w->out, "<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/ETSI.CAdES.detached\n/ByteRange ");
    *range_at = pdf_put_range_blanks(w->out);
    pdf_puts(w->out, "\n/Contents ");
    w->out = &plan->tail;
    w->out_offset += plan->head.length + plan->reserved_bytes;
    put_text_entry(w, "\n/M ", request->time);
    put_text_entry(w, "\n/Reason ", request->reason);
    put_text_entry(w, "\n/Location ", request->location);
    put_text_entry(w, "\n/Name ", request->name);
    pdf_put_lock(w, request->digest_method);
    pdf_puts(w->out, ">>");
    pdf_end_object(w);
}

/* The appearance of an invisible widget, an empty form (8.10). Nothing is shown, but PDF/A-1 (ISO 19005-1 6.9) demands it. */
static uint32_t put_empty_appearance(pdf_writer *w) {
    uint32_t num = (uint32_t)w->next_number++;
    pdf_begin_object(w, num, 0);
    pdf_put_stream(w, "/Type/XObject/Subtype/Form/BBox[0 0 0 0]", "", 0);
    pdf_end_object(w);
    return num;
}

/* The field and its only widget in one dictionary (12.7.4.1). The rectangle of an invisible signature is empty. The flags
 * Print and Locked are set. */
static void put_field(pdf_writer *w, uint32_t num, uint32_t signature, uint32_t appearance, uint32_t field_number) {
    pdf_buffer name = {.arena = w->doc->arena};
    pdf_puts(&name, "Signature");
    pdf_put_number(&name, field_number, 1);
    w->out->failed |= name.failed;
    pdf_begin_object(w, num, 0);
    pdf_puts(w->out, "<</Type/Annot/Subtype/Widget/FT/Sig/T");
    pdf_put_text_string(w, (pdf_text){name.bytes, name.length});
    pdf_puts(w->out, "/F 132/Rect");
    pdf_put_box(w->out, w->structure->place.rectangle);
    pdf_puts(w->out, "/AP<</N ");
    pdf_put_ref(w->out, appearance, 0);
    pdf_puts(w->out, ">>/P ");
    pdf_put_ref(w->out, w->structure->page.num, w->structure->page.gen);
    pdf_puts(w->out, "/V ");
    pdf_put_ref(w->out, signature, 0);
    pdf_puts(w->out, ">>");
    pdf_end_object(w);
}

static bool is_own_array(const pdf_object *object) { return pdf_kind_of(object->value) == PDF_ARRAY && object->num; }

/* The dictionary's own value of `key` as the text of a change: the entry stays, and any other with its key goes. */
static pdf_change keep_entry(pdf_writer *w, pdf_span dict, const char *key) {
    pdf_change change = {key, {.arena = w->doc->arena}};
    pdf_span value;
    pdf_get(dict, key, &value);
    pdf_put(&change.value, value.at, (size_t)(value.end - value.at));
    return change;
}

/* Writes an array that is an object of its own with a reference to the new field at its end. */
static void put_own_array(pdf_writer *w, const pdf_object *array, uint32_t field) {
    pdf_begin_object(w, array->num, array->gen);
    pdf_put_extended(w->out, array->value, field);
    pdf_end_object(w);
}

/* Adds the widget to /Annots of the first page. If the array is an object of its own, the page is only written where
 * something else in it must change. */
static void put_annotation(pdf_writer *w, uint32_t widget) {
    const pdf_structure *s = w->structure;
    pdf_change changes[2];
    unsigned n = 0;
    if (!is_own_array(&s->annots)) {
        changes[n] = (pdf_change){"Annots", {.arena = w->doc->arena}};
        pdf_put_extended(&changes[n++].value, s->annots.value, widget);
    } else {
        put_own_array(w, &s->annots, widget);
        if (s->annots_differ) changes[n++] = keep_entry(w, s->page.value, "Annots");
    }
    if (s->wants_tabs) {
        changes[n] = (pdf_change){"Tabs", {.arena = w->doc->arena}};
        pdf_puts(&changes[n++].value, "/S");
    }
    if (!n) return;
    pdf_begin_object(w, s->page.num, s->page.gen);
    pdf_put_changed(w->out, s->page.value, changes, n);
    pdf_end_object(w);
}

/* Whether the form asks readers to draw all fields anew. They would draw the signature's field too, and not as it is. */
static bool needs_appearances(pdf_writer *w) {
    pdf_object value;
    return w->structure->existing.field.num && !pdf_get_resolved(w->doc, w->structure->form.value, "NeedAppearances", &value) &&
           pdf_skip_word(value.value.at, value.value.end, "true");
}

/* What must change in the dictionary of the form: /Fields with the new field (0: there is none), and /SigFlags 3
 * (SignaturesExist, AppendOnly). Returns the number of changes. */
static unsigned form_changes(pdf_writer *w, uint32_t field, pdf_change changes[3]) {
    pdf_span form = w->structure->form.value, old;
    const pdf_object *fields = &w->structure->fields;
    unsigned n = 0;
    if (field && !is_own_array(fields)) {
        changes[n] = (pdf_change){"Fields", {.arena = w->doc->arena}};
        pdf_put_extended(&changes[n++].value, fields->value, field);
    } else if (w->structure->fields_differ) {
        changes[n++] = keep_entry(w, form, "Fields");
    }
    if (needs_appearances(w)) {
        changes[n] = (pdf_change){"NeedAppearances", {.arena = w->doc->arena}};
        pdf_puts(&changes[n++].value, "false");
    }
    int64_t bits = 0;
    bool direct = pdf_get(form, "SigFlags", &old) && pdf_to_integer(old, &bits);
    if (!direct || (bits & 3) != 3 || w->structure->flags_differ) {
        changes[n] = (pdf_change){"SigFlags", {.arena = w->doc->arena}};
        pdf_put_number(&changes[n++].value, (uint64_t)(bits > 0 ? bits : 0) | 3, 1);
    }
    return n;
}

/* Makes a form that has only the new field, and writes it as an object of its own. */
static void put_new_form(pdf_writer *w, uint32_t field, pdf_buffer *reference) {
    uint32_t form = (uint32_t)w->next_number++;
    pdf_begin_object(w, form, 0);
    pdf_puts(w->out, "<</Fields[");
    pdf_put_ref(w->out, field, 0);
    pdf_puts(w->out, "]/SigFlags 3>>");
    pdf_end_object(w);
    pdf_put_ref(reference, form, 0);
}

/* Writes /Fields, /AcroForm and the catalog, but only those of them that must change in this document. `field` is the new
 * one, or 0. */
static void put_form(pdf_writer *w, uint32_t field) {
    const pdf_structure *s = w->structure;
    pdf_change entry = {"AcroForm", {.arena = w->doc->arena}}, changes[3];
    bool has_form = pdf_kind_of(s->form.value) == PDF_DICT, catalog_changes = s->form_differs;
    if (!has_form) {
        put_new_form(w, field, &entry.value);
        catalog_changes = true;
    } else {
        /* One array may be both /Annots and /Fields. Then it was written already. */
        if (field && is_own_array(&s->fields) && !(is_own_array(&s->annots) && s->annots.num == s->fields.num)) put_own_array(w, &s->fields, field);
        unsigned n = form_changes(w, field, changes);
        if (s->form.num && n) {
            pdf_begin_object(w, s->form.num, s->form.gen);
            pdf_put_changed(w->out, s->form.value, changes, n);
            pdf_end_object(w);
        }
        if (s->form.num) {
            entry = keep_entry(w, s->catalog.value, "AcroForm");
        } else {
            catalog_changes |= n > 0;
            pdf_put_changed(&entry.value, s->form.value, changes, n);
        }
    }
    if (!catalog_changes) return;
    pdf_begin_object(w, s->catalog.num, s->catalog.gen);
    pdf_put_changed(w->out, s->catalog.value, &entry, 1);
    pdf_end_object(w);
}

static bool is_written(const pdf_writer *w, uint32_t num) {
    for (unsigned i = 0; i < w->written_count; i++)
        if (w->written[i].num == num) return true;
    return false;
}

/* Writes what the section behind the signature will write anew, and what stands in an object stream of an encrypted document,
 * as it is. Its strings are encrypted in another way from then on. Validators that compare the revision of the signature with
 * a later one would take that for a change of the section. */
static void put_before_section(pdf_writer *w, bool has_time_stamp) {
    const pdf_structure *s = w->structure;
    const pdf_object *const later[] = {&s->catalog, &s->page, &s->annots, &s->form, &s->fields};
    /* Without a field for a time stamp only the catalog changes. */
    unsigned n = has_time_stamp ? sizeof later / sizeof *later : 1;
    for (unsigned i = 0; w->doc->crypt && i < n; i++) {
        if (!later[i]->num || is_written(w, later[i]->num) || pdf_lookup(w->doc, later[i]->num).type != PDF_ENTRY_COMPRESSED) continue;
        pdf_begin_object(w, later[i]->num, later[i]->gen);
        pdf_put(w->out, later[i]->value.at, (size_t)(later[i]->value.end - later[i]->value.at));
        pdf_end_object(w);
    }
}

pdf_refusal pdf_write_update(pdf_document *doc, const pdf_structure *structure, const pdf_plan_request *request, pdf_plan *plan) {
    const pdf_section *newest = &doc->sections[0];
    uint64_t length = (uint64_t)(doc->file.end - doc->file.at);
    plan->head.arena = plan->tail.arena = doc->arena;
    plan->reserved_bytes = 2 * (uint64_t)request->contents_bytes + 2;
    plan->field_number = structure->field_number;
    plan->form = newest->is_stream ? PDF_XREF_STREAM : newest->hidden ? PDF_XREF_HYBRID : PDF_XREF_TABLE;
    plan->rebuilt = doc->rebuilt;
    if (doc->size > PDF_MAX_OBJECT_NUMBER - MOST_NEW_OBJECTS) return PDF_REFUSE_OBJECTS;
    pdf_written written[PDF_MAX_WRITTEN];
    pdf_writer w = {.doc = doc, .structure = structure, .out = &plan->head, .plan = plan, .out_offset = length, .next_number = doc->size, .written = written};
    const pdf_existing_field *existing = &structure->existing;
    bool is_new = !existing->field.num, needs_empty = is_new || (existing->widget.num && !existing->has_appearance);
    uint32_t signature = (uint32_t)w.next_number++, field = is_new ? (uint32_t)w.next_number++ : 0;
    size_t range_at;
    if (length && doc->file.end[-1] != '\n' && doc->file.end[-1] != '\r') pdf_puts(&plan->head, "\n");
    put_signature(&w, signature, request, plan, &range_at);
    uint32_t appearance = structure->draws ? pdf_put_appearance(&w, request->appearance) : needs_empty ? put_empty_appearance(&w) : 0;
    if (is_new) {
        put_field(&w, field, signature, appearance, plan->field_number);
        put_annotation(&w, field);
    } else {
        pdf_put_existing_field(&w, signature, appearance);
    }
    put_form(&w, field);
    uint32_t stamp_appearance = request->has_section && request->has_time_stamp ? put_empty_appearance(&w) : 0;
    if (request->has_section) put_before_section(&w, request->has_time_stamp);
    pdf_refusal refusal = pdf_write_xref(&w, request);
    if (refusal) return refusal;
    if (request->has_section && (refusal = pdf_plan_section(&w, request, stamp_appearance, plan))) return refusal;
    if (plan->head.length + plan->tail.length + pdf_section_bytes(&plan->section) > doc->update_limit) return PDF_REFUSE_UPDATE;
    uint64_t gap = length + plan->head.length;
    uint64_t range[4] = {0, gap, gap + plan->reserved_bytes, plan->tail.length + plan->inserted_bytes};
    memcpy(plan->byte_range, range, sizeof range);
    if (range[2] + range[3] > PDF_MAX_FILE_BYTES) return PDF_REFUSE_SIZE;
    return plan->tail.failed ? PDF_REFUSE_MEMORY : pdf_fill_range(&plan->head, range_at, range);
}
