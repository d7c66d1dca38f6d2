/* Makes a new xref section for a file whose own is unusable. It scans the file for every "num gen obj"; if a number
 * occurs more than once, the last object counts. */
#include <string.h>

#include "pdfscan/pdf_document.h"

/* A few bytes with a high number must not make the document's numbers very high. Numbers above ALWAYS_LISTED are therefore
 * left out if they are more than SPREAD times the number of objects.
 *
 * An object in the file takes at least six bytes, but one in an object stream may take almost none. So there may be at
 * most one object for BYTES_PER_OBJECT bytes of the file beside FEW_OBJECTS, and at most MOST_FOUND in all. */
enum { ALWAYS_LISTED = 1 << 20, SPREAD = 8, BYTES_PER_OBJECT = 4, FEW_OBJECTS = 1 << 14, MOST_FOUND = 1 << 21, FOUND_WORK = 8 };

typedef struct {
    pdf_document *doc;
    pdf_buffer found; /* array of pdf_found, in the order of the file */
    size_t most;
    pdf_span trailer;
    pdf_found catalog; /* its location is 0 if no catalog was found */
    uint32_t highest;
    bool any_compressed, stream_trailer;
    bool any_encrypted; /* a trailer has /Encrypt */
} scan;

static pdf_refusal add(scan *s, pdf_found object) {
    if (object.num > PDF_MAX_OBJECT_NUMBER || object.num == 0) return PDF_OK;
    if (s->found.length / sizeof object >= s->most || !pdf_spend(s->doc, FOUND_WORK)) return PDF_REFUSE_OBJECTS;
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
    pdf_spend(s->doc, 2 * (size_t)(dict.end - dict.at));
    s->any_encrypted |= pdf_get(dict, "Encrypt", &value) && pdf_kind_of(value) != PDF_NULL;
    if (!pdf_get(dict, "Root", &value)) return;
    s->trailer = dict;
    s->stream_trailer = is_stream;
}

/* Adds the objects of an object stream. What was decoded of it is freed at once: a file may have thousands of them, and
 * few are needed. */
static pdf_refusal expand_objstm(scan *s, uint32_t num, pdf_span dict, pdf_span raw) {
    pdf_document *doc = s->doc;
    pdf_arena *kept = doc->arena, decoded = {0};
    if (kept->limit) decoded.limit = kept->limit > kept->held ? kept->limit - kept->held : 1;
    pdf_objstm stream = {.num = num};
    doc->arena = &decoded;
    pdf_refusal refusal = pdf_parse_objstm(doc, dict, raw, &stream);
    doc->arena = kept;
    kept->held += decoded.held;
    if (refusal == PDF_REFUSE_BROKEN_OBJECT || refusal == PDF_REFUSE_FILTER) {
        refusal = PDF_OK;
        stream.count = 0;
    }
    for (uint32_t i = 0; !refusal && i < stream.count; i++) {
        refusal = add(s, (pdf_found){.num = stream.pairs[2 * (size_t)i], .generation = i & 0x7fffffff, .location = num, .compressed = true});
        s->any_compressed = true;
    }
    kept->held -= decoded.held;
    kept->exceeded |= decoded.exceeded;
    pdf_arena_free(&decoded);
    return refusal;
}

static const char *const TYPE = "Type";

/* Adds the object whose header is at `header`. `*after` is behind its "obj"; moves it to where the scan continues. */
static pdf_refusal scan_object(scan *s, const uint8_t *header, const uint8_t **after) {
    pdf_document *doc = s->doc;
    uint64_t num, gen;
    pdf_span value, raw, type = {NULL, NULL};
    if (!pdf_skip_header(header, doc->file.end, &num, &gen) || num > PDF_MAX_OBJECT_NUMBER || gen > 65535) return PDF_OK;
    pdf_found object = {.num = (uint32_t)num, .generation = (uint32_t)gen & 0xffff, .location = (uint64_t)(header - doc->file.at)};
    pdf_refusal refusal = pdf_read_value(doc, *after, doc->file.end, &value);
    if (refusal == PDF_REFUSE_OBJECTS) return refusal;
    if (refusal) return add(s, object);
    *after = value.end;
    bool is_dict = pdf_kind_of(value) == PDF_DICT;
    if (is_dict && !pdf_get_entries(doc, value, &TYPE, &type, 1, NULL)) return PDF_REFUSE_OBJECTS;
    if (is_dict && pdf_name_is(type, "Catalog")) s->catalog = object;
    bool is_stream = is_dict && pdf_stream_bytes(doc, value, doc->file.end, &raw);
    if (is_stream) *after = raw.end;
    if (is_stream && pdf_name_is(type, "XRef")) {
        consider_trailer(s, value, true);
        return PDF_OK;
    }
    if ((refusal = add(s, object)) || !is_stream || !pdf_name_is(type, "ObjStm")) return refusal;
    return expand_objstm(s, object.num, value, raw);
}

/* pdf_find() up to the end of the file. Its bytes are faster than those that are lexed. */
static const uint8_t *search(scan *s, const uint8_t *at, const char *word) {
    const uint8_t *end = s->doc->file.end, *found = pdf_find(at, end, word);
    pdf_spend(s->doc, (size_t)((found ? found : end) - at) / 2);
    return found;
}

static pdf_refusal scan_file(scan *s) {
    const uint8_t *start = s->doc->file.at, *end = s->doc->file.end, *at = start;
    const uint8_t *trailer = search(s, at, "trailer"), *word = search(s, at, "obj");
    for (;;) {
        /* Each word is searched again only after the scan has passed it, so the file is read at most twice. */
        if (trailer && trailer < at) trailer = search(s, at, "trailer");
        if (word && word < at) word = search(s, at, "obj");
        if (!pdf_spend(s->doc, 0)) return PDF_REFUSE_OBJECTS;
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

/* Sorts by number. Objects with the same number stay in the order of the file, since the last of them counts. */
static bool sort_found(pdf_arena *arena, pdf_found *found, size_t n) {
    enum { DIGIT_BITS = 12, DIGITS = 1 << DIGIT_BITS, PASSES = 2 };
    pdf_found *other = pdf_alloc(arena, n * sizeof *found), *from = found, *to = other;
    if (!other) return false;
    for (unsigned shift = 0; shift < PASSES * DIGIT_BITS; shift += DIGIT_BITS) {
        uint32_t next[DIGITS + 1] = {0};
        for (size_t i = 0; i < n; i++) next[(from[i].num >> shift & (DIGITS - 1)) + 1]++;
        for (unsigned d = 0; d < DIGITS; d++) next[d + 1] += next[d];
        for (size_t i = 0; i < n; i++) to[next[from[i].num >> shift & (DIGITS - 1)]++] = from[i];
        pdf_found *swapped = from;
        from = to;
        to = swapped;
    }
    return true; /* after two passes the result is in `found` again */
}

/* Keeps the last object of each number, and none above `highest`. Returns how many are left. */
static size_t keep_last(pdf_found *found, size_t n, uint32_t highest) {
    size_t kept = 0;
    for (size_t i = 0; i < n && found[i].num <= highest; i++)
        if (i + 1 == n || found[i + 1].num != found[i].num) found[kept++] = found[i];
    return kept;
}

pdf_refusal pdf_rebuild_xref(pdf_document *doc) {
    scan s = {.doc = doc, .found = {.arena = doc->arena}};
    s.most = (size_t)(doc->file.end - doc->file.at) / BYTES_PER_OBJECT + FEW_OBJECTS;
    if (s.most > MOST_FOUND) s.most = MOST_FOUND;
    doc->sections = NULL;
    doc->section_count = 0;
    doc->objstms = NULL;
    doc->size = 0;
    pdf_refusal refusal = scan_file(&s);
    if (refusal) return refusal;
    if (!s.found.length) return PDF_REFUSE_BROKEN_XREF;
    if ((refusal = make_trailer(&s))) return refusal;
    /* Readers take different ones of several trailers. */
    pdf_span encryption;
    pdf_get(s.trailer, "Encrypt", &encryption);
    if (s.any_encrypted && pdf_kind_of(encryption) == PDF_NULL) return PDF_REFUSE_BROKEN_ENCRYPTION;
    pdf_trim(&s.found);
    pdf_found *found = (pdf_found *)(void *)s.found.bytes;
    size_t count = s.found.length / sizeof *found;
    size_t most = count * SPREAD > ALWAYS_LISTED ? count * SPREAD : ALWAYS_LISTED;
    if (s.highest > most) s.highest = (uint32_t)most;
    pdf_section *section = pdf_alloc_zeroed(doc->arena, sizeof *section);
    if (!section || !sort_found(doc->arena, found, count)) return PDF_REFUSE_MEMORY;
    *section = (pdf_section){.is_stream = s.any_compressed || s.stream_trailer, .trailer = s.trailer};
    doc->found = found;
    doc->found_count = keep_last(found, count, s.highest);
    doc->sections = section;
    doc->section_count = 1;
    doc->trailer = s.trailer;
    doc->size = (uint64_t)s.highest + 1;
    doc->rebuilt = true;
    return PDF_OK;
}
