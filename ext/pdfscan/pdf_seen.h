/* The nodes of a tree that a walk has seen, so that it ends even where the tree is none. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_SEEN_H
#define BATCHSEAL_PDF_SEEN_H

#include "pdfscan/pdf_arena.h"

typedef struct {
    uint8_t *bits;
    uint64_t count;
} pdf_seen;

/* Makes an empty set of numbers below `count`. Returns false if memory runs out. */
bool pdf_start_seen(pdf_seen *seen, pdf_arena *arena, uint64_t count);

/* Adds a number, and tells whether it was not there. A number that is not below `count` is never there. */
bool pdf_is_first_time(pdf_seen *seen, uint64_t number);

#endif
