/* A push scanner for the body of a SignRequest (RFC 8259), fed pieces of any length.
 *
 * It validates everything: grammar, UTF-8, escapes (a lone surrogate is refused), duplicate keys at every level, depth.
 * The value of documents[i].documentRequest.base64Content is decoded straight into a document buffer; all other text,
 * without the white space between tokens, is kept as a skeleton a document, and one for the request. In a skeleton
 * `true` stands for the content, and in the request's the number of documents for the documents.
 *
 *   jsonscan_new -> jsonscan_feed* (after each: jsonscan_documents, jsonscan_clear) -> jsonscan_finish -> jsonscan_free
 *
 * What is held: the document being read, those finished since the last clear, and the request's skeleton. Same outcome
 * for the same bytes, however they are cut and whichever kernel runs. No I/O; a scanner belongs to one thread at a
 * time. */
#ifndef BATCHSEAL_JSONSCAN_H
#define BATCHSEAL_JSONSCAN_H

#include <stdbool.h>

#include "cpu/cpu.h"
#include "jsonscan/docbuffer.h"

typedef struct jsonscan jsonscan;
typedef struct jsonscan_kernel jsonscan_kernel;

typedef enum {
    JSONSCAN_NO_FAILURE = 0,
    JSONSCAN_SYNTAX,
    JSONSCAN_DUPLICATE_KEY,
    JSONSCAN_WRONG_TYPE,
    JSONSCAN_BASE64,
    JSONSCAN_TRUNCATED,
    JSONSCAN_DEPTH,
    JSONSCAN_LIMIT_DOCUMENTS,
    JSONSCAN_LIMIT_DOCUMENT_BYTES,
    JSONSCAN_LIMIT_TEXT,
    JSONSCAN_UTF8,
    JSONSCAN_MEMORY,
} jsonscan_kind;

const char *jsonscan_kind_name(jsonscan_kind kind);

typedef struct {
    uint64_t max_depth; /* objects and arrays within each other, the outermost being 1 */
    uint64_t max_documents;
    uint64_t max_document_bytes; /* decoded */
    uint64_t max_skeleton_bytes; /* of a document, and of the request */
} jsonscan_limits;

typedef struct {
    jsonscan_kind kind;
    const char
        *place; /* path such as documents[3].documentRequest, "" for the top; ASCII; lives as long as the scanner */
    const char *message; /* for a person; of the body it quotes names of keys only, escaped and clipped */
    uint64_t offset;     /* in the body */
    int64_t ordinal;     /* of the document, from 0; -1 outside of one */
} jsonscan_failure;

typedef struct {
    uint64_t ordinal;
    size_t text_start, text_bytes; /* the skeleton, within jsonscan_text() */
    docbuffer *content;            /* NULL if the document has none; whoever takes it frees it and leaves NULL */
} jsonscan_document;

/* The kernel that an instruction set runs; its name. */
const jsonscan_kernel *jsonscan_kernel_for(const cpu_isa *isa);
const char *jsonscan_kernel_name(const jsonscan_kernel *kernel);

/* NULL without memory. The seed keeps a caller from choosing keys that collide. */
jsonscan *jsonscan_new(const jsonscan_limits *limits, const cpu_isa *isa, const uint64_t seed[2]);
void jsonscan_free(jsonscan *s);

/* False if the body was refused, now or before; documents finished until then can still be taken. */
bool jsonscan_feed(jsonscan *s, const uint8_t *bytes, size_t n);
/* False if the body was refused or is not complete. */
bool jsonscan_finish(jsonscan *s);

/* Documents finished since the last clear, and the text their skeletons are in. */
jsonscan_document *jsonscan_documents(jsonscan *s, size_t *n);
const uint8_t *jsonscan_text(const jsonscan *s);
void jsonscan_clear(jsonscan *s);

const jsonscan_failure *jsonscan_get_failure(const jsonscan *s);
const uint8_t *jsonscan_request(const jsonscan *s, size_t *n); /* the request's skeleton; complete after finish */
uint64_t jsonscan_documents_seen(const jsonscan *s);           /* begun, not counting one beyond the limit */
uint64_t jsonscan_bytes_seen(const jsonscan *s);

#endif
