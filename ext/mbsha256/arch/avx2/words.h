/* Message words of 8 lanes with AVX2. The kernel for 8 messages (kernel.c) and that for one (single.c) share this. */
#ifndef BATCHSEAL_MBSHA256_AVX2_WORDS_H
#define BATCHSEAL_MBSHA256_AVX2_WORDS_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#define ADD(x, y) _mm256_add_epi32(x, y)
#define XOR(x, y) _mm256_xor_si256(x, y)
#define AND(x, y) _mm256_and_si256(x, y)
#define SHR(x, n) _mm256_srli_epi32(x, n)
#define SHL(x, n) _mm256_slli_epi32(x, n)

INLINE __m256i two_rotations_and_shift(__m256i x, int p, int q, int shift) {
    __m256i right = XOR(XOR(SHR(x, p), SHR(x, q)), SHR(x, shift));
    return XOR(right, XOR(SHL(x, 32 - p), SHL(x, 32 - q)));
}

#define SIGMA0(x) two_rotations_and_shift(x, 7, 18, 3)
#define SIGMA1(x) two_rotations_and_shift(x, 17, 19, 10)

/* Message schedule (FIPS 180-4 6.2.2 step 1) in a ring of 16 words: word t replaces word t - 16. */
#define EXPAND(i) \
    w[(i) & 15] = ADD(ADD(w[(i) & 15], SIGMA0(w[((i) + 1) & 15])), ADD(w[((i) + 9) & 15], SIGMA1(w[((i) + 14) & 15])))

/* Loads four words of the block of each lane, and sorts them by word instead of by lane.
 *   row[i] = the four words of lane i in the lower half, and those of lane i + 4 in the upper half
 *   w[j]   = word j of lanes 0 .. 7, in this order */
INLINE void transpose_chunk(__m256i w[4], const uint8_t *const *data, size_t offset) {
    const __m256i byte_swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
    __m256i row[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(data[i] + offset)));
        __m128i high = _mm_loadu_si128((const __m128i *)(data[i + 4] + offset));
        row[i] = _mm256_shuffle_epi8(_mm256_inserti128_si256(low, high, 1), byte_swap);
    }
    __m256i a = _mm256_unpacklo_epi32(row[0], row[1]); /* words 0 0 1 1 of lanes 0, 1 and of lanes 4, 5 */
    __m256i b = _mm256_unpacklo_epi32(row[2], row[3]);
    __m256i c = _mm256_unpackhi_epi32(row[0], row[1]); /* words 2 2 3 3 of these lanes */
    __m256i d = _mm256_unpackhi_epi32(row[2], row[3]);
    w[0] = _mm256_unpacklo_epi64(a, b);
    w[1] = _mm256_unpackhi_epi64(a, b);
    w[2] = _mm256_unpacklo_epi64(c, d);
    w[3] = _mm256_unpackhi_epi64(c, d);
}

#endif
