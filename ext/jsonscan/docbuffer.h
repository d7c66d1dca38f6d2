/* Buffers for decoded documents, with a cache of freed ones.
 *
 * Touching a new memory page for the first time costs more than filling it with decoded base64. So freed buffers are
 * kept in a cache of bounded size, sorted by capacity (a power of two), and the buffer freed last is used first. Where
 * the system can, a buffer grows by moving pages instead of copying bytes. The functions are thread-safe, but only one
 * thread at a time may use a buffer. */
#ifndef BATCHSEAL_JSONSCAN_DOCBUFFER_H
#define BATCHSEAL_JSONSCAN_DOCBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct docbuffer {
    uint8_t *data;
    size_t used;
    size_t capacity;
    struct docbuffer *next; /* the next buffer of this capacity in the cache */
} docbuffer;

/* Returns NULL if memory runs out. The buffer has at least this capacity. */
docbuffer *docbuffer_new(size_t capacity);
/* Raises the capacity to at least this many bytes and keeps the contents. Returns false if memory runs out; the buffer
 * is then unchanged. */
bool docbuffer_grow(docbuffer *b, size_t capacity);
/* Moves the contents to a smaller buffer if less than a quarter of this one is used, so that small documents do not
 * keep large buffers. Returns the buffer to use from now on. */
docbuffer *docbuffer_fit(docbuffer *b);
void docbuffer_free(docbuffer *b); /* b may be NULL */

size_t docbuffer_live(void);            /* number of buffers that are in use */
size_t docbuffer_cached_bytes(void);    /* capacity of the buffers in the cache */
void docbuffer_set_cache(size_t bytes); /* sets the bound of the cache, and frees what is over it */
size_t docbuffer_cache_limit(void);

#endif
