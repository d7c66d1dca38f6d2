/* The scanning kernel in plain C: 8 bytes in a 64-bit word. The other kernels use it for what is left at the end. */
#include "jsonscan/kernel.h"

#include <string.h>

#include "jsonscan/unescape.h"

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS EACH(0x80)

/* Sets the high bit of each byte that is zero. Bytes behind the first such byte may be wrong, but nobody looks at
 * them. */
static inline uint64_t zero_bytes(uint64_t word) { return (word - EACH(1)) & ~word & HIGH_BITS; }

static size_t plain_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, src + at, 8);
        uint64_t stop = zero_bytes(word ^ EACH('"')) | zero_bytes(word ^ EACH('\\')) | (word - EACH(0x20)) | word;
        if (stop & HIGH_BITS) break;
    }
    while (at < n && src[at] >= 0x20 && src[at] < 0x80 && src[at] != '"' && src[at] != '\\') at++;
    return at;
}

static inline size_t copy_run(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, src + at, 8);
        if (zero_bytes(word ^ EACH('"')) | zero_bytes(word ^ EACH('\\'))) break;
        memcpy(dst + at, &word, 8);
    }
    for (; at < n && src[at] != '"' && src[at] != '\\'; at++) dst[at] = src[at];
    return at;
}

const jsonscan_kernel jsonscan_kernel_portable = {"portable", plain_run, unescape};
