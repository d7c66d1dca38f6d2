/* Reads the chain of xref sections: tables, streams and hybrids (ISO 32000-2 7.5.4, 7.5.8). The rows are not copied but
 * stay in the file; pdf_lookup.c reads them when they are needed. */
#include <string.h>

#include "pdfscan/pdf_document.h"
#include "pdfscan/pdf_rows.h"

/* How often the trailer of a section is searched for a key, at most: here, and for keys that no trailer has. */
enum { TAIL_BYTES = 2048, SUBSECTION_WORK = 16, TRAILER_SEARCHES = 12 };

/* Converts text rows of a wrong length into rows of widths 1, 8 and 4. Many files end a row with one or three bytes. */
static const uint8_t *convert_rows(pdf_document *doc, const uint8_t *at, pdf_subsection *rows) {
    const uint8_t *end = doc->file.end;
    if (rows->count > (size_t)(end - at) / PDF_TEXT_ENTRY_BYTES || !pdf_spend(doc, (size_t)rows->count * PDF_TEXT_ROW_BYTES)) return NULL;
    uint8_t *out = pdf_alloc(doc->arena, (size_t)rows->count * PDF_OWN_ROW_BYTES);
    if (!out) return NULL;
    rows->rows = out;
    rows->width[0] = 1, rows->width[1] = 8, rows->width[2] = 4;
    for (uint32_t i = 0; i < rows->count; i++, out += PDF_OWN_ROW_BYTES, at += PDF_TEXT_ENTRY_BYTES) {
        at = pdf_skip_space(at, end);
        if (end - at < PDF_TEXT_ENTRY_BYTES || !pdf_is_text_entry(at)) return NULL;
        pdf_write_own_row(out, at[17] == 'n', pdf_text_number(at, 10), (uint32_t)pdf_text_number(at + 11, 5));
    }
    return at;
}

static pdf_refusal add_subsection(pdf_document *doc, pdf_section *section, pdf_subsection rows) {
    if (!rows.count) return PDF_OK;
    if ((section->count & (section->count - 1)) == 0) {  /* the array is full at powers of two */
        size_t capacity = section->count ? (size_t)section->count * 2 : 1;
        pdf_subsection *grown = pdf_alloc(doc->arena, capacity * sizeof *grown);
        if (!grown) return PDF_REFUSE_MEMORY;
        if (section->count) memcpy(grown, section->subsections, section->count * sizeof *grown);
        section->subsections = grown;
    }
    section->subsections[section->count++] = rows;
    if ((uint64_t)rows.first + rows.count > doc->size) doc->size = (uint64_t)rows.first + rows.count;
    return PDF_OK;
}

/* `at` must be behind "xref". */
static pdf_refusal read_table(pdf_document *doc, const uint8_t *at, pdf_section *section) {
    const uint8_t *end = doc->file.end, *next;
    pdf_refusal refusal;
    while (!(next = pdf_skip_word(at = pdf_skip_space(at, end), end, "trailer"))) {
        uint64_t first, count;
        if (!pdf_spend(doc, SUBSECTION_WORK)) return PDF_REFUSE_OBJECTS;
        if (!(at = pdf_skip_number(at, end, &first)) || !(at = pdf_skip_number(pdf_skip_space(at, end), end, &count))) return PDF_REFUSE_BROKEN_XREF;
        at = pdf_skip_space(at, end);
        if (first > PDF_MAX_OBJECT_NUMBER || count > PDF_MAX_OBJECT_NUMBER + 1 - first) return PDF_REFUSE_BROKEN_XREF;
        pdf_subsection rows = {.first = (uint32_t)first, .count = (uint32_t)count, .rows = at};
        size_t length = (size_t)count * PDF_TEXT_ROW_BYTES;
        if (count && ((size_t)(end - at) <= length || !pdf_is_text_row(at) || !pdf_is_text_row(at + length - PDF_TEXT_ROW_BYTES) || !pdf_is_regular(at[length]))) {
            at = convert_rows(doc, at, &rows);
            if (!at) return PDF_REFUSE_BROKEN_XREF;
        } else {
            /* Some writers list object 0 but say that the section begins with object 1, so every number is wrong by
             * one. */
            if (count && first == 1 && pdf_text_number(at, 10) == 0 && at[17] == 'f' && pdf_text_number(at + 11, 5) == 65535) return PDF_REFUSE_BROKEN_XREF;
            at += length;
        }
        if ((refusal = add_subsection(doc, section, rows))) return refusal;
    }
    refusal = pdf_read_value(doc, next, end, &section->trailer);
    return refusal ? refusal : pdf_kind_of(section->trailer) == PDF_DICT ? PDF_OK : PDF_REFUSE_BROKEN_XREF;
}

/* `at` must be behind "num gen obj". */
static pdf_refusal read_stream(pdf_document *doc, const uint8_t *at, pdf_section *section) {
    pdf_span raw, data, value;
    pdf_refusal refusal = pdf_read_value(doc, at, doc->file.end, &section->trailer);
    if (refusal) return refusal;
    pdf_span dict = section->trailer;
    if (!pdf_get(dict, "Type", &value) || !pdf_name_is(value, "XRef") || !pdf_stream_bytes(doc, dict, doc->file.end, &raw)) return PDF_REFUSE_BROKEN_XREF;
    if ((refusal = pdf_decode_stream(doc, dict, raw, &data))) return refusal;
    pdf_subsection rows = {.rows = data.at};
    size_t row = 0;
    if (!pdf_get(dict, "W", &value)) return PDF_REFUSE_BROKEN_XREF;
    pdf_members members = pdf_open(value);
    for (int i = 0; i < 3; i++) {
        int64_t width;
        if (!pdf_next(&members, &value) || !pdf_to_integer(value, &width) || width < 0 || width > 8) return PDF_REFUSE_BROKEN_XREF;
        rows.width[i] = (uint8_t)width;
        row += (size_t)width;
    }
    if (!row || !rows.width[1]) return PDF_REFUSE_BROKEN_XREF;
    bool has_index = pdf_get(dict, "Index", &value) && pdf_kind_of(value) == PDF_ARRAY;
    members = has_index ? pdf_open(value) : (pdf_members){NULL, NULL};
    for (size_t left = (size_t)(data.end - data.at) / row; left;) {
        int64_t first = 0, count = 0;
        pdf_span number;
        if (has_index) {
            if (!pdf_next(&members, &number)) break;
            if (!pdf_to_integer(number, &first) || !pdf_next(&members, &number) || !pdf_to_integer(number, &count)) return PDF_REFUSE_BROKEN_XREF;
        } else if (!pdf_get(dict, "Size", &number) || !pdf_to_integer(number, &count)) {
            return PDF_REFUSE_BROKEN_XREF;
        }
        if (first < 0 || count < 0 || first > PDF_MAX_OBJECT_NUMBER || count > PDF_MAX_OBJECT_NUMBER + 1 - first) return PDF_REFUSE_BROKEN_XREF;
        if ((uint64_t)count > left) count = (int64_t)left;
        rows.first = (uint32_t)first;
        rows.count = (uint32_t)count;
        if ((refusal = add_subsection(doc, section, rows))) return refusal;
        rows.rows += (size_t)count * row;
        left -= (size_t)count;
        if (!has_index) break;
    }
    section->is_stream = true;
    return PDF_OK;
}

static pdf_refusal read_section(pdf_document *doc, uint64_t offset, pdf_section *section) {
    size_t length = (size_t)(doc->file.end - doc->file.at);
    if (offset >= length) return PDF_REFUSE_BROKEN_XREF;
    const uint8_t *at = pdf_skip_space(doc->file.at + offset, doc->file.end), *next;
    uint64_t num, gen;
    memset(section, 0, sizeof *section);
    section->start = (uint64_t)(at - doc->file.at);
    if ((next = pdf_skip_header(at, doc->file.end, &num, &gen))) return read_stream(doc, next, section);
    /* Some files have "xref0 5", without white space. */
    if (doc->file.end - at >= 4 && memcmp(at, "xref", 4) == 0) return read_table(doc, at + 4, section);
    return PDF_REFUSE_BROKEN_XREF;
}

static bool find_startxref(const pdf_document *doc, uint64_t *offset) {
    const uint8_t *start = doc->file.at, *end = doc->file.end;
    const uint8_t *at = pdf_find_last(end - start > TAIL_BYTES ? end - TAIL_BYTES : start, end, "startxref");
    if (!at) at = pdf_find_last(start, end, "startxref");
    return at && pdf_skip_number(pdf_skip_space(at + 9, end), end, offset);
}

/* The offset that /Prev or /XRefStm holds; 0 if there is no such section. Some writers say so by 0. Others have a
 * reference there, which is either meant as one or is the offset with " 0 R" behind it. */
static pdf_refusal section_offset(pdf_document *doc, pdf_span value, uint64_t *offset) {
    pdf_object object;
    uint32_t num, gen;
    int64_t number;
    *offset = 0;
    if (pdf_kind_of(value) == PDF_NULL) return PDF_OK;
    if (pdf_to_ref(value, &num, &gen)) {
        bool is_meant = !pdf_resolve(doc, value, &object) && pdf_to_integer(object.value, &number) && number >= 0;
        *offset = is_meant ? (uint64_t)number : num;
        return PDF_OK;
    }
    if (!pdf_to_integer(value, &number) || number < 0) return PDF_REFUSE_BROKEN_XREF;
    *offset = (uint64_t)number;
    return PDF_OK;
}

static pdf_section *new_section(pdf_document *doc) {
    uint32_t n = doc->section_count;
    if ((n & (n - 1)) == 0) {
        pdf_section *grown = pdf_alloc(doc->arena, (n ? (size_t)n * 2 : 1) * sizeof *grown);
        if (!grown) return NULL;
        if (n) memcpy(grown, doc->sections, n * sizeof *grown);
        doc->sections = grown;
    }
    return &doc->sections[doc->section_count++];
}

/* `entry` is the value of /XRefStm in the trailer of the section. */
static pdf_refusal read_hidden(pdf_document *doc, pdf_section *section, pdf_span entry) {
    uint64_t offset;
    if (section->is_stream || pdf_kind_of(entry) == PDF_NULL) return PDF_OK;
    pdf_refusal refusal = section_offset(doc, entry, &offset);
    if (refusal || !offset) return refusal;
    pdf_section *hidden = pdf_alloc(doc->arena, sizeof *hidden);
    if (!hidden) return PDF_REFUSE_MEMORY;
    refusal = read_section(doc, offset, hidden);
    if (!refusal && hidden->is_stream) section->hidden = hidden;
    return refusal;
}

pdf_refusal pdf_read_xref(pdf_document *doc) {
    enum { HIDDEN, PREVIOUS, SIZE, KEYS };
    static const char *const NAMES[KEYS] = {"XRefStm", "Prev", "Size"};
    uint64_t offset;
    int64_t size;
    pdf_span entries[KEYS];
    if (!find_startxref(doc, &offset)) return PDF_REFUSE_BROKEN_XREF;
    for (;;) {
        if (doc->section_count == doc->limits->sections) return PDF_REFUSE_SECTIONS;
        pdf_section *section = new_section(doc);
        if (!section) return PDF_REFUSE_MEMORY;
        pdf_refusal refusal = read_section(doc, offset, section);
        if (refusal) return refusal;
        if (!pdf_spend(doc, TRAILER_SEARCHES * (size_t)(section->trailer.end - section->trailer.at))) return PDF_REFUSE_OBJECTS;
        pdf_get_each(section->trailer, NAMES, entries, KEYS);
        if (pdf_to_integer(entries[SIZE], &size) && size <= PDF_MAX_OBJECT_NUMBER && size > (int64_t)doc->size) doc->size = (uint64_t)size;
        if ((refusal = read_hidden(doc, section, entries[HIDDEN]))) return refusal;
        if (!pdf_well_formed(section->trailer)) return PDF_REFUSE_BROKEN_XREF;
        for (uint32_t i = 0; i + 1 < doc->section_count; i++)
            if (doc->sections[i].start == section->start) return PDF_REFUSE_XREF_LOOP;
        if ((refusal = section_offset(doc, entries[PREVIOUS], &offset))) return refusal;
        if (!offset) break;
    }
    doc->trailer = doc->sections[0].trailer;
    return PDF_OK;
}
