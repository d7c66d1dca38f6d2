/* What the files of the scanner share: the scanner's state, and the functions that each file offers to the others.
 *
 * A file calls only files that stand below it, so that each can be read and tested without those above:
 *
 *   jsonscan.c  creates, empties and frees a scanner
 *   scan.c      reads tokens and structure; calls strings.c and content.c for what stands between quotes
 *   strings.c   reads strings, escapes and UTF-8
 *   content.c   decodes base64 content
 *   skeleton.c  collects the skeletons' text
 *   failure.c   records why a body is refused, and where
 *   keys.c      keeps the keys of the open objects and finds duplicates
 *   text.c      lets a text grow
 *
 * A function that reads takes the position p and returns the position behind the bytes it has read. If it refuses the
 * body, it sets s->failure and returns the end of the piece, which ends the scan. */
#ifndef BATCHSEAL_JSONSCAN_INTERNAL_H
#define BATCHSEAL_JSONSCAN_INTERNAL_H

#include <string.h>

#include "base64/base64.h"
#include "jsonscan/jsonscan.h"
#include "jsonscan/kernel.h"

/* What the scanner expects next, or is in the middle of. A piece of the body can end in any state. */
typedef enum {
    STATE_START, /* before the byte order mark or the first token */
    STATE_BOM_2, /* the second byte of the byte order mark comes next */
    STATE_BOM_3, /* the third byte of the byte order mark comes next */
    STATE_VALUE,
    STATE_VALUE_OR_END, /* after '[' */
    STATE_KEY,
    STATE_KEY_OR_END, /* after '{' */
    STATE_COLON,
    STATE_AFTER_VALUE,
    STATE_NUMBER,
    STATE_LITERAL,
    STATE_STRING,
    STATE_CONTENT,
    STATE_UTF8,          /* in a character of several bytes */
    STATE_ESCAPE,        /* after '\' */
    STATE_HEX,           /* in the digits of \u */
    STATE_LOW_BACKSLASH, /* after a high surrogate: the '\' of the low one comes next */
    STATE_LOW_U,         /* after that '\': 'u' comes next */
    STATE_DONE,
} scan_state;

/* The part that a value plays in a SignRequest. Its place in the body decides this. */
typedef enum {
    ROLE_REQUEST_BODY,
    ROLE_DOCUMENTS,
    ROLE_DOCUMENT,
    ROLE_DOCUMENT_REQUEST,
    ROLE_CONTENT,
    ROLE_OTHER
} scan_role;

/* Where the characters of the current string go. */
typedef enum { SINK_TEXT, SINK_KEY, SINK_CONTENT } string_sink;

typedef struct {
    uint8_t *data;
    size_t used, capacity;
} text;

/* One open object or array. */
typedef struct {
    scan_role role;
    bool is_array;
    bool in_child;  /* a value inside is being read, so the path continues with the current key or element */
    uint64_t count; /* array: number of elements that have begun */
    size_t keys;    /* object: position of its first key in the keys arena */
    size_t key;     /* object: position of the current key */
    uint32_t key_count;
    uint32_t *table; /* object with many keys: open-addressing table of arena positions + 1; 0 is a free slot */
    uint32_t table_mask;
} frame;

struct jsonscan {
    jsonscan_limits limits;
    const jsonscan_kernel *kernel;
    const base64_kernel *base64;
    uint64_t seed[2];

    scan_state state;
    const uint8_t *piece, *piece_end;
    uint64_t piece_offset; /* offset of the piece in the body */

    frame *frames;
    uint32_t depth;
    text keys;       /* arena that holds the keys of the open objects */
    size_t open_key; /* position in the arena of the key that is being read */

    string_sink sink;
    uint64_t string_offset, escape_offset;
    uint8_t hex_left; /* hexadecimal digits that are still to come */
    uint8_t utf8_left, utf8_low, utf8_high; /* continuation bytes still to come, and the bounds of the next one */
    uint32_t code, high_surrogate;

    uint8_t number_state;
    const char *literal; /* the rest of "true", "false" or "null" that must follow */

    base64_decoder decoder;
    docbuffer *content;
    uint64_t content_taken; /* how many decoded bytes of this document were taken before it ended */
    size_t content_guess; /* first capacity of the next document's buffer, estimated from the last document */

    bool in_document;
    uint64_t documents_begun;
    text request_text;
    text document_text; /* skeletons of the finished documents, then of the one being read */
    size_t document_start;
    jsonscan_document *finished;
    size_t finished_count, finished_capacity;

    jsonscan_failure failure;
    text place, message;
};

static inline uint64_t scan_offset(const jsonscan *s, const uint8_t *p) {
    return s->piece_offset + (uint64_t)(p - s->piece);
}
static inline frame *scan_top(jsonscan *s) { return s->depth ? &s->frames[s->depth - 1] : NULL; }

/* A value inside an object or array has ended. */
static inline void scan_value_done(jsonscan *s) {
    scan_top(s)->in_child = false;
    s->state = STATE_AFTER_VALUE;
}

/* text.c */
bool text_grow(text *t, size_t more); /* makes room for `more` bytes; false if memory runs out */

/* Returns false if memory runs out. The common case, where the bytes fit, needs no call. */
static inline bool text_append(text *t, const void *bytes, size_t n) {
    if (n > t->capacity - t->used && !text_grow(t, n)) return false;
    if (n) memcpy(t->data + t->used, bytes, n);
    t->used += n;
    return true;
}

/* keys.c */
typedef enum { KEYS_ADDED, KEYS_DUPLICATE, KEYS_NO_MEMORY } keys_status;

bool keys_begin(jsonscan *s);                               /* starts a new key; false if memory runs out */
bool keys_add(jsonscan *s, const uint8_t *bytes, size_t n); /* adds unescaped bytes; false if memory runs out */
keys_status keys_end(jsonscan *s);                          /* makes the new key the current key of its object */
const uint8_t *keys_open(const jsonscan *s, size_t *n);     /* the key that keys_end() has just judged */
const uint8_t *keys_current(const jsonscan *s, const frame *f, size_t *n);
bool keys_current_is(const jsonscan *s, const frame *f, const char *name);
void keys_close(jsonscan *s, frame *f); /* removes the keys of an object that ends */

/* failure.c: both record the first failure only, and return the end of the piece. */
const uint8_t *scan_fail(jsonscan *s, jsonscan_kind kind, uint64_t offset, const char *what);
const uint8_t *scan_fail_key(jsonscan *s); /* the key that was read last is a duplicate */

/* skeleton.c: both return false if they refuse the body. */
bool scan_emit(jsonscan *s, const uint8_t *p, size_t n); /* adds bytes of the body to the skeleton */
bool scan_emit_instead(jsonscan *s, const char *words, const uint8_t *p); /* adds other text in place of what is at p */

/* content.c */
const uint8_t *content_begin(jsonscan *s, const uint8_t *p);
const uint8_t *scan_content(jsonscan *s, const uint8_t *p);
bool content_add_escaped(jsonscan *s, uint32_t code); /* false if it refuses the body */

/* strings.c */
const uint8_t *scan_string(jsonscan *s, const uint8_t *p);
const uint8_t *scan_utf8(jsonscan *s, const uint8_t *p);
const uint8_t *scan_escape(jsonscan *s, const uint8_t *p); /* reads in all states from STATE_ESCAPE to STATE_LOW_U */

#endif
