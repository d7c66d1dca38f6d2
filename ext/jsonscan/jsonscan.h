/* Scans the JSON body of a SignRequest (RFC 8259). The caller feeds it the body in pieces of any length.
 *
 * The scanner checks the grammar, UTF-8, escapes (it refuses half of a surrogate pair), duplicate keys at every level,
 * and the depth. It decodes the value of documents[i].documentRequest.base64Content directly into a document buffer. It
 * keeps all other text, without the white space between tokens, as skeletons: one for each document and one for the
 * request. In a document's skeleton `true` replaces the content. In the request's skeleton the number of documents
 * replaces the array of documents.
 *
 *   jsonscan_new -> jsonscan_feed* (after each: jsonscan_documents, jsonscan_clear) -> jsonscan_finish -> jsonscan_free
 *
 * The scanner holds the document that it is reading, those that were finished since the last clear, and the request's
 * skeleton. The result depends only on the bytes, not on how they are cut into pieces or which kernel runs. The scanner
 * does no I/O. Only one thread at a time may use it. */
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
    uint64_t max_depth; /* how deep objects and arrays may be nested; the outermost has depth 1 */
    uint64_t max_documents;
    uint64_t max_document_bytes; /* of one document, decoded */
    uint64_t max_skeleton_bytes; /* of one document's skeleton, and of the request's */
} jsonscan_limits;

typedef struct {
    jsonscan_kind kind;
    /* Where it failed, such as documents[3].documentRequest; "" for the top level. ASCII, freed with the scanner. */
    const char *place;
    /* For a person. From the body it quotes only keys, escaped and shortened. Freed with the scanner. */
    const char *message;
    uint64_t offset; /* in the body */
    int64_t ordinal; /* of the document, counted from 0; -1 if the failure is not in a document */
} jsonscan_failure;

typedef struct {
    uint64_t ordinal;
    size_t text_start, text_bytes; /* where its skeleton is in jsonscan_text() */
    docbuffer *content;            /* NULL if there is none; a caller that takes it sets this to NULL */
} jsonscan_document;

/* The kernel that an instruction set uses, and the name of a kernel. */
const jsonscan_kernel *jsonscan_kernel_for(const cpu_isa *isa);
const char *jsonscan_kernel_name(const jsonscan_kernel *kernel);

/* Returns NULL if memory runs out. The seed must be random, so that nobody can choose keys with equal fingerprints. */
jsonscan *jsonscan_new(const jsonscan_limits *limits, const cpu_isa *isa, const uint64_t seed[2]);
void jsonscan_free(jsonscan *s);

/* Returns false if the body is refused, now or before. The documents that were finished before can still be taken. */
bool jsonscan_feed(jsonscan *s, const uint8_t *bytes, size_t n);
/* Returns false if the body was refused or is not complete. */
bool jsonscan_finish(jsonscan *s);

/* The documents that were finished since the last clear, and the text that holds their skeletons. */
jsonscan_document *jsonscan_documents(jsonscan *s, size_t *n);
const uint8_t *jsonscan_text(const jsonscan *s);
void jsonscan_clear(jsonscan *s);

/* Takes what was decoded so far of the document that is arriving, if that is at least so many bytes (1 or more). The
 * document will have only what comes after it, which may be nothing; its limit counts what was taken. Else NULL. */
docbuffer *jsonscan_take_content(jsonscan *s, size_t least_bytes);

const jsonscan_failure *jsonscan_get_failure(const jsonscan *s);
const uint8_t *jsonscan_request(const jsonscan *s, size_t *n); /* its skeleton, complete after jsonscan_finish() */
uint64_t jsonscan_documents_seen(const jsonscan *s);           /* that have begun; one over the limit does not count */
uint64_t jsonscan_bytes_seen(const jsonscan *s);

#endif
