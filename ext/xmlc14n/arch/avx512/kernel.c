/* The kernel with AVX-512: 64 bytes in a register. */
#include "xmlc14n/kernel.h"

#include <immintrin.h>

static inline __mmask64 equal(__m512i bytes, char c) { return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(c)); }

static inline __mmask64 first(size_t n) { return n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX; }

/* In a signed comparison, control characters and bytes beyond ASCII are both less than a space. */
static inline __mmask64 unprintable(__m512i bytes) { return _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(0x20)); }

/* The mask of the load sets the bytes behind the end to 0, which is a control character, so a run stops there. */
static inline __m512i load(const uint8_t *src, size_t n) { return _mm512_maskz_loadu_epi8(first(n), src); }

static size_t copy_text(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; at < n; at += 64) {
        __m512i bytes = load(src + at, n - at);
        _mm512_storeu_si512(dst + at, bytes);
        __mmask64 stop = unprintable(bytes) & ~(equal(bytes, '\n') | equal(bytes, '\t'));
        /* '<' and '>' differ in one bit. */
        stop |= equal(_mm512_or_si512(bytes, _mm512_set1_epi8(2)), '>') | equal(bytes, '&');
        if (stop) return at + (size_t)__builtin_ctzll(stop);
    }
    return n;
}

static size_t value_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; at < n; at += 64) {
        __m512i bytes = load(src + at, n - at);
        __mmask64 stop = unprintable(bytes) | equal(bytes, '"') | equal(bytes, '<');
        /* '&' and the single quote differ in one bit. */
        stop |= equal(_mm512_or_si512(bytes, _mm512_set1_epi8(1)), '\'');
        if (stop) return at + (size_t)__builtin_ctzll(stop);
    }
    return n;
}

const xmlc14n_kernel xmlc14n_kernel_avx512 = {"avx512", copy_text, value_run};
