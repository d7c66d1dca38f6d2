/* Writes the update's xref section and trailer (ISO 32000-2 7.5.4, 7.5.5, 7.5.8). */
#include "pdfscan/pdf_rows.h"
#include "pdfscan/pdf_writer.h"

enum { FREE_GENERATION = 65535, SPARSE_FACTOR = 4, SPARSE_BASE = 1024, ROW_WORK = 16 };

typedef struct {
    uint32_t num, generation; /* generation: or the index in the object stream */
    uint64_t location;
    uint8_t type;
} row;

/* Gives the rows of the section, sorted by number. After a repair this is the only section, so it lists every object in
 * one run from object 0, and numbers that are not used as free. If most numbers are not used, it leaves them out. The
 * rows are made one by one, since there may be a million. */
typedef struct {
    const pdf_writer *writer;
    uint64_t num;    /* the next number, unless only written objects are listed */
    size_t found;    /* index of the next object in doc->found */
    unsigned written; /* index of the next object in writer->written */
    bool lists_free;
} row_source;

static row_source first_row(const pdf_writer *w) {
    const pdf_document *doc = w->doc;
    return (row_source){.writer = w, .lists_free = doc->rebuilt && doc->size <= doc->found_count * SPARSE_FACTOR + SPARSE_BASE};
}

/* About how many rows there are. */
static size_t expected_rows(const row_source *source) {
    const pdf_document *doc = source->writer->doc;
    return (source->lists_free ? (size_t)doc->size : doc->found_count) + source->writer->written_count;
}

static bool next_row(row_source *source, row *out) {
    const pdf_writer *w = source->writer;
    const pdf_document *doc = w->doc;
    uint64_t none = UINT64_MAX, found = source->found < doc->found_count ? doc->found[source->found].num : none;
    uint64_t written = source->written < w->written_count ? w->written[source->written].num : none;
    uint64_t num = found < written ? found : written;
    if (doc->rebuilt && source->num < num && source->num < doc->size && (source->num == 0 || source->lists_free)) {
        *out = (row){.num = (uint32_t)source->num++, .generation = FREE_GENERATION};
        return true;
    }
    if (num == none) return false;
    source->num = num + 1;
    if (found == num) {
        const pdf_found *object = &doc->found[source->found++];
        *out = (row){object->num, object->generation, object->location, object->compressed ? PDF_ENTRY_COMPRESSED : PDF_ENTRY_PLAIN};
    }
    if (written == num) {
        const pdf_written *object = &w->written[source->written++];
        *out = (row){object->num, object->gen, object->offset, PDF_ENTRY_PLAIN};
    }
    return true;
}

/* The number of rows from this one on whose numbers follow each other. */
static uint64_t run_length(row_source source) {
    row each;
    uint64_t n = 0, previous = 0;
    for (; next_row(&source, &each) && (!n || each.num == previous + 1); n++) previous = each.num;
    return n;
}

static void put_big_endian(pdf_buffer *out, uint64_t value, unsigned bytes) {
    uint8_t encoded[8];
    for (unsigned i = 0; i < bytes; i++) encoded[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    pdf_put(out, encoded, bytes);
}

static unsigned bytes_for(uint64_t value) {
    unsigned n = 1;
    while (value >>= 8) n++;
    return n;
}

static uint64_t mix(uint64_t state, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) state = (state ^ bytes[i]) * 0x9e3779b97f4a7c15u, state ^= state >> 29;
    return state;
}

/* 14.4: the first element is kept, the second is new with each update. It only identifies a version, so mix() need not
 * be secure. */
static void put_file_id(pdf_writer *w, const pdf_plan_request *request, pdf_span id) {
    pdf_members members = pdf_open(id);
    pdf_span first, second, third;
    bool usual = pdf_kind_of(id) == PDF_ARRAY && pdf_next(&members, &first) && pdf_next(&members, &second) && !pdf_next(&members, &third);
    if (!usual || pdf_kind_of(first) != PDF_STRING || pdf_kind_of(second) != PDF_STRING) {
        pdf_put(w->out, id.at, (size_t)(id.end - id.at));
        return;
    }
    pdf_puts(w->out, "[");
    pdf_put(w->out, first.at, (size_t)(first.end - first.at));
    pdf_puts(w->out, "<");
    uint64_t state = mix(w->out_offset, second.at, (size_t)(second.end - second.at));
    state = mix(state, request->time.utf8, request->time.bytes);
    for (unsigned i = 0; i < 32; i++) {
        uint8_t step = (uint8_t)i;
        state = mix(state, &step, 1);
        pdf_put(w->out, &"0123456789ABCDEF"[state >> 60], 1);
    }
    pdf_puts(w->out, ">]");
}

/* Entries that are not copied: those that put_trailer_entries() writes by itself, then those that describe a section. */
enum { ROOT, INFO, ID, ENCRYPT, OWN_KEYS };
static const char *const NOT_COPIED[] = {"Root", "Info", "ID", "Encrypt", "Type", "Size", "Index", "Prev", "W", "Length", "Filter", "DecodeParms", "XRefStm", "F", "FFilter", "FDecodeParms", "DL"};
enum { NOT_COPIED_KEYS = sizeof NOT_COPIED / sizeof *NOT_COPIED };

static unsigned place_of(pdf_span key) {
    unsigned i = 0;
    while (i < NOT_COPIED_KEYS && !pdf_name_is(key, NOT_COPIED[i])) i++;
    return i;
}

/* 7.5.6: copies all entries of the previous trailer except those that describe its own section. */
static void put_trailer_entries(pdf_writer *w, const pdf_plan_request *request) {
    static const char *const WRITTEN[OWN_KEYS] = {"\n/Root ", "\n/Info ", "\n/ID ", "\n/Encrypt "};
    const pdf_document *doc = w->doc;
    pdf_members members = pdf_open(doc->trailer);
    pdf_span key, value, own[OWN_KEYS] = {{NULL, NULL}, {NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    pdf_puts(w->out, "/Size ");
    pdf_put_number(w->out, w->next_number, 1);
    if (!doc->rebuilt) {
        pdf_puts(w->out, "/Prev ");
        pdf_put_number(w->out, doc->sections[0].start, 1);
    }
    /* A trailer that the scan found may be malformed, so only these few entries are taken from it. */
    while (!doc->rebuilt && pdf_next_pair(&members, &key, &value)) {
        unsigned place = place_of(key);
        if (place < OWN_KEYS) own[place] = value;
        if (place < NOT_COPIED_KEYS || value.at == value.end) continue;
        pdf_puts(w->out, "\n");
        pdf_put(w->out, key.at, (size_t)(key.end - key.at));
        pdf_puts(w->out, " ");
        pdf_put(w->out, value.at, (size_t)(value.end - value.at));
    }
    for (unsigned i = 0; i < OWN_KEYS; i++) {
        if (!own[i].at && !pdf_trailer_get(doc, NOT_COPIED[i], &own[i])) continue;
        if (own[i].at == own[i].end || !pdf_well_formed(own[i]) || (i == ENCRYPT && !doc->crypt)) continue;
        pdf_puts(w->out, WRITTEN[i]);
        if (i == ID)
            put_file_id(w, request, own[i]);
        else
            pdf_put(w->out, own[i].at, (size_t)(own[i].end - own[i].at));
    }
}

static void put_table(pdf_writer *w, const pdf_plan_request *request, row_source rows) {
    row each;
    pdf_reserve(w->out, expected_rows(&rows) * PDF_TEXT_ROW_BYTES);
    pdf_puts(w->out, "xref\n");
    for (uint64_t run; (run = run_length(rows));) {
        bool starts = true;
        for (; run && next_row(&rows, &each); run--, starts = false) {
            if (starts) {
                pdf_put_number(w->out, each.num, 1);
                pdf_puts(w->out, " ");
                pdf_put_number(w->out, run, 1);
                pdf_puts(w->out, "\n");
            }
            pdf_put_number(w->out, each.location, 10);
            pdf_puts(w->out, " ");
            pdf_put_number(w->out, each.generation, 5);
            pdf_puts(w->out, each.type == PDF_ENTRY_FREE ? " f \n" : " n \n");
        }
    }
    pdf_puts(w->out, "trailer\n<<");
    put_trailer_entries(w, request);
    pdf_puts(w->out, ">>\n");
}

static void put_index(pdf_writer *w, row_source rows) {
    row each;
    pdf_puts(w->out, "]/Index[");
    for (uint64_t run, starts = 0; (run = run_length(rows)); starts = 1) {
        for (uint64_t i = 0; i < run && next_row(&rows, &each); i++)
            if (i == 0) {
                if (starts) pdf_puts(w->out, " ");
                pdf_put_number(w->out, each.num, 1);
                pdf_puts(w->out, " ");
                pdf_put_number(w->out, run, 1);
            }
    }
}

static void put_stream(pdf_writer *w, const pdf_plan_request *request, row_source rows) {
    uint64_t largest = 0, last = 0, n = 0;
    row each;
    for (row_source all = rows; next_row(&all, &each); n++) {
        if (each.location > largest) largest = each.location;
        if (each.generation > last) last = each.generation;
    }
    unsigned middle = bytes_for(largest), end = bytes_for(last);
    pdf_put_number(w->out, w->next_number - 1, 1);
    pdf_puts(w->out, " 0 obj\n<</Type/XRef/W[1 ");
    pdf_put_number(w->out, middle, 1);
    pdf_puts(w->out, " ");
    pdf_put_number(w->out, end, 1);
    put_index(w, rows);
    pdf_puts(w->out, "]/Length ");
    pdf_put_number(w->out, n * (1 + middle + end), 1);
    put_trailer_entries(w, request);
    pdf_puts(w->out, ">>\nstream\n");
    pdf_reserve(w->out, n * (1 + middle + end) + 64);
    while (next_row(&rows, &each)) {
        pdf_put(w->out, &each.type, 1);
        put_big_endian(w->out, each.location, middle);
        put_big_endian(w->out, each.generation, end);
    }
    pdf_puts(w->out, "\nendstream\nendobj\n");
}

/* Sorts the written objects by number. Returns false if two of them are the same. */
static bool sort_written(pdf_writer *w) {
    for (unsigned i = 1; i < w->written_count; i++)
        for (unsigned j = i; j && w->written[j].num <= w->written[j - 1].num; j--) {
            if (w->written[j].num == w->written[j - 1].num) return false;
            pdf_written swapped = w->written[j];
            w->written[j] = w->written[j - 1];
            w->written[j - 1] = swapped;
        }
    return true;
}

pdf_refusal pdf_write_xref(pdf_writer *w, const pdf_plan_request *request) {
    bool is_stream = w->doc->sections[0].is_stream;
    uint64_t start = pdf_position(w);
    if (is_stream) w->written[w->written_count++] = (pdf_written){(uint32_t)w->next_number++, 0, start};
    /* Two parts of the document may claim to be the same object, and the update would write both. */
    if (!sort_written(w)) return PDF_REFUSE_BROKEN_OBJECT;
    if (!pdf_spend(w->doc, w->doc->found_count * ROW_WORK)) return PDF_REFUSE_OBJECTS;
    if (is_stream)
        put_stream(w, request, first_row(w));
    else
        put_table(w, request, first_row(w));
    pdf_puts(w->out, "startxref\n");
    pdf_put_number(w->out, start, 1);
    pdf_puts(w->out, "\n%%EOF\n");
    return PDF_OK;
}
