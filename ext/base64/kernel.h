/* What a base64 kernel must do (alphabet of RFC 4648 section 4). Each arch/<isa>/kernel.c is one implementation. */
#ifndef BATCHSEAL_BASE64_KERNEL_H
#define BATCHSEAL_BASE64_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* A kernel stores whole registers, so decode() may write up to this many bytes behind the decoded ones. */
#define BASE64_DECODE_SLACK 64

typedef struct base64_kernel {
    const char *name;
    /* Decodes whole quads from the start of src and stops before the first quad with a character outside the alphabet,
     * such as '=' or a quote; the caller decides what that character means. Returns how many characters were decoded, a
     * multiple of 4; dst then holds three bytes for every four. dst must have room for n / 4 * 3 + BASE64_DECODE_SLACK
     * bytes. */
    size_t (*decode)(const uint8_t *src, size_t n, uint8_t *dst);
    /* Encodes n bytes, a multiple of 3, into exactly n / 3 * 4 characters. */
    void (*encode)(const uint8_t *src, size_t n, uint8_t *dst);
} base64_kernel;

extern const base64_kernel base64_kernel_portable;
extern const base64_kernel base64_kernel_avx2;
extern const base64_kernel base64_kernel_avx512;

/* The 6-bit value of each character, or BASE64_FOREIGN for a character outside the alphabet. */
#define BASE64_FOREIGN 0x80
extern const uint8_t base64_values[256];
extern const char base64_alphabet[65];

#endif
