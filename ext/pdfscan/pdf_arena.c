/* The chunks of an arena, and the outputs that grow in them. */
#include "pdfscan/pdf_arena.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 32768, LARGE_BYTES = 8192 };

struct pdf_chunk {
    pdf_chunk *next;
    size_t bytes;
    uint8_t data[];
};

static uint8_t *chunk_start(pdf_chunk *chunk) {
    return (uint8_t *)(((uintptr_t)chunk->data + 15) & ~(uintptr_t)15);
}

static pdf_chunk *new_chunk(pdf_arena *arena, size_t bytes, bool zeroed) {
    if (bytes > SIZE_MAX / 2) return NULL;
    size_t total = sizeof(pdf_chunk) + 16 + bytes;
    pdf_chunk *chunk = zeroed ? calloc(1, total) : malloc(total);
    if (!chunk) return NULL;
    chunk->bytes = bytes;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

void *pdf_alloc(pdf_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes <= arena->left) {
        void *block = arena->at;
        arena->at += bytes;
        arena->left -= bytes;
        return block;
    }
    pdf_chunk *chunk = new_chunk(arena, bytes >= LARGE_BYTES ? bytes : CHUNK_BYTES, false);
    if (!chunk) return NULL;
    if (bytes >= LARGE_BYTES) return chunk_start(chunk);
    arena->at = chunk_start(chunk) + bytes;
    arena->left = CHUNK_BYTES - bytes;
    return chunk_start(chunk);
}

void *pdf_alloc_zeroed(pdf_arena *arena, size_t bytes) {
    if (bytes >= LARGE_BYTES) {
        pdf_chunk *chunk = new_chunk(arena, bytes, true);
        return chunk ? chunk_start(chunk) : NULL;
    }
    void *block = pdf_alloc(arena, bytes);
    if (block) memset(block, 0, bytes);
    return block;
}

void pdf_arena_free(pdf_arena *arena) {
    for (pdf_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    memset(arena, 0, sizeof *arena);
}

/* Makes an output larger. If it is alone in the newest chunk, the chunk grows by realloc(); else the bytes are
 * copied. */
static uint8_t *regrow(pdf_buffer *out, size_t capacity) {
    pdf_chunk *chunk = out->arena->chunks;
    if (chunk && out->bytes && chunk->bytes == out->capacity && chunk_start(chunk) == out->bytes) {
        size_t shift = (size_t)(out->bytes - (uint8_t *)chunk);
        pdf_chunk *grown = realloc(chunk, sizeof(pdf_chunk) + 16 + capacity);
        if (!grown) return NULL;
        grown->bytes = capacity;
        out->arena->chunks = grown;
        if (chunk_start(grown) != (uint8_t *)grown + shift)
            memmove(chunk_start(grown), (uint8_t *)grown + shift, out->length);
        return chunk_start(grown);
    }
    uint8_t *bytes = pdf_alloc(out->arena, capacity);
    if (bytes && out->length) memcpy(bytes, out->bytes, out->length);
    return bytes;
}

bool pdf_reserve(pdf_buffer *out, size_t more) {
    if (out->failed) return false;
    if (more <= out->capacity - out->length) return true;
    size_t capacity = out->capacity < 512 ? 1024 : out->capacity * 2;
    if (capacity < out->length + more) capacity = out->length + more;
    capacity = (capacity + 15) & ~(size_t)15;
    uint8_t *bytes = more > SIZE_MAX / 4 || capacity > SIZE_MAX / 4 ? NULL : regrow(out, capacity);
    if (!bytes) {
        out->failed = true;
        return false;
    }
    out->bytes = bytes;
    out->capacity = capacity;
    return true;
}

void pdf_put(pdf_buffer *out, const void *bytes, size_t length) {
    if (length && pdf_reserve(out, length)) {
        memcpy(out->bytes + out->length, bytes, length);
        out->length += length;
    }
}

void pdf_puts(pdf_buffer *out, const char *text) { pdf_put(out, text, strlen(text)); }

void pdf_put_number(pdf_buffer *out, uint64_t value, unsigned min_digits) {
    char digits[20];
    unsigned n = 0;
    do {
        digits[19 - n++] = (char)('0' + value % 10);
        value /= 10;
    } while (n < 20 && (value || n < min_digits));
    pdf_put(out, digits + 20 - n, n);
}
