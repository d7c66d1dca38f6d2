/* The memory of one plan. Blocks are cut from larger chunks, and all of them are freed at once. Only one thread at a
 * time may use an arena.
 *
 * An arena with a limit never holds more than that. While an output grows, its old and its new block count both. */
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
    size_t held, limit; /* bytes in chunks, and how many there may be; a limit of 0 is none */
    bool exceeded;      /* an allocation failed because of the limit */
} pdf_arena;

/* Returns a block that is aligned to 16 bytes and not cleared, or NULL if memory runs out. */
void *pdf_alloc(pdf_arena *arena, size_t bytes);

/* Returns a block of zeros. A large block consists of untouched pages, so a sparse table takes memory only for what is
 * written to it. */
void *pdf_alloc_zeroed(pdf_arena *arena, size_t bytes);

/* Frees every block. The limit stays. */
void pdf_arena_free(pdf_arena *arena);

/* An output that grows when it is full: a small one to the double, a large one by the half. Once `failed` is set it stays set, so a writer can append many
 * times and check only at the end. */
typedef struct {
    pdf_arena *arena;
    uint8_t *bytes;
    size_t length, capacity;
    size_t most; /* the capacity is not larger than this unless it has to be; 0: as large as it grows */
    bool failed;
} pdf_buffer;

bool pdf_reserve(pdf_buffer *out, size_t more);

/* Gives back the capacity that an output does not use, as far as that can be done without copying. */
void pdf_trim(pdf_buffer *out);
void pdf_put(pdf_buffer *out, const void *bytes, size_t length);
void pdf_puts(pdf_buffer *out, const char *text);
void pdf_put_number(pdf_buffer *out, uint64_t value, unsigned min_digits);

#endif
