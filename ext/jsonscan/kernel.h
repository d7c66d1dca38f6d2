/* What a scanning kernel must do. Each arch/<isa>/kernel.c is one implementation. */
#ifndef BATCHSEAL_JSONSCAN_KERNEL_H
#define BATCHSEAL_JSONSCAN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* A kernel stores whole registers, so unescape() may write up to this many bytes behind the copied ones. */
#define JSONSCAN_COPY_SLACK 64

typedef struct jsonscan_kernel {
    const char *name;
    /* Counts the bytes at the start of src that need no attention in a string: 0x20 to 0x7f except '"' and '\'. */
    size_t (*plain_run)(const uint8_t *src, size_t n);
    /* Copies base64 text and resolves the escapes that JSON writers use in it: "\/" becomes '/', "\u002b" becomes '+'
     * (the codes of '=' and '/' work too), and "\r" and "\n" become nothing. Stops at '"', at any other escape, at an
     * escape that is cut off, or when `room` bytes are written. Returns how many bytes of src were read. dst must have
     * room for room + JSONSCAN_COPY_SLACK bytes. */
    size_t (*unescape)(const uint8_t *src, size_t n, uint8_t *dst, size_t room, size_t *written);
} jsonscan_kernel;

extern const jsonscan_kernel jsonscan_kernel_portable;
extern const jsonscan_kernel jsonscan_kernel_avx2;
extern const jsonscan_kernel jsonscan_kernel_avx512;

/* The avx512 kernel uses this function too, because steps of 64 bytes are slower when an escape comes every 60 to 80
 * characters. */
size_t jsonscan_unescape_avx2(const uint8_t *src, size_t n, uint8_t *dst, size_t room, size_t *written);

#endif
