/* The contract of a scanning kernel, one implementation in each arch/<isa>/kernel.c. */
#ifndef BATCHSEAL_JSONSCAN_KERNEL_H
#define BATCHSEAL_JSONSCAN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* unescape stores whole registers: it may write this many bytes beyond what it copied. */
#define JSONSCAN_COPY_SLACK 64

typedef struct jsonscan_kernel {
    const char *name;
    /* Leading bytes of a string that stand for themselves: 0x20..0x7f but '"' and '\'. */
    size_t (*plain_run)(const uint8_t *src, size_t n);
    /* Copies base64 as JSON may escape it: "\/" becomes '/', "\u002b" '+' ('=' and '/' likewise), "\r" and
     * "\n" nothing. Returns the bytes taken; stops at
     * '"', at any other escape, at half of one, or when `room` bytes are written. dst has room for JSONSCAN_COPY_SLACK
     * more. */
    size_t (*unescape)(const uint8_t *src, size_t n, uint8_t *dst, size_t room, size_t *written);
} jsonscan_kernel;

extern const jsonscan_kernel jsonscan_kernel_portable;
extern const jsonscan_kernel jsonscan_kernel_avx2;
extern const jsonscan_kernel jsonscan_kernel_avx512;

/* The avx512 kernel has this one too: with an escape every 60 to 80 characters, steps of 64 bytes are slower. */
size_t jsonscan_unescape_avx2(const uint8_t *src, size_t n, uint8_t *dst, size_t room, size_t *written);

#endif
