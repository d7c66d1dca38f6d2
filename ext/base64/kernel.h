/* The contract of a base64 kernel (RFC 4648 section 4 alphabet), one implementation in each arch/<isa>/kernel.c. */
#ifndef BATCHSEAL_BASE64_KERNEL_H
#define BATCHSEAL_BASE64_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* A decoding kernel stores whole registers: it may write this many bytes beyond what it decoded. */
#define BASE64_DECODE_SLACK 64

typedef struct base64_kernel {
    const char *name;
    /* Decodes whole quads from the front of src for as long as all four characters are in the alphabet. Returns the
     * characters taken, a multiple of 4; three quarters of that is in dst. dst has room for n / 4 * 3 bytes and
     * BASE64_DECODE_SLACK more. Stops at '=', at a quote, at anything foreign: what it is, is the caller's to say. */
    size_t (*decode)(const uint8_t *src, size_t n, uint8_t *dst);
    /* Encodes n bytes, a multiple of 3, into exactly n / 3 * 4 characters. */
    void (*encode)(const uint8_t *src, size_t n, uint8_t *dst);
} base64_kernel;

extern const base64_kernel base64_kernel_portable;
extern const base64_kernel base64_kernel_avx2;
extern const base64_kernel base64_kernel_avx512;

/* 6-bit value of a character, or BASE64_FOREIGN. */
#define BASE64_FOREIGN 0x80
extern const uint8_t base64_values[256];
extern const char base64_alphabet[65];

#endif
