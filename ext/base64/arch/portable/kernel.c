/* base64 in plain C, one quad at a time. The other kernels use it for what is left at the end. */
#include "base64/kernel.h"

static size_t decode(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 4; at += 4, dst += 3) {
        uint32_t a = base64_values[src[at]], b = base64_values[src[at + 1]];
        uint32_t c = base64_values[src[at + 2]], d = base64_values[src[at + 3]];
        if ((a | b | c | d) & BASE64_FOREIGN) break;
        dst[0] = (uint8_t)(a << 2 | b >> 4);
        dst[1] = (uint8_t)(b << 4 | c >> 2);
        dst[2] = (uint8_t)(c << 6 | d);
    }
    return at;
}

static void encode(const uint8_t *src, size_t n, uint8_t *dst) {
    for (const uint8_t *end = src + n; src < end; src += 3, dst += 4) {
        uint32_t bits = (uint32_t)src[0] << 16 | (uint32_t)src[1] << 8 | src[2];
        dst[0] = (uint8_t)base64_alphabet[bits >> 18];
        dst[1] = (uint8_t)base64_alphabet[bits >> 12 & 63];
        dst[2] = (uint8_t)base64_alphabet[bits >> 6 & 63];
        dst[3] = (uint8_t)base64_alphabet[bits & 63];
    }
}

const base64_kernel base64_kernel_portable = {"portable", decode, encode};
