#include "jsonscan/internal.h"

#include <stdlib.h>
#include <string.h>

bool text_append(text *t, const void *bytes, size_t n) {
    if (n > t->capacity - t->used) {
        size_t capacity = t->capacity ? t->capacity : 1024;
        while (capacity - t->used < n) capacity *= 2; /* bounded by max_skeleton_bytes or a piece: no overflow */
        uint8_t *data = realloc(t->data, capacity);
        if (!data) return false;
        t->data = data;
        t->capacity = capacity;
    }
    if (n) memcpy(t->data + t->used, bytes, n);
    t->used += n;
    return true;
}

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
