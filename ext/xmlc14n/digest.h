/* SHA-256 of the canonical forms of many documents.
 *
 * Canonical forms are laid one behind another into a buffer that is used again and again, and go through the lanes of
 * mbsha256 together when it is full. One that the buffer cannot hold goes piece by piece through a stream. A job with a
 * sink hands its canonical form to that instead. */
#ifndef BATCHSEAL_XMLC14N_DIGEST_H
#define BATCHSEAL_XMLC14N_DIGEST_H

#include "mbsha256/mbsha256.h"
#include "xmlc14n/xmlc14n.h"

typedef struct {
    xmlc14n_text document;
    xmlc14n_options options;
    /* Takes a piece of the canonical form; false if it cannot. NULL: the digest is computed here. */
    bool (*sink)(void *context, const uint8_t *bytes, size_t n);
    void *context;
    uint8_t digest[MBSHA256_DIGEST_BYTES]; /* out, without a sink */
    xmlc14n_result result;                 /* out */
} xmlc14n_job;

/* Bytes of the buffer: the canonical forms of sixteen invoices of 200 KB, one for each lane. It is allocated at the first
 * call, uses memory as far as it was ever filled, and is freed with the canonicaliser. */
enum { XMLC14N_BUFFER_BYTES = 8 << 20 };

/* Does the first jobs, as many as the results of which together stay small, and returns their number, at least one. If
 * memory runs out, the results say so. */
size_t xmlc14n_digest_many(xmlc14n *c, const mbsha256_engine *engine, xmlc14n_job *jobs, size_t count);

#endif
