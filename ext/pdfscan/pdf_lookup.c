/* Answers questions from the xref sections that were read (pdf_xref.c) or rebuilt (pdf_rebuild.c): where an object is,
 * and what the trailers say. A row is decoded only when it is asked for. */
#include "pdfscan/pdf_document.h"
#include "pdfscan/pdf_rows.h"

static uint64_t binary_number(const uint8_t *at, unsigned bytes) {
    uint64_t value = 0;
    while (bytes--) value = value << 8 | *at++;
    return value;
}

bool pdf_trailer_get(const pdf_document *doc, const char *key, pdf_span *value) {
    if (pdf_get(doc->trailer, key, value)) return true;
    for (uint32_t i = 0; i < doc->section_count; i++)
        if (doc->sections[i].trailer.at != doc->trailer.at && pdf_get(doc->sections[i].trailer, key, value)) return true;
    return false;
}

static pdf_entry row_entry(const pdf_subsection *rows, uint32_t index) {
    const uint8_t *w = rows->width;
    if (!(w[0] | w[1] | w[2])) {
        const uint8_t *row = rows->rows + (size_t)index * PDF_TEXT_ROW_BYTES;
        if (!pdf_is_text_row(row)) return (pdf_entry){.type = PDF_ENTRY_BROKEN};
        return (pdf_entry){.type = row[17] == 'n' ? PDF_ENTRY_PLAIN : PDF_ENTRY_FREE, .location = pdf_text_number(row, 10), .generation = (uint32_t)pdf_text_number(row + 11, 5)};
    }
    const uint8_t *row = rows->rows + (size_t)index * ((size_t)w[0] + w[1] + w[2]);
    uint64_t type = w[0] ? binary_number(row, w[0]) : 1;
    uint64_t last = binary_number(row + w[0] + w[1], w[2]);
    pdf_entry entry = {.type = type == 0 ? PDF_ENTRY_FREE : type == 1 ? PDF_ENTRY_PLAIN : type == 2 ? PDF_ENTRY_COMPRESSED : PDF_ENTRY_MISSING};
    entry.location = binary_number(row + w[0], w[1]);
    entry.generation = last > UINT32_MAX ? UINT32_MAX : (uint32_t)last;
    return entry;
}

static bool section_lookup(const pdf_section *section, uint32_t num, pdf_entry *entry, size_t *work) {
    *work += 1 + section->count;
    for (uint32_t i = 0; i < section->count; i++) {
        const pdf_subsection *rows = &section->subsections[i];
        if (num - rows->first >= rows->count) continue;  /* unsigned, so a number below first is large here */
        *entry = row_entry(rows, num - rows->first);
        return true;
    }
    return false;
}

/* Units of work for a search among found objects: about twenty steps, each to a place that is not in the cache. */
enum { SEARCH_WORK = 256 };

static pdf_entry found_lookup(pdf_document *doc, uint32_t num) {
    size_t low = 0, high = doc->found_count;
    doc->work += SEARCH_WORK;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (doc->found[middle].num < num)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == doc->found_count || doc->found[low].num != num) return (pdf_entry){.type = PDF_ENTRY_MISSING};
    const pdf_found *found = &doc->found[low];
    return (pdf_entry){.type = found->compressed ? PDF_ENTRY_COMPRESSED : PDF_ENTRY_PLAIN, .location = found->location, .generation = found->generation};
}

pdf_entry pdf_lookup(pdf_document *doc, uint32_t num) {
    pdf_entry entry = {.type = PDF_ENTRY_MISSING};
    if (doc->rebuilt) return found_lookup(doc, num);
    for (uint32_t i = 0; i < doc->section_count; i++) {
        const pdf_section *section = &doc->sections[i];
        bool found = section_lookup(section, num, &entry, &doc->work);
        /* 7.5.8.4: the table of a hybrid file lists hidden objects as free. */
        if (section->hidden && (!found || entry.type == PDF_ENTRY_FREE)) found = section_lookup(section->hidden, num, &entry, &doc->work) || found;
        if (found) return entry;
    }
    return entry;
}
