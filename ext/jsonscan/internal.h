/* What the files of the scanner share: its state, and the one verb each file offers.
 *
 *   scan.c     tokens and structure; drives the rest     strings.c  strings, escapes, UTF-8
 *   content.c  base64 content                            keys.c     keys of open objects, duplicates
 *   failure.c  refusals and their places                 text.c     skeletons
 *
 * Functions that read take the position p and return the position after what they took; on a refusal they return the
 * end of the piece, and s->failure is set. */
#ifndef BATCHSEAL_JSONSCAN_INTERNAL_H
#define BATCHSEAL_JSONSCAN_INTERNAL_H

#include "base64/base64.h"
#include "jsonscan/jsonscan.h"
#include "jsonscan/kernel.h"

typedef enum {
    STATE_START, /* before the byte order mark or the first token */
    STATE_BOM_2, /* within the byte order mark */
    STATE_BOM_3,
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
    STATE_UTF8,          /* within a character of several bytes */
    STATE_ESCAPE,        /* after '\' */
    STATE_HEX,           /* within the digits of \u */
    STATE_LOW_BACKSLASH, /* after a high surrogate */
    STATE_LOW_U,
    STATE_DONE,
} scan_state;

/* What a value is to the contract, told by where it stands. */
typedef enum {
    ROLE_REQUEST_BODY,
    ROLE_DOCUMENTS,
    ROLE_DOCUMENT,
    ROLE_DOCUMENT_REQUEST,
    ROLE_CONTENT,
    ROLE_OTHER
} scan_role;

typedef enum { SINK_TEXT, SINK_KEY, SINK_CONTENT } string_sink;

typedef struct {
    uint8_t *data;
    size_t used, capacity;
} text;

typedef struct {
    scan_role role;
    bool is_array;
    bool in_child;  /* the path leads on into the current key or element */
    uint64_t count; /* array: elements begun */
    size_t keys;    /* object: where its keys begin in the arena */
    size_t key;     /* object: the current key */
    uint32_t key_count;
    uint32_t *table; /* object with many keys: arena positions + 1, open addressing */
    uint32_t table_mask;
} frame;

struct jsonscan {
    jsonscan_limits limits;
    const jsonscan_kernel *kernel;
    const base64_kernel *base64;
    uint64_t seed[2];

    scan_state state;
    const uint8_t *piece, *piece_end;
    uint64_t piece_offset; /* of the piece, in the body */

    frame *frames;
    uint32_t depth;
    text keys;       /* arena of the open objects' keys */
    size_t open_key; /* where the key being read lies in it */

    string_sink sink;
    uint64_t string_offset, escape_offset;
    uint8_t hex_left, utf8_left, utf8_low, utf8_high; /* bounds of the next continuation byte */
    uint32_t code, high_surrogate;

    uint8_t number_state;
    const char *literal; /* what is still to come of it */

    base64_decoder decoder;
    docbuffer *content;
    size_t content_guess; /* capacity for the next document, from the last one's size */

    bool in_document;
    uint64_t documents_begun;
    text request_text, document_text; /* the latter: finished documents, then the open one */
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

/* text.c */
bool text_append(text *t, const void *bytes, size_t n);  /* false without memory */
bool scan_emit(jsonscan *s, const uint8_t *p, size_t n); /* adds body text to the skeleton; false after a refusal */
bool scan_emit_instead(jsonscan *s, const char *words, const uint8_t *p); /* adds other text, for what stands at p */

/* failure.c */
const uint8_t *scan_fail(jsonscan *s, jsonscan_kind kind, uint64_t offset, const char *what);
const uint8_t *scan_fail_key(jsonscan *s, uint64_t offset, const uint8_t *key, size_t n);

/* keys.c */
bool keys_begin(jsonscan *s);                               /* a key is about to be read */
bool keys_add(jsonscan *s, const uint8_t *bytes, size_t n); /* more of it, unescaped */
bool keys_end(jsonscan *s);                                 /* becomes the current key; false after a refusal */
const uint8_t *keys_current(const jsonscan *s, const frame *f, size_t *n);
bool keys_current_is(const jsonscan *s, const frame *f, const char *name);
void keys_close(jsonscan *s, frame *f); /* forgets the keys of an object */

/* strings.c */
const uint8_t *scan_string(jsonscan *s, const uint8_t *p);
const uint8_t *scan_utf8(jsonscan *s, const uint8_t *p);
const uint8_t *scan_escape(jsonscan *s, const uint8_t *p); /* all states from STATE_ESCAPE to STATE_LOW_U */

/* content.c */
const uint8_t *content_begin(jsonscan *s, const uint8_t *p);
const uint8_t *scan_content(jsonscan *s, const uint8_t *p);
bool content_add_escaped(jsonscan *s, uint32_t code); /* false after a refusal */

/* scan.c */
void scan_value_done(jsonscan *s);

#endif
