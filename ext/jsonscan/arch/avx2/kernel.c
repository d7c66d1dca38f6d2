#include "jsonscan/kernel.h"

#include <immintrin.h>

static inline uint32_t equal(__m256i bytes, char c) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c)));
}

static size_t plain_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; n - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(src + at));
        /* Signed: what is below a space is a control character or not ASCII. */
        uint32_t other = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes));
        uint32_t stop = other | equal(bytes, '"') | equal(bytes, '\\');
        if (stop) return at + (size_t)__builtin_ctz(stop);
    }
    return at + jsonscan_kernel_portable.plain_run(src + at, n - at);
}

static size_t copy_run(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(src + at));
        _mm256_storeu_si256((__m256i *)(dst + at), bytes);
        uint32_t stop = equal(bytes, '"') | equal(bytes, '\\');
        if (stop) return at + (size_t)__builtin_ctz(stop);
    }
    return at + jsonscan_kernel_portable.copy_run(src + at, n - at, dst + at);
}

const jsonscan_kernel jsonscan_kernel_avx2 = {"avx2", plain_run, copy_run};
