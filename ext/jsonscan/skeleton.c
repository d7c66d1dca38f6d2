/* The skeletons: the text of the body without the white space between tokens and without the documents' contents. */
#include "jsonscan/internal.h"

#include <string.h>

static size_t room(const jsonscan *s) {
    size_t used = s->in_document ? s->document_text.used - s->document_start : s->request_text.used;
    return s->limits.max_skeleton_bytes - used;
}

static bool append(jsonscan *s, const void *bytes, size_t n, uint64_t offset) {
    if (text_append(s->in_document ? &s->document_text : &s->request_text, bytes, n)) return true;
    scan_fail(s, JSONSCAN_MEMORY, offset, "no memory for the text");
    return false;
}

static void fail_limit(jsonscan *s, uint64_t offset) {
    scan_fail(s, JSONSCAN_LIMIT_TEXT, offset,
              s->in_document ? "the document's attributes are larger than the limit"
                             : "the request's attributes are larger than the limit");
}

bool scan_emit(jsonscan *s, const uint8_t *p, size_t n) {
    size_t left = room(s);
    if (n <= left) return append(s, p, n, scan_offset(s, p));
    fail_limit(s, scan_offset(s, p) + left);
    return false;
}

bool scan_emit_instead(jsonscan *s, const char *words, const uint8_t *p) {
    size_t n = strlen(words);
    if (n <= room(s)) return append(s, words, n, scan_offset(s, p));
    fail_limit(s, scan_offset(s, p));
    return false;
}
