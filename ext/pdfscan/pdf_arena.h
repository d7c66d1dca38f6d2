/* Scratch memory of one plan: bump allocation from chunks, all freed at once. Not shared between threads. */
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

/* 16-byte aligned and not cleared; NULL when memory ran out. */
void *pdf_alloc(pdf_arena *arena, size_t bytes);

/* Zeroed; large blocks come as untouched pages, so a sparse table costs only what is written. */
void *pdf_alloc_zeroed(pdf_arena *arena, size_t bytes);

void pdf_arena_free(pdf_arena *arena);

/* An output that grows by doubling; `failed` sticks, so that writers need not check each append. */
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
