/* The kernel with AVX-512: 64 bytes in a register. */
#include "xmlc14n/kernel.h"

#include <immintrin.h>

static inline __mmask64 equal(__m512i bytes, char c) { return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(c)); }

static inline __mmask64 first(size_t n) { return n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX; }

/* In a signed comparison, control characters and bytes beyond ASCII are both less than a space. */
static inline __mmask64 unprintable(__m512i bytes) { return _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(0x20)); }

/* The mask of the load sets the bytes behind the end to 0, which is a control character, so a run stops there. */
static inline __m512i load(const uint8_t *src, size_t n) { return _mm512_maskz_loadu_epi8(first(n), src); }

/* A character by its low four bits: '&', '<' and '>' come out as they are, and no other byte does. */
#define SPECIAL -1, -1, -1, -1, -1, -1, '&', -1, -1, -1, -1, -1, '<', -1, '>', -1

/* Most runs of text are short, and then half a register is faster. */
static inline __mmask32 stops_in_half(__m256i bytes) {
    __m256i special = _mm256_shuffle_epi8(_mm256_setr_epi8(SPECIAL, SPECIAL), bytes);
    __mmask32 space = _mm256_cmpeq_epi8_mask(bytes, _mm256_set1_epi8('\n')) |
                      _mm256_cmpeq_epi8_mask(bytes, _mm256_set1_epi8('\t'));
    __mmask32 control = _mm256_cmplt_epi8_mask(bytes, _mm256_set1_epi8(0x20));
    return (control & ~space) | _mm256_cmpeq_epi8_mask(bytes, special);
}

static size_t copy_text(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    if (n >= 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)src);
        _mm256_storeu_si256((__m256i *)dst, bytes);
        __mmask32 stop = stops_in_half(bytes);
        if (stop) return (size_t)__builtin_ctz(stop);
        at = 32;
    }
    for (; at < n; at += 64) {
        __m512i bytes = load(src + at, n - at);
        _mm512_storeu_si512(dst + at, bytes);
        __m512i special = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_setr_epi8(SPECIAL)), bytes);
        __mmask64 stop = unprintable(bytes) & ~(equal(bytes, '\n') | equal(bytes, '\t'));
        stop |= _mm512_cmpeq_epi8_mask(bytes, special);
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
