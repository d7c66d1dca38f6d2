/* The memory of a canonicaliser: an arena for texts that stay where they are, and vectors that grow.
 *
 * Both keep their memory when they are emptied, so that the next document takes none. */
#ifndef BATCHSEAL_XMLC14N_ARENA_H
#define BATCHSEAL_XMLC14N_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct xml_chunk xml_chunk;

typedef struct {
    xml_chunk *chunks; /* the newest first */
    uint8_t *at;
    size_t left;
    size_t held; /* bytes of all chunks */
} xml_arena;

/* Returns a block that is aligned to 16 bytes and not cleared, or NULL if memory runs out. */
void *xml_alloc(xml_arena *arena, size_t bytes);
/* Gives back the end of the block that was allocated last. */
void xml_shrink(xml_arena *arena, void *block, size_t bytes, size_t kept);
void xml_arena_empty(xml_arena *arena); /* keeps one chunk of the usual size */
void xml_arena_free(xml_arena *arena);

/* Doubles the room of a vector with `count` items of `item` bytes; `vector` is the address of the pointer to them.
 * Returns false if memory runs out. */
bool xml_grow(void *vector, size_t *capacity, size_t count, size_t item);

/* Gives `vector` other memory, which is zero, in place of what it has. Returns false if memory runs out. */
bool xml_renew(void *vector, size_t bytes);

/* Makes room for one more item. False if memory runs out. */
#define XML_ROOM(vector, count, capacity)                                                                              \
    ((count) < (capacity) || xml_grow(&(vector), &(capacity), (count), sizeof *(vector)))

#endif
