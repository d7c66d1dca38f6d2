/* The scanning kernel with AVX2: 32 bytes in a register. */
#include "jsonscan/kernel.h"

#include <immintrin.h>

#include "jsonscan/unescape.h"

static inline uint32_t equal(__m256i bytes, char c) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c)));
}

static size_t plain_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; n - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(src + at));
        /* In a signed comparison, control characters and bytes beyond ASCII are both less than a space. */
        uint32_t other = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes));
        uint32_t stop = other | equal(bytes, '"') | equal(bytes, '\\');
        if (stop) return at + (size_t)__builtin_ctz(stop);
    }
    return at + jsonscan_kernel_portable.plain_run(src + at, n - at);
}

static inline size_t copy_run(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(src + at));
        _mm256_storeu_si256((__m256i *)(dst + at), bytes);
        uint32_t stop = equal(bytes, '"') | equal(bytes, '\\');
        if (stop) return at + (size_t)__builtin_ctz(stop);
    }
    for (; at < n && src[at] != '"' && src[at] != '\\'; at++) dst[at] = src[at];
    return at;
}

size_t jsonscan_unescape_avx2(const uint8_t *src, size_t n, uint8_t *dst, size_t room, size_t *written) {
    return unescape(src, n, dst, room, written);
}

const jsonscan_kernel jsonscan_kernel_avx2 = {"avx2", plain_run, jsonscan_unescape_avx2};
