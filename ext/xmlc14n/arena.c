/* The chunks of an arena, and the growth of vectors. */
#include "xmlc14n/arena.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 65536, LARGE_BYTES = 16384 };

struct xml_chunk {
    xml_chunk *next;
    size_t bytes;
    _Alignas(16) uint8_t data[];
};

static xml_chunk *new_chunk(xml_arena *arena, size_t bytes) {
    xml_chunk *chunk = bytes > SIZE_MAX / 2 ? NULL : malloc(sizeof(xml_chunk) + bytes);
    if (!chunk) return NULL;
    chunk->bytes = bytes;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->held += bytes;
    return chunk;
}

void *xml_alloc(xml_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + !bytes + 15) & ~(size_t)15;
    if (bytes > arena->left) {
        xml_chunk *chunk = new_chunk(arena, bytes >= LARGE_BYTES ? bytes : CHUNK_BYTES);
        if (!chunk) return NULL;
        if (bytes >= LARGE_BYTES) return chunk->data;
        arena->at = chunk->data;
        arena->left = CHUNK_BYTES;
    }
    void *block = arena->at;
    arena->at += bytes;
    arena->left -= bytes;
    return block;
}

void xml_shrink(xml_arena *arena, void *block, size_t bytes, size_t kept) {
    bytes = (bytes + !bytes + 15) & ~(size_t)15;
    kept = (kept + !kept + 15) & ~(size_t)15;
    if ((uint8_t *)block + bytes != arena->at) return;
    arena->at -= bytes - kept;
    arena->left += bytes - kept;
}

void xml_arena_empty(xml_arena *arena) {
    xml_chunk *kept = NULL;
    for (xml_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        if (!kept && chunk->bytes == CHUNK_BYTES) kept = chunk;
        else free(chunk);
    }
    memset(arena, 0, sizeof *arena);
    if (!kept) return;
    kept->next = NULL;
    *arena = (xml_arena){.chunks = kept, .at = kept->data, .left = CHUNK_BYTES, .held = CHUNK_BYTES};
}

void xml_arena_free(xml_arena *arena) {
    for (xml_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    memset(arena, 0, sizeof *arena);
}

bool xml_grow(void *vector, size_t *capacity, size_t count, size_t item) {
    void *items;
    size_t wanted = count < 32 ? 64 : count * 2;
    if (wanted > SIZE_MAX / 2 / item) return false;
    memcpy(&items, vector, sizeof items); /* a pointer of any type */
    items = realloc(items, wanted * item);
    if (!items) return false;
    memcpy(vector, &items, sizeof items);
    *capacity = wanted;
    return true;
}

bool xml_renew(void *vector, size_t bytes) {
    void *old, *renewed = calloc(1, bytes);
    if (!renewed) return false;
    memcpy(&old, vector, sizeof old);
    free(old);
    memcpy(vector, &renewed, sizeof renewed);
    return true;
}
