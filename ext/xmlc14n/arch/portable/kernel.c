/* The kernel in plain C: 8 bytes in a 64-bit word. The AVX2 kernel uses it for what is left at the end. */
#include "xmlc14n/kernel.h"

#include <stdbool.h>
#include <string.h>

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS EACH(0x80)

/* Sets the high bit of each byte that is zero. Bytes behind the first such byte may be wrong, but nobody looks at
 * them. */
static inline uint64_t zero_bytes(uint64_t word) { return (word - EACH(1)) & ~word & HIGH_BITS; }

/* Not zero if a byte is below a space or beyond ASCII. */
static inline uint64_t unprintable(uint64_t word) { return ((word - EACH(0x20)) | word) & HIGH_BITS; }

static inline bool is_text(uint8_t c) {
    return c < 0x80 && (c >= 0x20 ? c != '<' && c != '>' && c != '&' : c == '\n' || c == '\t');
}

static size_t copy_text(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (;;) {
        for (; n - at >= 8; at += 8) {
            uint64_t word;
            memcpy(&word, src + at, 8);
            /* '<' and '>' differ in one bit, which no other character has between them. */
            uint64_t stop = zero_bytes((word & ~EACH(2)) ^ EACH('<')) | zero_bytes(word ^ EACH('&')) | unprintable(word);
            if (stop) break;
            memcpy(dst + at, &word, 8);
        }
        size_t to = n - at < 8 ? n : at + 8;
        for (; at < to; at++) {
            if (!is_text(src[at])) return at;
            dst[at] = src[at];
        }
        if (at == n) return at;
    }
}

static size_t value_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, src + at, 8);
        uint64_t stop = zero_bytes(word ^ EACH('"')) | zero_bytes(word ^ EACH('\'')) | zero_bytes(word ^ EACH('<')) |
                        zero_bytes(word ^ EACH('&')) | unprintable(word);
        if (stop) break;
    }
    for (; at < n; at++) {
        uint8_t c = src[at];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\'' || c == '<' || c == '&') break;
    }
    return at;
}

const xmlc14n_kernel xmlc14n_kernel_portable = {"portable", copy_text, value_run};
