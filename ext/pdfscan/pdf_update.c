/* Writes the objects of the update: the signature, its field, and what refers to the field. */
#include "pdfscan/pdf_update.h"

#include <string.h>

#include "pdfscan/pdf_text.h"
#include "pdfscan/pdf_writer.h"

enum { MAX_EDITS = 4, BYTE_RANGE_CHARS = 40 };

/* Replaces `removed` bytes at `at` by `text`. */
typedef struct {
    const uint8_t *at;
    size_t removed;
    const pdf_buffer *text;
} edit;

static void put_ref(pdf_buffer *out, uint64_t num, uint64_t gen) {
    pdf_put_number(out, num, 1);
    pdf_puts(out, " ");
    pdf_put_number(out, gen, 1);
    pdf_puts(out, " R");
}

static void begin_object(pdf_writer *w, uint32_t num, uint32_t gen) {
    w->written[w->written_count++] = (pdf_written){num, gen, pdf_position(w)};
    pdf_put_number(w->out, num, 1);
    pdf_puts(w->out, " ");
    pdf_put_number(w->out, gen, 1);
    pdf_puts(w->out, " obj\n");
}

static void end_object(pdf_writer *w) { pdf_puts(w->out, "\nendobj\n"); }

/* Copies the value byte for byte, with the edits applied. The edits must be sorted by place. */
static void put_edited(pdf_buffer *out, pdf_span value, const edit *edits, unsigned n) {
    const uint8_t *at = value.at;
    for (unsigned i = 0; i < n; i++) {
        pdf_put(out, at, (size_t)(edits[i].at - at));
        pdf_put(out, edits[i].text->bytes, edits[i].text->length);
        at = edits[i].at + edits[i].removed;
    }
    pdf_put(out, at, (size_t)(value.end - at));
}

/* Makes an edit that sets `key` to `text`: it replaces the value of the entry, or adds the entry. */
static edit set_entry(pdf_arena *arena, pdf_span dict, const char *key, const pdf_buffer *text, pdf_buffer *scratch) {
    pdf_span old;
    *scratch = (pdf_buffer){.arena = arena};
    if (pdf_get(dict, key, &old)) {
        pdf_puts(scratch, " ");
        pdf_put(scratch, text->bytes, text->length);
        scratch->failed |= text->failed;
        return (edit){old.at, (size_t)(old.end - old.at), scratch};
    }
    pdf_puts(scratch, "/");
    pdf_puts(scratch, key);
    pdf_puts(scratch, " ");
    pdf_put(scratch, text->bytes, text->length);
    pdf_puts(scratch, "\n");
    scratch->failed |= text->failed;
    return (edit){dict.at + 2, 0, scratch};
}

static void in_order(edit *edits, unsigned n) {
    for (unsigned i = 1; i < n; i++)
        for (unsigned j = i; j && edits[j].at < edits[j - 1].at; j--) {
            edit swapped = edits[j];
            edits[j] = edits[j - 1];
            edits[j - 1] = swapped;
        }
}

/* Writes `array` with a reference to object `num` added at the end. */
static void put_extended_array(pdf_buffer *out, pdf_span array, uint32_t num) {
    pdf_put(out, array.at, (size_t)(array.end - array.at) - 1);
    pdf_puts(out, " ");
    put_ref(out, num, 0);
    pdf_puts(out, "]");
}

static void put_new_array(pdf_buffer *out, uint32_t num) {
    pdf_puts(out, "[");
    put_ref(out, num, 0);
    pdf_puts(out, "]");
}

static void put_text_entry(pdf_buffer *out, const char *key, pdf_text text) {
    if (!text.utf8) return;
    pdf_puts(out, key);
    pdf_put_text(out, text);
}

/* The signature dictionary (12.8.1, table 255), without /Cert as ETSI EN 319 142-1 6.3 demands. The head ends before
 * the reserved region, and the tail begins after it. */
static void put_signature(pdf_writer *w, uint32_t num, const pdf_plan_request *request, pdf_plan *plan, size_t *range_at) {
    begin_object(w, num, 0);
    pdf_puts(w->out, "<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/ETSI.CAdES.detached\n/ByteRange ");
    *range_at = w->out->length;
    if (pdf_reserve(w->out, BYTE_RANGE_CHARS)) {
        memset(w->out->bytes + w->out->length, ' ', BYTE_RANGE_CHARS);
        w->out->length += BYTE_RANGE_CHARS;
    }
    pdf_puts(w->out, "\n/Contents ");
    w->out = &plan->tail;
    w->out_offset += plan->head.length + plan->reserved_bytes;
    put_text_entry(w->out, "\n/M ", request->time);
    put_text_entry(w->out, "\n/Reason ", request->reason);
    put_text_entry(w->out, "\n/Location ", request->location);
    put_text_entry(w->out, "\n/Name ", request->name);
    pdf_puts(w->out, ">>");
    end_object(w);
}

/* The field and its only widget in one dictionary (12.7.4.1). The rectangle is empty, so it is invisible. The flags
 * Print and Locked are set. */
static void put_field(pdf_writer *w, uint32_t num, uint32_t signature, uint32_t field_number) {
    begin_object(w, num, 0);
    pdf_puts(w->out, "<</Type/Annot/Subtype/Widget/FT/Sig/T(Signature");
    pdf_put_number(w->out, field_number, 1);
    pdf_puts(w->out, ")/F 132/Rect[0 0 0 0]/P ");
    put_ref(w->out, w->structure->page.num, w->structure->page.gen);
    pdf_puts(w->out, "/V ");
    put_ref(w->out, signature, 0);
    pdf_puts(w->out, ">>");
    end_object(w);
}

/* Adds the widget to /Annots of the first page. If the array is an object of its own, only this object is written; else
 * the page is written again. */
static void put_annotation(pdf_writer *w, uint32_t widget, bool *failed) {
    const pdf_object *page = &w->structure->page, *annots = &w->structure->annots;
    pdf_buffer array = {.arena = w->doc->arena}, scratch;
    bool is_array = pdf_kind_of(annots->value) == PDF_ARRAY;
    if (is_array && annots->num) {
        begin_object(w, annots->num, annots->gen);
        put_extended_array(w->out, annots->value, widget);
    } else {
        if (is_array)
            put_extended_array(&array, annots->value, widget);
        else
            put_new_array(&array, widget);
        edit change = set_entry(w->doc->arena, page->value, "Annots", &array, &scratch);
        begin_object(w, page->num, page->gen);
        put_edited(w->out, page->value, &change, 1);
        *failed |= scratch.failed;
    }
    end_object(w);
}

/* Writes the dictionary of the form with the new field and with /SigFlags 3 (SignaturesExist, AppendOnly). Everything
 * else is kept. */
static void put_form_value(pdf_writer *w, pdf_buffer *out, uint32_t field, bool *failed) {
    pdf_span form = w->structure->form.value;
    const pdf_object *fields = &w->structure->fields;
    pdf_arena *arena = w->doc->arena;
    pdf_buffer list = {.arena = arena}, flags = {.arena = arena}, scratch[2];
    edit edits[MAX_EDITS];
    unsigned n = 0;
    bool is_array = pdf_kind_of(fields->value) == PDF_ARRAY;
    if (!is_array || !fields->num) {
        if (is_array)
            put_extended_array(&list, fields->value, field);
        else
            put_new_array(&list, field);
        edits[n] = set_entry(arena, form, "Fields", &list, &scratch[n]);
        n++;
    }
    pdf_span old;
    int64_t bits = 0;
    bool direct = pdf_get(form, "SigFlags", &old) && pdf_to_integer(old, &bits);
    if (!direct || (bits & 3) != 3) {
        pdf_put_number(&flags, (uint64_t)(bits > 0 ? bits : 0) | 3, 1);
        edits[n] = set_entry(arena, form, "SigFlags", &flags, &scratch[n]);
        n++;
    }
    in_order(edits, n);
    put_edited(out, form, edits, n);
    for (unsigned i = 0; i < n; i++) *failed |= scratch[i].failed;
}

static bool form_changes(const pdf_structure *s) {
    pdf_span flags;
    int64_t bits;
    if (pdf_kind_of(s->fields.value) != PDF_ARRAY || !s->fields.num) return true;
    return !pdf_get(s->form.value, "SigFlags", &flags) || !pdf_to_integer(flags, &bits) || (bits & 3) != 3;
}

/* Writes /Fields, /AcroForm and the catalog, but only those of them that must change in this document. */
static void put_form(pdf_writer *w, uint32_t field, bool *failed) {
    const pdf_structure *s = w->structure;
    pdf_arena *arena = w->doc->arena;
    bool has_form = pdf_kind_of(s->form.value) == PDF_DICT;
    if (has_form && pdf_kind_of(s->fields.value) == PDF_ARRAY && s->fields.num) {
        begin_object(w, s->fields.num, s->fields.gen);
        put_extended_array(w->out, s->fields.value, field);
        end_object(w);
        if (!form_changes(s)) return;
    }
    if (has_form && s->form.num) {
        begin_object(w, s->form.num, s->form.gen);
        put_form_value(w, w->out, field, failed);
        end_object(w);
        return;
    }
    pdf_buffer entry = {.arena = arena}, scratch;
    if (has_form) {
        put_form_value(w, &entry, field, failed);
    } else {
        uint32_t form = (uint32_t)w->next_number++;
        begin_object(w, form, 0);
        pdf_puts(w->out, "<</Fields");
        put_new_array(w->out, field);
        pdf_puts(w->out, "/SigFlags 3>>");
        end_object(w);
        put_ref(&entry, form, 0);
    }
    edit change = set_entry(arena, s->catalog.value, "AcroForm", &entry, &scratch);
    begin_object(w, s->catalog.num, s->catalog.gen);
    put_edited(w->out, s->catalog.value, &change, 1);
    end_object(w);
    *failed |= scratch.failed || entry.failed;
}

/* Writes "[a b c d]" into the blanks that put_signature() left for it. */
static void patch_byte_range(pdf_plan *plan, pdf_arena *arena, size_t range_at) {
    pdf_buffer text = {.arena = arena};
    for (unsigned i = 0; i < 4; i++) {
        pdf_puts(&text, i ? " " : "[");
        pdf_put_number(&text, plan->byte_range[i], 1);
    }
    pdf_puts(&text, "]");
    if (text.failed || text.length > BYTE_RANGE_CHARS)
        plan->head.failed = true;
    else
        memcpy(plan->head.bytes + range_at, text.bytes, text.length);
}

pdf_refusal pdf_write_update(pdf_document *doc, const pdf_structure *structure, const pdf_plan_request *request, pdf_plan *plan) {
    const pdf_section *newest = &doc->sections[0];
    uint64_t length = (uint64_t)(doc->file.end - doc->file.at);
    plan->head.arena = plan->tail.arena = doc->arena;
    plan->reserved_bytes = 2 * (uint64_t)request->contents_bytes + 2;
    plan->field_number = structure->field_number;
    plan->form = newest->is_stream ? PDF_XREF_STREAM : newest->hidden ? PDF_XREF_HYBRID : PDF_XREF_TABLE;
    plan->rebuilt = doc->rebuilt;
    if (doc->size > PDF_MAX_OBJECT_NUMBER - 4) return PDF_REFUSE_OBJECTS;
    pdf_writer w = {.doc = doc, .structure = structure, .out = &plan->head, .out_offset = length, .next_number = doc->size};
    uint32_t signature = (uint32_t)w.next_number++, field = (uint32_t)w.next_number++;
    size_t range_at;
    bool failed = false;
    if (length && doc->file.end[-1] != '\n' && doc->file.end[-1] != '\r') pdf_puts(&plan->head, "\n");
    put_signature(&w, signature, request, plan, &range_at);
    put_field(&w, field, signature, plan->field_number);
    put_annotation(&w, field, &failed);
    put_form(&w, field, &failed);
    pdf_refusal refusal = pdf_write_xref(&w, request);
    if (refusal) return refusal;
    uint64_t gap = length + plan->head.length;
    uint64_t range[4] = {0, gap, gap + plan->reserved_bytes, plan->tail.length};
    memcpy(plan->byte_range, range, sizeof range);
    if (range[2] + range[3] > PDF_MAX_FILE_BYTES) return PDF_REFUSE_SIZE;
    if (!plan->head.failed) patch_byte_range(plan, doc->arena, range_at);
    return failed || plan->head.failed || plan->tail.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}
