/* The kernel with AVX2: 32 bytes in a register. */
#include "xmlc14n/kernel.h"

#include <immintrin.h>

static inline __m256i equal(__m256i bytes, char c) { return _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c)); }

/* In a signed comparison, control characters and bytes beyond ASCII are both less than a space. */
static inline __m256i unprintable(__m256i bytes) { return _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes); }

static inline uint32_t mask_of(__m256i bytes) { return (uint32_t)_mm256_movemask_epi8(bytes); }

/* A character by its low four bits: '&', '<' and '>' come out as they are, and no other byte does. */
#define SPECIAL -1, -1, -1, -1, -1, -1, '&', -1, -1, -1, -1, -1, '<', -1, '>', -1

static size_t copy_text(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(src + at));
        _mm256_storeu_si256((__m256i *)(dst + at), bytes);
        __m256i stop = _mm256_andnot_si256(_mm256_or_si256(equal(bytes, '\n'), equal(bytes, '\t')), unprintable(bytes));
        __m256i special = _mm256_shuffle_epi8(_mm256_setr_epi8(SPECIAL, SPECIAL), bytes);
        uint32_t mask = mask_of(_mm256_or_si256(stop, _mm256_cmpeq_epi8(bytes, special)));
        if (mask) return at + (size_t)__builtin_ctz(mask);
    }
    return at + xmlc14n_kernel_portable.copy_text(src + at, n - at, dst + at);
}

static size_t value_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; n - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(src + at));
        /* '&' and the single quote differ in one bit. */
        __m256i quote = equal(_mm256_or_si256(bytes, _mm256_set1_epi8(1)), '\'');
        __m256i stop = _mm256_or_si256(_mm256_or_si256(unprintable(bytes), equal(bytes, '"')), equal(bytes, '<'));
        uint32_t mask = mask_of(_mm256_or_si256(stop, quote));
        if (mask) return at + (size_t)__builtin_ctz(mask);
    }
    return at + xmlc14n_kernel_portable.value_run(src + at, n - at);
}

const xmlc14n_kernel xmlc14n_kernel_avx2 = {"avx2", copy_text, value_run};
