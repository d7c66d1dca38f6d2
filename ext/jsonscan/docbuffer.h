/* Buffers for decoded documents, kept for reuse.
 *
 * A page that the kernel has just handed over costs more to touch first than to fill with decoded base64, so buffers go
 * round: freed ones wait in a bounded cache, by capacity (a power of two), the last freed first. Growing moves pages,
 * not bytes, where the system can. Thread-safe; a buffer itself belongs to one thread at a time. */
#ifndef BATCHSEAL_JSONSCAN_DOCBUFFER_H
#define BATCHSEAL_JSONSCAN_DOCBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct docbuffer {
    uint8_t *data;
    size_t used;
    size_t capacity;
    struct docbuffer *next; /* in the cache */
} docbuffer;

/* NULL when there is no memory. The capacity is at least what is asked for. */
docbuffer *docbuffer_new(size_t capacity);
/* Raises the capacity to at least what is asked for; the bytes in use stay. False, and the buffer unchanged, without
 * memory. */
bool docbuffer_grow(docbuffer *b, size_t capacity);
/* Exchanges a buffer that is less than a quarter full for a smaller one, so that small documents do not hold large
 * buffers. */
docbuffer *docbuffer_fit(docbuffer *b);
void docbuffer_free(docbuffer *b); /* NULL is allowed */

size_t docbuffer_live(void);            /* handed out and not freed */
size_t docbuffer_cached_bytes(void);    /* capacity waiting in the cache */
void docbuffer_set_cache(size_t bytes); /* bound of the cache; what is over it is given back at once */
size_t docbuffer_cache_limit(void);

#endif
