/* Makes a new xref section for a file whose own is unusable. It scans the file for every "num gen obj"; if a number
 * occurs more than once, the last object counts. */
#include <string.h>

#include "pdfscan/pdf_document.h"
#include "pdfscan/pdf_rows.h"

/* The table has a row for each number up to the highest, so that a few bytes with a high number could make it very
 * large. Numbers above ALWAYS_LISTED are therefore left out if they are more than SPREAD times the number of objects.
 * At most MOST_FOUND objects are taken. */
enum { ALWAYS_LISTED = 1 << 20, SPREAD = 8, MOST_FOUND = 1 << 21 };

typedef struct {
    uint32_t num, generation;
    uint64_t location;
    bool compressed;
} found_object;

typedef struct {
    pdf_document *doc;
    pdf_buffer found; /* array of found_object, in the order of the file */
    pdf_span trailer;
    found_object catalog; /* its location is 0 if no catalog was found */
    uint32_t highest;
    bool any_compressed, stream_trailer;
} scan;

static pdf_refusal add(scan *s, found_object object) {
    if (object.num > PDF_MAX_OBJECT_NUMBER || object.num == 0) return PDF_OK;
    if (s->found.length / sizeof object >= MOST_FOUND) return PDF_REFUSE_OBJECTS;
    if (object.num > s->highest) s->highest = object.num;
    pdf_put(&s->found, &object, sizeof object);
    return s->found.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

static const uint8_t *back_over_space(const uint8_t *start, const uint8_t *at) {
    while (at > start && pdf_is_space(at[-1])) at--;
    return at;
}

static const uint8_t *back_over_digits(const uint8_t *start, const uint8_t *at) {
    while (at > start && pdf_is_digit(at[-1])) at--;
    return at;
}

/* Where the "num gen " before `word` begins, or NULL if it is not there. */
static const uint8_t *header_before(const uint8_t *start, const uint8_t *word) {
    const uint8_t *end = back_over_space(start, word), *at = back_over_digits(start, end);
    if (at == end) return NULL;
    end = back_over_space(start, at);
    if (end == at) return NULL;
    at = back_over_digits(start, end);
    return at == end || end - at > 10 ? NULL : at;
}

static void consider_trailer(scan *s, pdf_span dict, bool is_stream) {
    pdf_span value;
    if (!pdf_get(dict, "Root", &value)) return;
    s->trailer = dict;
    s->stream_trailer = is_stream;
}

static pdf_refusal expand_objstm(scan *s, uint32_t num, pdf_span dict, pdf_span raw) {
    pdf_objstm stream = {.num = num};
    pdf_refusal refusal = pdf_parse_objstm(s->doc, dict, raw, &stream);
    if (refusal == PDF_REFUSE_BROKEN_OBJECT || refusal == PDF_REFUSE_FILTER) return PDF_OK;
    for (uint32_t i = 0; !refusal && i < stream.count; i++) {
        refusal = add(s, (found_object){.num = stream.pairs[2 * (size_t)i], .generation = i, .location = num, .compressed = true});
        s->any_compressed = true;
    }
    return refusal;
}

/* Adds the object whose header is at `header`. `*after` is behind its "obj"; moves it to where the scan continues. */
static pdf_refusal scan_object(scan *s, const uint8_t *header, const uint8_t **after) {
    pdf_document *doc = s->doc;
    uint64_t num, gen;
    pdf_span value, raw, type;
    if (!pdf_skip_header(header, doc->file.end, &num, &gen) || num > PDF_MAX_OBJECT_NUMBER || gen > 65535) return PDF_OK;
    found_object object = {.num = (uint32_t)num, .generation = (uint32_t)gen, .location = (uint64_t)(header - doc->file.at)};
    pdf_refusal refusal = pdf_read_value(doc, *after, doc->file.end, &value);
    if (refusal == PDF_REFUSE_OBJECTS) return refusal;
    if (refusal) return add(s, object);
    *after = value.end;
    bool typed = pdf_kind_of(value) == PDF_DICT && pdf_get(value, "Type", &type);
    if (typed && pdf_name_is(type, "Catalog")) s->catalog = object;
    bool is_stream = pdf_kind_of(value) == PDF_DICT && pdf_stream_bytes(doc, value, doc->file.end, &raw);
    if (is_stream) *after = raw.end;
    if (is_stream && typed && pdf_name_is(type, "XRef")) {
        consider_trailer(s, value, true);
        return PDF_OK;
    }
    if ((refusal = add(s, object)) || !is_stream || !typed || !pdf_name_is(type, "ObjStm")) return refusal;
    return expand_objstm(s, object.num, value, raw);
}

static pdf_refusal scan_file(scan *s) {
    const uint8_t *start = s->doc->file.at, *end = s->doc->file.end, *at = start;
    const uint8_t *trailer = pdf_find(at, end, "trailer"), *word = pdf_find(at, end, "obj");
    for (;;) {
        /* Each word is searched again only after the scan has passed it, so the file is read at most twice. */
        if (trailer && trailer < at) trailer = pdf_find(at, end, "trailer");
        if (word && word < at) word = pdf_find(at, end, "obj");
        if (trailer && (!word || trailer < word)) {
            pdf_span dict;
            pdf_refusal refusal = pdf_read_value(s->doc, trailer + 7, end, &dict);
            if (refusal == PDF_REFUSE_OBJECTS) return refusal;
            if (!refusal && pdf_kind_of(dict) == PDF_DICT) consider_trailer(s, dict, false);
            at = trailer + 7;
            continue;
        }
        if (!word) return PDF_OK;
        at = word + 3;
        const uint8_t *header = header_before(start, word);
        pdf_refusal refusal = header ? scan_object(s, header, &at) : PDF_OK;
        if (refusal) return refusal;
    }
}

static pdf_refusal make_trailer(scan *s) {
    pdf_buffer out = {.arena = s->doc->arena};
    if (s->trailer.at) return PDF_OK;
    if (!s->catalog.location) return PDF_REFUSE_NO_CATALOG;
    pdf_puts(&out, "<</Root ");
    pdf_put_number(&out, s->catalog.num, 1);
    pdf_puts(&out, " ");
    pdf_put_number(&out, s->catalog.generation, 1);
    pdf_puts(&out, " R>>");
    if (out.failed) return PDF_REFUSE_MEMORY;
    s->trailer = (pdf_span){out.bytes, out.bytes + out.length};
    return PDF_OK;
}

pdf_refusal pdf_rebuild_xref(pdf_document *doc) {
    scan s = {.doc = doc, .found = {.arena = doc->arena}};
    doc->sections = NULL;
    doc->section_count = 0;
    doc->objstms = NULL;
    doc->size = 0;
    pdf_refusal refusal = scan_file(&s);
    if (refusal) return refusal;
    if (!s.found.length) return PDF_REFUSE_BROKEN_XREF;
    if ((refusal = make_trailer(&s))) return refusal;
    size_t count = s.found.length / sizeof(found_object);
    size_t most = count * SPREAD > ALWAYS_LISTED ? count * SPREAD : ALWAYS_LISTED;
    if (s.highest > most) s.highest = (uint32_t)most;
    uint8_t *rows = pdf_alloc_zeroed(doc->arena, ((size_t)s.highest + 1) * PDF_OWN_ROW_BYTES);
    pdf_section *section = pdf_alloc_zeroed(doc->arena, sizeof *section);
    pdf_subsection *all = pdf_alloc_zeroed(doc->arena, sizeof *all);
    if (!rows || !section || !all) return PDF_REFUSE_MEMORY;
    const found_object *found = (const found_object *)(const void *)s.found.bytes;
    for (size_t i = 0; i < count; i++) {
        if (found[i].num > s.highest) continue;
        uint8_t *row = rows + (size_t)found[i].num * PDF_OWN_ROW_BYTES;
        pdf_write_own_row(row, found[i].compressed ? PDF_ENTRY_COMPRESSED : PDF_ENTRY_PLAIN, found[i].location, found[i].generation);
    }
    *all = (pdf_subsection){.first = 0, .count = s.highest + 1, .rows = rows, .width = {1, 8, 4}};
    *section = (pdf_section){.is_stream = s.any_compressed || s.stream_trailer, .trailer = s.trailer, .subsections = all, .count = 1};
    doc->sections = section;
    doc->section_count = 1;
    doc->trailer = s.trailer;
    doc->size = (uint64_t)s.highest + 1;
    doc->rebuilt = true;
    return PDF_OK;
}
