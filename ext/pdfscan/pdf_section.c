/* Plans the section behind the signature. */
#include <string.h>

#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_edit.h"
#include "pdfscan/pdf_update.h"
#include "pdfscan/pdf_writer.h"

enum { REFERENCE_HOPS = 8, COPY_WORK = 4 };

const char *const PDF_MATERIAL_KEYS[PDF_MATERIALS] = {"Certs", "OCSPs", "CRLs"};

/* The document as it is once the signature's update stands behind it: objects that the update has written, and those of
 * the original. */
typedef struct {
    pdf_document *doc;
    const pdf_writer *update;
    const pdf_plan *plan;
    const pdf_appearance *appearance; /* of the signature; NULL where it is invisible */
    pdf_writer out;
} planning;

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Where a byte of the signed file is in the tail, which does not hold the shared data that is inserted into it. `offset` is
 * counted from the tail's first byte, and is none of inserted data. */
static uint64_t offset_in_tail(const pdf_plan *plan, const pdf_appearance *appearance, uint64_t offset) {
    uint64_t inserted = 0;
    for (unsigned i = 0; i < plan->inserted_count && plan->inserted[i].offset + inserted < offset; i++) {
        pdf_span stream = appearance->objects[plan->inserted[i].object].stream;
        inserted += (uint64_t)(stream.end - stream.at);
    }
    return offset - inserted;
}

/* Finds the text of an object that the update has written. */
static bool find_written(const planning *p, uint32_t num, pdf_span *text) {
    const pdf_buffer *head = &p->plan->head, *tail = &p->plan->tail;
    uint64_t head_at = (uint64_t)(p->doc->file.end - p->doc->file.at), tail_at = head_at + head->length + p->plan->reserved_bytes;
    for (unsigned i = 0; i < p->update->written_count; i++) {
        const pdf_written *written = &p->update->written[i];
        if (written->num != num) continue;
        const pdf_buffer *part = written->offset < tail_at ? head : tail;
        uint64_t offset = part == head ? written->offset - head_at : offset_in_tail(p->plan, p->appearance, written->offset - tail_at);
        *text = (pdf_span){part->bytes + offset, part->bytes + part->length};
        return true;
    }
    return false;
}

static pdf_refusal load(const planning *p, uint32_t num, uint32_t gen, pdf_object *object) {
    pdf_span text;
    uint64_t found_num, found_gen;
    if (!find_written(p, num, &text)) return pdf_load(p->doc, num, gen, object);
    memset(object, 0, sizeof *object);
    object->num = num;
    object->gen = gen;
    const uint8_t *at = pdf_skip_header(text.at, text.end, &found_num, &found_gen);
    if (!at || found_num != num || found_gen != gen) return PDF_REFUSE_BROKEN_OBJECT;
    return pdf_read_value(p->doc, at, text.end, &object->value);
}

/* Follows a reference, as pdf_resolve() does in the original. */
static pdf_refusal resolve(const planning *p, pdf_span value, pdf_object *object) {
    uint32_t num, gen;
    memset(object, 0, sizeof *object);
    object->value = value;
    for (unsigned hops = 0; pdf_to_ref(object->value, &num, &gen); hops++) {
        if (hops == REFERENCE_HOPS) return PDF_REFUSE_BROKEN_OBJECT;
        pdf_refusal refusal = load(p, num, gen, object);
        if (refusal) return refusal;
    }
    return PDF_OK;
}

static pdf_refusal get(const planning *p, pdf_span dict, const char *key, pdf_object *object) {
    pdf_span value;
    if (!pdf_get_entries(p->doc, dict, &key, &value, 1, NULL)) return PDF_REFUSE_OBJECTS;
    return resolve(p, value, object);
}

/* Whether a value can be copied without repairing it. Its bytes are read a few times until they are written. An object is taken,
 * so that its strings are as they must be in the section. */
static pdf_refusal check_taken(const planning *p, pdf_object *object) {
    if (!pdf_spend(p->doc, COPY_WORK * (size_t)(object->value.end - object->value.at))) return PDF_REFUSE_OBJECTS;
    return pdf_well_formed(object->value) ? pdf_take(p->doc, object) : PDF_REFUSE_BROKEN_OBJECT;
}

/* --- planning ----------------------------------------------------------------------------------------------------- */

static void put_span(pdf_buffer *out, pdf_span text) { pdf_put(out, text.at, (size_t)(text.end - text.at)); }

static void put_changed_object(planning *p, const pdf_object *object, const pdf_change *changes, unsigned n) {
    pdf_begin_object(&p->out, object->num, object->gen);
    pdf_put_changed(p->out.out, object->value, changes, n);
    pdf_end_object(&p->out);
}

/* Adds a reference to the array `key` of a dictionary: in an object of its own, which is written, or else in the dictionary,
 * as the change that is returned in `change`. */
static pdf_refusal extend(planning *p, pdf_span dict, const char *key, uint32_t num, uint32_t written_array, pdf_change *change, uint32_t *array_num) {
    pdf_object array;
    pdf_refusal refusal = get(p, dict, key, &array);
    if (refusal || (refusal = check_taken(p, &array))) return refusal;
    *change = (pdf_change){NULL, {.arena = p->doc->arena}};
    bool is_own = array.num && pdf_kind_of(array.value) == PDF_ARRAY;
    *array_num = is_own ? array.num : 0;
    if (!is_own) {
        change->key = key;
        pdf_put_extended(&change->value, array.value, num);
    } else if (array.num != written_array) { /* one array may be both /Annots and /Fields */
        pdf_begin_object(&p->out, array.num, array.gen);
        pdf_put_extended(p->out.out, array.value, num);
        pdf_end_object(&p->out);
    }
    return PDF_OK;
}

/* Adds the field of the time stamp to the page and to the form. Where the form is a part of the catalog, its new text
 * becomes a change of that. */
static pdf_refusal put_places(planning *p, pdf_span catalog, uint32_t field, pdf_change *form_change) {
    pdf_object page, form;
    pdf_change change;
    uint32_t annots, fields;
    pdf_refusal refusal = load(p, p->out.structure->page.num, p->out.structure->page.gen, &page);
    if (refusal || (refusal = check_taken(p, &page))) return refusal;
    if ((refusal = extend(p, page.value, "Annots", field, 0, &change, &annots))) return refusal;
    if (change.key) put_changed_object(p, &page, &change, 1);
    if ((refusal = get(p, catalog, "AcroForm", &form)) || (refusal = check_taken(p, &form))) return refusal;
    if (pdf_kind_of(form.value) != PDF_DICT) return PDF_REFUSE_BROKEN_OBJECT;
    if ((refusal = extend(p, form.value, "Fields", field, annots, &change, &fields))) return refusal;
    if (change.key && form.num) put_changed_object(p, &form, &change, 1);
    if (change.key && !form.num) {
        *form_change = (pdf_change){"AcroForm", {.arena = p->doc->arena}};
        pdf_put_changed(&form_change->value, form.value, &change, 1);
    }
    return PDF_OK;
}

/* The field of the time stamp with its only widget, which is invisible. Its empty appearance stands in the signature's own
 * update: validators that compare revisions take a new field of a time stamp for what it is, but not a new appearance. */
static void put_stamp_field(pdf_writer *w, uint32_t num, uint32_t appearance, uint32_t stamp, uint32_t field_number) {
    char name[32] = "Signature";
    pdf_buffer digits = {.arena = w->doc->arena};
    pdf_put_number(&digits, field_number, 1);
    if (digits.failed) w->out->failed = true;
    else memcpy(name + strlen(name), digits.bytes, digits.length);
    pdf_begin_object(w, num, 0);
    pdf_puts(w->out, "<</Type/Annot/Subtype/Widget/FT/Sig/T");
    pdf_put_text_string(w, (pdf_text){(const uint8_t *)name, strlen(name)});
    pdf_puts(w->out, "/F 132/Rect[0 0 0 0]/AP<</N ");
    pdf_put_ref(w->out, appearance, 0);
    pdf_puts(w->out, ">>/P ");
    pdf_put_ref(w->out, w->structure->page.num, w->structure->page.gen);
    pdf_puts(w->out, "/V ");
    pdf_put_ref(w->out, stamp, 0);
    pdf_puts(w->out, ">>");
    pdf_end_object(w);
}

/* The dictionary of the time stamp (12.8.5, table 255) as far as its token, and blanks for its /ByteRange. */
static void begin_stamp(pdf_writer *w, uint32_t num, pdf_long_term *section) {
    pdf_begin_object(w, num, 0);
    pdf_puts(w->out, "<</Type/DocTimeStamp/Filter/Adobe.PPKLite/SubFilter/ETSI.RFC3161\n/ByteRange ");
    section->range = pdf_put_range_blanks(w->out);
    pdf_puts(w->out, "\n/Contents ");
}

/* Takes the references of an array of an existing DSS dictionary, or the one that stands in its place. */
static pdf_refusal take_list(planning *p, pdf_span value, pdf_buffer *list) {
    pdf_object array;
    pdf_span each;
    pdf_refusal refusal = resolve(p, value, &array);
    if (refusal || (refusal = check_taken(p, &array))) return refusal;
    if (pdf_kind_of(array.value) == PDF_DICT && pdf_kind_of(value) == PDF_REF) {
        pdf_puts(list, " ");
        put_span(list, value);
    }
    pdf_members members = pdf_open(array.value);
    while (pdf_kind_of(array.value) == PDF_ARRAY && pdf_next(&members, &each)) {
        if (pdf_kind_of(each) != PDF_REF) continue;
        pdf_puts(list, " ");
        put_span(list, each);
    }
    return PDF_OK;
}

/* Whether a dictionary is an object of its own that can be written anew: one of the original, and not that of a stream, whose
 * data would be lost. */
static bool is_own_dict(const planning *p, const pdf_object *object) {
    pdf_span text;
    if (pdf_kind_of(object->value) != PDF_DICT || !object->num || find_written(p, object->num, &text)) return false;
    if (object->compressed) return true;
    return !pdf_skip_word(pdf_skip_space(object->value.end, p->doc->file.end), p->doc->file.end, "stream");
}

/* Takes over what an existing DSS dictionary refers to. It stays the same object, if it is one. */
static pdf_refusal take_dss(planning *p, const pdf_object *catalog, pdf_long_term *section) {
    pdf_object dss;
    pdf_span values[PDF_MATERIALS], key, value;
    pdf_refusal refusal = get(p, catalog->value, "DSS", &dss);
    if (refusal) return refusal;
    bool is_dict = pdf_kind_of(dss.value) == PDF_DICT;
    if (is_dict && dss.num && !is_own_dict(p, &dss)) return PDF_REFUSE_BROKEN_OBJECT;
    if ((refusal = check_taken(p, &dss))) return refusal;
    if (is_dict && dss.num) {
        section->dss = dss.num;
        section->dss_generation = dss.gen;
    } else {
        section->dss = (uint32_t)p->out.next_number++;
    }
    if (!is_dict) return PDF_OK;
    if (!pdf_get_entries(p->doc, dss.value, PDF_MATERIAL_KEYS, values, PDF_MATERIALS, NULL)) return PDF_REFUSE_OBJECTS;
    for (unsigned i = 0; i < PDF_MATERIALS; i++)
        if ((refusal = take_list(p, values[i], &section->lists[i]))) return refusal;
    pdf_members members = pdf_open(dss.value);
    while (pdf_next_pair(&members, &key, &value)) {
        unsigned i = 0;
        while (i < PDF_MATERIALS && !pdf_name_is(key, PDF_MATERIAL_KEYS[i])) i++;
        if (i < PDF_MATERIALS) continue;
        put_span(&section->others, key);
        pdf_puts(&section->others, " ");
        if (dss.num)
            put_span(&section->others, value);
        else if ((refusal = pdf_put_moved(p->doc, catalog, value, &section->others, section->dss, section->dss_generation)))
            return refusal;
    }
    return PDF_OK;
}

/* Says in the catalog which extension of PDF 1.7 the document uses (7.12), unless it does already. Where the dictionary of
 * extensions is an object of its own, that is written. */
static pdf_refusal put_extensions(planning *p, pdf_span catalog, pdf_change *changes, unsigned *n) {
    pdf_object extensions, ours;
    pdf_change change = {"ESIC", {.arena = p->doc->arena}};
    pdf_refusal refusal = get(p, catalog, "Extensions", &extensions);
    if (refusal) return refusal;
    bool is_dict = pdf_kind_of(extensions.value) == PDF_DICT, is_own = is_own_dict(p, &extensions);
    if ((refusal = check_taken(p, &extensions))) return refusal;
    if (is_dict) {
        if ((refusal = get(p, extensions.value, "ESIC", &ours))) return refusal;
        if (pdf_kind_of(ours.value) != PDF_NULL) return PDF_OK;
    }
    pdf_puts(&change.value, "<</BaseVersion/1.7/ExtensionLevel 1>>");
    if (is_dict && extensions.num && !is_own) return PDF_REFUSE_BROKEN_OBJECT;
    if (is_dict && extensions.num) {
        put_changed_object(p, &extensions, &change, 1);
        return PDF_OK;
    }
    static const uint8_t EMPTY[] = "<<>>";
    pdf_span before = is_dict ? extensions.value : (pdf_span){EMPTY, EMPTY + 4};
    changes[*n] = (pdf_change){"Extensions", {.arena = p->doc->arena}};
    pdf_put_changed(&changes[(*n)++].value, before, &change, 1);
    return PDF_OK;
}

/* Where the trailer dictionary of the update begins, and its xref section. */
static pdf_refusal find_trailer(const planning *p, pdf_long_term *section) {
    const pdf_buffer *tail = &p->plan->tail;
    const uint8_t *end = tail->bytes + tail->length, *at = pdf_find_last(tail->bytes, end, "startxref");
    uint64_t tail_at = section->start - tail->length - p->plan->inserted_bytes, num, gen;
    if (!at || !pdf_skip_number(pdf_skip_space(at + 9, end), end, &section->previous)) return PDF_REFUSE_BROKEN_XREF;
    if (section->previous < tail_at || section->previous >= section->start) return PDF_REFUSE_BROKEN_XREF;
    at = tail->bytes + offset_in_tail(p->plan, p->appearance, section->previous - tail_at);
    section->is_stream = p->plan->form == PDF_XREF_STREAM;
    if (section->is_stream)
        at = pdf_skip_header(at, end, &num, &gen);
    else if ((at = pdf_find(at, end, "trailer"))) /* before it, there are rows only */
        at += 7;
    if (!at) return PDF_REFUSE_BROKEN_XREF;
    section->trailer = (uint64_t)(pdf_skip_space(at, end) - tail->bytes);
    return PDF_OK;
}

static pdf_refusal plan_objects(planning *p, uint32_t appearance, pdf_long_term *section) {
    const pdf_object *root = &p->out.structure->catalog;
    pdf_object catalog;
    pdf_change changes[PDF_MAX_CHANGES], form = {NULL, {NULL}};
    unsigned n = 0;
    uint32_t stamp = 0, field = 0;
    pdf_refusal refusal = load(p, root->num, root->gen, &catalog);
    if (refusal || (refusal = check_taken(p, &catalog))) return refusal;
    if (section->has_time_stamp) {
        stamp = (uint32_t)p->out.next_number++, field = (uint32_t)p->out.next_number++;
        if ((refusal = put_places(p, catalog.value, field, &form))) return refusal;
        if (form.key) changes[n++] = form;
    }
    if ((refusal = take_dss(p, &catalog, section))) return refusal;
    if ((refusal = put_extensions(p, catalog.value, changes, &n))) return refusal;
    changes[n] = (pdf_change){"DSS", {.arena = p->doc->arena}};
    pdf_put_ref(&changes[n++].value, section->dss, section->dss_generation);
    put_changed_object(p, &catalog, changes, n);
    if (section->has_time_stamp) {
        put_stamp_field(&p->out, field, appearance, stamp, p->out.structure->stamp_number);
        begin_stamp(&p->out, stamp, section);
    }
    section->next_number = p->out.next_number;
    return PDF_OK;
}

static void put_rows(pdf_buffer *rows, const pdf_written *written, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const uint64_t fields[2] = {(uint64_t)written[i].num << 32 | written[i].gen, written[i].offset};
        uint8_t row[PDF_SECTION_ROW_BYTES];
        for (unsigned b = 0; b < PDF_SECTION_ROW_BYTES; b++) row[b] = (uint8_t)(fields[b / 8] >> (56 - 8 * (b % 8)));
        pdf_put(rows, row, sizeof row);
    }
}

/* Whether each object is written once. Parts of the document may claim to be the same object. */
static bool are_different(const pdf_writer *w, uint32_t dss) {
    for (unsigned i = 0; i < w->written_count; i++) {
        if (w->written[i].num == dss) return false;
        for (unsigned k = 0; k < i; k++)
            if (w->written[i].num == w->written[k].num) return false;
    }
    return true;
}

pdf_refusal pdf_plan_section(const pdf_writer *update, const pdf_plan_request *request, uint32_t stamp_appearance, pdf_plan *plan) {
    pdf_document *doc = update->doc;
    pdf_long_term *section = &plan->section;
    pdf_written written[PDF_MAX_WRITTEN];
    uint64_t length = (uint64_t)(doc->file.end - doc->file.at);
    if (plan->head.failed || plan->tail.failed) return PDF_REFUSE_MEMORY;
    section->objects.arena = section->rows.arena = section->others.arena = section->cipher.arena = doc->arena;
    for (unsigned i = 0; i < PDF_MATERIALS; i++) section->lists[i].arena = doc->arena;
    section->start = length + plan->head.length + plan->reserved_bytes + plan->tail.length + plan->inserted_bytes;
    section->has_time_stamp = stamp_appearance != 0;
    planning p = {.doc = doc, .update = update, .plan = plan, .appearance = request->appearance};
    p.out = (pdf_writer){.doc = doc, .structure = update->structure, .out = &section->objects, .out_offset = section->start, .next_number = update->next_number, .written = written};
    pdf_refusal refusal = find_trailer(&p, section);
    if (refusal || (refusal = plan_objects(&p, stamp_appearance, section))) return refusal;
    if (!are_different(&p.out, section->dss)) return PDF_REFUSE_BROKEN_OBJECT;
    if (section->next_number > PDF_MAX_OBJECT_NUMBER - PDF_MAX_STREAMS) return PDF_REFUSE_OBJECTS;
    put_rows(&section->rows, written, p.out.written_count);
    if (doc->crypt) pdf_keep_crypt(doc->crypt, &section->cipher);
    bool failed = section->cipher.failed || section->objects.failed || section->rows.failed || section->others.failed;
    for (unsigned i = 0; i < PDF_MATERIALS; i++) failed |= section->lists[i].failed;
    return failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

size_t pdf_section_bytes(const pdf_long_term *section) {
    size_t bytes = section->objects.length + section->rows.length + section->others.length + section->cipher.length;
    for (unsigned i = 0; i < PDF_MATERIALS; i++) bytes += section->lists[i].length;
    return bytes;
}
