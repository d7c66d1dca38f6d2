/* The scanning kernel with AVX-512: 64 bytes in a register. */
#include "jsonscan/kernel.h"

#include <immintrin.h>

static inline __mmask64 equal(__m512i bytes, char c) { return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(c)); }

static inline __mmask64 first(size_t n) { return n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX; }

static size_t plain_run(const uint8_t *src, size_t n) {
    size_t at = 0;
    for (; at < n; at += 64) {
        /* The mask sets the bytes behind the end to 0, which is a control character, so the run stops there. */
        __m512i bytes = _mm512_maskz_loadu_epi8(first(n - at), src + at);
        /* In a signed comparison, control characters and bytes beyond ASCII are both less than a space. */
        __mmask64 stop = _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(0x20)) | equal(bytes, '"') | equal(bytes, '\\');
        if (stop) return at + (size_t)__builtin_ctzll(stop);
    }
    return n;
}

const jsonscan_kernel jsonscan_kernel_avx512 = {"avx512", plain_run, jsonscan_unescape_avx2};
