/* Writes the update's xref section and trailer (ISO 32000-2 7.5.4, 7.5.5, 7.5.8). */
#include <stdlib.h>
#include <string.h>

#include "pdfscan/pdf_rows.h"
#include "pdfscan/pdf_writer.h"

enum { FREE_GENERATION = 65535, SPARSE_FACTOR = 4, SPARSE_BASE = 1024 };

typedef struct {
    uint32_t num, generation; /* generation: or the index in the object stream */
    uint64_t location;
    uint8_t type;
} row;

static int by_number(const void *a, const void *b) {
    uint32_t x = ((const row *)a)->num, y = ((const row *)b)->num;
    return x < y ? -1 : x > y;
}

static void put_row(pdf_buffer *rows, row r) { pdf_put(rows, &r, sizeof r); }

/* After a repair this is the only section, so it lists every object in one run from object 0, and numbers that are not
 * used as free. If most numbers are not used, it leaves them out. */
static void put_rebuilt_rows(const pdf_writer *w, pdf_buffer *rows) {
    const pdf_subsection *all = &w->doc->sections[0].subsections[0];
    uint32_t found = 0;
    for (uint32_t i = 0; i < all->count; i++) found += all->rows[PDF_OWN_ROW_BYTES * (size_t)i] != PDF_ENTRY_FREE;
    bool sparse = all->count > (uint64_t)found * SPARSE_FACTOR + SPARSE_BASE;
    put_row(rows, (row){.generation = FREE_GENERATION});
    for (uint32_t num = 1; num < all->count; num++) {
        /* There may be a million of these, so this comes before the lookup. */
        if (sparse && all->rows[PDF_OWN_ROW_BYTES * (size_t)num] == PDF_ENTRY_FREE) continue;
        bool rewritten = false;
        for (unsigned i = 0; i < w->written_count; i++) rewritten |= w->written[i].num == num;
        pdf_entry entry = rewritten ? (pdf_entry){.type = PDF_ENTRY_MISSING} : pdf_lookup(w->doc, num);
        bool used = entry.type == PDF_ENTRY_PLAIN || entry.type == PDF_ENTRY_COMPRESSED;
        if (used)
            put_row(rows, (row){num, entry.generation, entry.location, (uint8_t)entry.type});
        else if (!sparse && !rewritten)
            put_row(rows, (row){.num = num, .generation = FREE_GENERATION});
    }
}

static bool collect_rows(const pdf_writer *w, pdf_buffer *rows) {
    if (w->doc->rebuilt) put_rebuilt_rows(w, rows);
    for (unsigned i = 0; i < w->written_count; i++)
        put_row(rows, (row){w->written[i].num, w->written[i].gen, w->written[i].offset, PDF_ENTRY_PLAIN});
    if (rows->failed) return false;
    qsort(rows->bytes, rows->length / sizeof(row), sizeof(row), by_number);
    return true;
}

static size_t run_length(const row *rows, size_t n) {
    size_t length = 1;
    while (length < n && rows[length].num == rows[length - 1].num + 1) length++;
    return length;
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
    pdf_puts(w->out, "\n/ID ");
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

static bool belongs_to_section(pdf_span key) {
    static const char *const KEYS[] = {"Type", "Size", "Index", "Prev", "W", "Length", "Filter", "DecodeParms", "XRefStm", "Encrypt", "F", "FFilter", "FDecodeParms", "DL", "ID"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (pdf_name_is(key, KEYS[i])) return true;
    return false;
}

/* 7.5.6: copies all entries of the previous trailer except those that describe its own section. */
static void put_trailer_entries(pdf_writer *w, const pdf_plan_request *request) {
    const pdf_document *doc = w->doc;
    static const char *const NEEDED[] = {"Root", "Info"};
    pdf_members members = pdf_open(doc->trailer);
    pdf_span key, value, other;
    pdf_puts(w->out, "/Size ");
    pdf_put_number(w->out, w->next_number, 1);
    if (!doc->rebuilt) {
        pdf_puts(w->out, "/Prev ");
        pdf_put_number(w->out, doc->sections[0].start, 1);
    }
    /* A trailer that the scan found may be malformed, so only /Root, /Info and /ID are taken from it. */
    while (!doc->rebuilt && pdf_next_pair(&members, &key, &value)) {
        if (belongs_to_section(key) || value.at == value.end) continue;
        pdf_puts(w->out, "\n");
        pdf_put(w->out, key.at, (size_t)(key.end - key.at));
        pdf_puts(w->out, " ");
        pdf_put(w->out, value.at, (size_t)(value.end - value.at));
    }
    for (unsigned i = 0; i < 2; i++) {
        if ((!doc->rebuilt && pdf_get(doc->trailer, NEEDED[i], &other)) || !pdf_trailer_get(doc, NEEDED[i], &value) || !pdf_well_formed(value)) continue;
        pdf_puts(w->out, i ? "\n/Info " : "\n/Root ");
        pdf_put(w->out, value.at, (size_t)(value.end - value.at));
    }
    if (pdf_trailer_get(doc, "ID", &value) && value.at < value.end && pdf_well_formed(value)) put_file_id(w, request, value);
}

static void put_table(pdf_writer *w, const pdf_plan_request *request, const row *rows, size_t n) {
    pdf_puts(w->out, "xref\n");
    for (size_t run; n; rows += run, n -= run) {
        run = run_length(rows, n);
        pdf_put_number(w->out, rows->num, 1);
        pdf_puts(w->out, " ");
        pdf_put_number(w->out, run, 1);
        pdf_puts(w->out, "\n");
        for (size_t i = 0; i < run; i++) {
            pdf_put_number(w->out, rows[i].location, 10);
            pdf_puts(w->out, " ");
            pdf_put_number(w->out, rows[i].generation, 5);
            pdf_puts(w->out, rows[i].type == PDF_ENTRY_FREE ? " f \n" : " n \n");
        }
    }
    pdf_puts(w->out, "trailer\n<<");
    put_trailer_entries(w, request);
    pdf_puts(w->out, ">>\n");
}

static void put_stream(pdf_writer *w, const pdf_plan_request *request, const row *rows, size_t n) {
    uint64_t largest = 0, last = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].location > largest) largest = rows[i].location;
        if (rows[i].generation > last) last = rows[i].generation;
    }
    unsigned middle = bytes_for(largest), end = bytes_for(last);
    pdf_put_number(w->out, w->next_number - 1, 1);
    pdf_puts(w->out, " 0 obj\n<</Type/XRef/W[1 ");
    pdf_put_number(w->out, middle, 1);
    pdf_puts(w->out, " ");
    pdf_put_number(w->out, end, 1);
    pdf_puts(w->out, "]/Index[");
    for (size_t i = 0, run; i < n; i += run) {
        run = run_length(rows + i, n - i);
        if (i) pdf_puts(w->out, " ");
        pdf_put_number(w->out, rows[i].num, 1);
        pdf_puts(w->out, " ");
        pdf_put_number(w->out, run, 1);
    }
    pdf_puts(w->out, "]/Length ");
    pdf_put_number(w->out, n * (1 + middle + end), 1);
    put_trailer_entries(w, request);
    pdf_puts(w->out, ">>\nstream\n");
    for (size_t i = 0; i < n; i++) {
        pdf_put(w->out, &rows[i].type, 1);
        put_big_endian(w->out, rows[i].location, middle);
        put_big_endian(w->out, rows[i].generation, end);
    }
    pdf_puts(w->out, "\nendstream\nendobj\n");
}

pdf_refusal pdf_write_xref(pdf_writer *w, const pdf_plan_request *request) {
    pdf_buffer rows = {.arena = w->doc->arena};
    bool is_stream = w->doc->sections[0].is_stream;
    uint64_t start = pdf_position(w);
    if (is_stream) w->written[w->written_count++] = (pdf_written){(uint32_t)w->next_number++, 0, start};
    if (!collect_rows(w, &rows)) return PDF_REFUSE_MEMORY;
    const row *sorted = (const row *)(const void *)rows.bytes;
    size_t n = rows.length / sizeof *sorted;
    /* Two parts of the document may claim to be the same object, and the update would write both. */
    for (size_t i = 1; i < n; i++)
        if (sorted[i].num == sorted[i - 1].num) return PDF_REFUSE_BROKEN_OBJECT;
    if (is_stream)
        put_stream(w, request, sorted, n);
    else
        put_table(w, request, sorted, n);
    pdf_puts(w->out, "startxref\n");
    pdf_put_number(w->out, start, 1);
    pdf_puts(w->out, "\n%%EOF\n");
    return PDF_OK;
}
