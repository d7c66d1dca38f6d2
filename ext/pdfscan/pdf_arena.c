/* The chunks of an arena, and the outputs that grow in them. */
#include "pdfscan/pdf_arena.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 32768, LARGE_BYTES = 8192, MEGABYTE = 1 << 20 };

/* malloc() aligns to 16 bytes, so data does not move against its chunk when realloc() moves that. */
struct pdf_chunk {
    pdf_chunk *next;
    size_t bytes;
    _Alignas(16) uint8_t data[];
};
_Static_assert(_Alignof(max_align_t) >= 16, "the data of a chunk is aligned to 16 bytes");

/* Counts `bytes` as held, if the limit allows them. */
static bool hold(pdf_arena *arena, size_t bytes) {
    if (arena->limit && (arena->held > arena->limit || bytes > arena->limit - arena->held)) {
        arena->exceeded = true;
        return false;
    }
    arena->held += bytes;
    return true;
}

static size_t chunk_total(size_t bytes) { return sizeof(pdf_chunk) + bytes; }

static pdf_chunk *new_chunk(pdf_arena *arena, size_t bytes, bool zeroed) {
    if (bytes > SIZE_MAX / 2) return NULL;
    size_t total = chunk_total(bytes);
    if (!hold(arena, total)) return NULL;
    pdf_chunk *chunk = zeroed ? calloc(1, total) : malloc(total);
    if (!chunk) {
        arena->held -= total;
        return NULL;
    }
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
    if (bytes >= LARGE_BYTES) return chunk->data;
    arena->at = chunk->data + bytes;
    arena->left = CHUNK_BYTES - bytes;
    return chunk->data;
}

void *pdf_alloc_zeroed(pdf_arena *arena, size_t bytes) {
    if (bytes >= LARGE_BYTES) {
        pdf_chunk *chunk = new_chunk(arena, bytes, true);
        return chunk ? chunk->data : NULL;
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
    *arena = (pdf_arena){.limit = arena->limit, .exceeded = arena->exceeded};
}

/* Whether the output is alone in the newest chunk, so that realloc() can change its size. */
static bool is_alone(const pdf_buffer *out) {
    pdf_chunk *chunk = out->arena->chunks;
    return chunk && out->bytes && chunk->bytes == out->capacity && chunk->data == out->bytes;
}

/* Gives the newest chunk another size. `out` must be alone in it. */
static uint8_t *resize_newest(pdf_buffer *out, size_t capacity) {
    pdf_arena *arena = out->arena;
    size_t before = chunk_total(out->capacity);
    /* realloc() may hold both sizes for a moment. */
    if (!hold(arena, chunk_total(capacity))) return NULL;
    pdf_chunk *moved = realloc(arena->chunks, chunk_total(capacity));
    arena->held -= moved ? before : chunk_total(capacity);
    if (!moved) return NULL;
    moved->bytes = capacity;
    arena->chunks = moved;
    return moved->data;
}

/* Makes an output larger. If it is alone in the newest chunk, the chunk grows; else the bytes are copied. */
static uint8_t *regrow(pdf_buffer *out, size_t capacity) {
    if (is_alone(out)) return resize_newest(out, capacity);
    uint8_t *bytes = pdf_alloc(out->arena, capacity);
    if (bytes && out->length) memcpy(bytes, out->bytes, out->length);
    return bytes;
}

void pdf_trim(pdf_buffer *out) {
    size_t capacity = (out->length + 15) & ~(size_t)15;
    if (out->failed || capacity < LARGE_BYTES || capacity >= out->capacity || !is_alone(out)) return;
    bool exceeded = out->arena->exceeded;
    uint8_t *bytes = resize_newest(out, capacity);
    out->arena->exceeded = exceeded;
    if (!bytes) return;
    out->bytes = bytes;
    out->capacity = capacity;
}

bool pdf_reserve(pdf_buffer *out, size_t more) {
    if (out->failed) return false;
    if (more <= out->capacity - out->length) return true;
    size_t capacity = out->capacity < 512 ? 1024 : out->capacity + (out->capacity < MEGABYTE ? out->capacity : out->capacity / 2);
    if (out->most && capacity > out->most) capacity = out->most;
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
