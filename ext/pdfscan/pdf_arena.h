/* The memory of one plan. Blocks are cut from larger chunks, and all of them are freed at once. Only one thread at a
 * time may use an arena. */
#ifndef BATCHSEAL_PDF_ARENA_H
#define BATCHSEAL_PDF_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pdf_chunk pdf_chunk;

typedef struct {
    pdf_chunk *chunks;
    uint8_t *at;
    size_t left;
} pdf_arena;

/* Returns a block that is aligned to 16 bytes and not cleared, or NULL if memory runs out. */
void *pdf_alloc(pdf_arena *arena, size_t bytes);

/* Returns a block of zeros. A large block consists of untouched pages, so a sparse table takes memory only for what is
 * written to it. */
void *pdf_alloc_zeroed(pdf_arena *arena, size_t bytes);

void pdf_arena_free(pdf_arena *arena);

/* An output that doubles its capacity when it is full. Once `failed` is set it stays set, so a writer can append many
 * times and check only at the end. */
typedef struct {
    pdf_arena *arena;
    uint8_t *bytes;
    size_t length, capacity;
    bool failed;
} pdf_buffer;

bool pdf_reserve(pdf_buffer *out, size_t more);
void pdf_put(pdf_buffer *out, const void *bytes, size_t length);
void pdf_puts(pdf_buffer *out, const char *text);
void pdf_put_number(pdf_buffer *out, uint64_t value, unsigned min_digits);

#endif
