/* SHA-256 with AVX-512 F and BW: 16 lanes. Every register holds one 32-bit word of each lane.
 *
 * A round needs 18 operations and a message word 11. Sorting 16 blocks by word costs 80. Together this is 1,770
 * operations for 1,024 bytes: at least 0.43 cycles for each byte with four operations in a cycle (Zen 5), and 0.87 with
 * two (Skylake). The chain from one e to the next can keep a kernel from reaching this. Here the chain has three
 * operations (rotation, xor, addition), because everything else is added up before. The processor executes older
 * operations first, so the code does last what is not urgent. */
#include <immintrin.h>

#include "mbsha256/kernel.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-reassoc", "no-schedule-insns2") /* keep the order, see above */
#endif

enum { PREFETCH_BYTES = 512 };

#define INLINE static inline __attribute__((always_inline))

#define ADD(x, y) _mm512_add_epi32(x, y)
#define XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define CHOOSE(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xca)
#define MAJORITY(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xe8)
#define SUM0(x) XOR3(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22))
#define SUM1(x) XOR3(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25))
#define SIGMA0(x) XOR3(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3))
#define SIGMA1(x) XOR3(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10))

/* One round (FIPS 180-4 6.2.2 step 3). No variable is moved to the next; the following round uses them under other
 * names: the new e is in d, and the new a in h. That a is not complete yet. It still needs SUM0(a) + MAJORITY(a, b, c),
 * which COMPLETE adds in the next round while that round computes its own e. */
#define COMPLETE(a, b, c, d) a = ADD(ADD(a, MAJORITY(b, c, d)), SUM0(b))
#define IS_COMPLETE(a, b, c, d)
#define ROUND(COMPLETE_A, a, b, c, d, e, f, g, h, word, k)                      \
    do {                                                                        \
        __m512i early = ADD(d, ADD(h, ADD(word, _mm512_set1_epi32((int)(k))))); \
        __m512i new_e = ADD(ADD(early, CHOOSE(e, f, g)), SUM1(e));              \
        COMPLETE_A(a, b, c, d);                                                 \
        h = _mm512_sub_epi32(new_e, d);                                         \
        d = new_e;                                                              \
    } while (0)

/* load_halves() loads half a block (8 words) of each lane. transpose_chunk() takes the first or, if `odd`, the second
 * four words of these, and sorts them by word instead of by lane.
 *   pair[2 * g + upper] = the half blocks of lanes g + 8 * upper and g + 8 * upper + 4
 *   four[g]             = the four words of lanes g, g + 4, g + 8 and g + 12, each in 128 bits
 *   w[j]                = word j of lanes 0 .. 15, in this order */
INLINE void load_halves(__m512i pair[8], const uint8_t *const *data, size_t offset) {
#pragma GCC unroll 8
    for (int g = 0; g < 4; g++) {
        for (int upper = 0; upper < 2; upper++) {
            const uint8_t *low = data[g + 8 * upper] + offset, *high = data[g + 8 * upper + 4] + offset;
            __m512i both = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)low));
            pair[2 * g + upper] = _mm512_inserti64x4(both, _mm256_loadu_si256((const __m256i *)high), 1);
        }
    }
}

INLINE void transpose_chunk(__m512i w[4], const __m512i pair[8], const int odd) {
    const __m512i byte_swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
    __m512i four[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        four[g] = odd ? _mm512_shuffle_i64x2(pair[2 * g], pair[2 * g + 1], 0xdd)
                      : _mm512_shuffle_i64x2(pair[2 * g], pair[2 * g + 1], 0x88);
    }
    __m512i a = _mm512_unpacklo_epi32(four[0], four[1]); /* 128 bits number i: words 0 0 1 1 of lanes 4i, 4i + 1 */
    __m512i b = _mm512_unpacklo_epi32(four[2], four[3]);
    __m512i c = _mm512_unpackhi_epi32(four[0], four[1]); /* words 2 2 3 3 of these lanes */
    __m512i d = _mm512_unpackhi_epi32(four[2], four[3]);
    w[0] = _mm512_shuffle_epi8(_mm512_unpacklo_epi64(a, b), byte_swap);
    w[1] = _mm512_shuffle_epi8(_mm512_unpackhi_epi64(a, b), byte_swap);
    w[2] = _mm512_shuffle_epi8(_mm512_unpacklo_epi64(c, d), byte_swap);
    w[3] = _mm512_shuffle_epi8(_mm512_unpackhi_epi64(c, d), byte_swap);
}

/* Message schedule (FIPS 180-4 6.2.2 step 1) in a ring of 16 words: word t replaces word t - 16. */
#define EXPAND(i) \
    w[(i) & 15] = ADD(ADD(w[(i) & 15], SIGMA0(w[((i) + 1) & 15])), ADD(w[((i) + 9) & 15], SIGMA1(w[((i) + 14) & 15])))
#define NOTHING(i)

/* Four rounds with words i .. i + 3. Before each round NEXT makes one of the four words that follow. */
#define ROUNDS_4(NEXT, COMPLETE_A, a, b, c, d, e, f, g, h, i)            \
    do {                                                                 \
        NEXT((i) + 4);                                                   \
        ROUND(COMPLETE_A, a, b, c, d, e, f, g, h, w[i], k[i]);           \
        NEXT((i) + 5);                                                   \
        ROUND(COMPLETE, h, a, b, c, d, e, f, g, w[(i) + 1], k[(i) + 1]); \
        NEXT((i) + 6);                                                   \
        ROUND(COMPLETE, g, h, a, b, c, d, e, f, w[(i) + 2], k[(i) + 2]); \
        NEXT((i) + 7);                                                   \
        ROUND(COMPLETE, f, g, h, a, b, c, d, e, w[(i) + 3], k[(i) + 3]); \
    } while (0)
#define ROUNDS_EVEN(NEXT, i) ROUNDS_4(NEXT, COMPLETE, a, b, c, d, e, f, g, h, i)
#define ROUNDS_ODD(NEXT, i) ROUNDS_4(NEXT, COMPLETE, e, f, g, h, a, b, c, d, i)

static void compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks) {
    (void)lane_count; /* all 16 lanes are computed; nobody reads those from lane_count on */
    __m512i *saved = (__m512i *)state;
    __m512i a = saved[0], b = saved[1], c = saved[2], d = saved[3];
    __m512i e = saved[4], f = saved[5], g = saved[6], h = saved[7];

    for (size_t offset = 0; offset < 64 * blocks; offset += 64) {
        const uint32_t *k = mbsha256_k;
        __asm__("" : "+r"(k)); /* hides k from the compiler, which would else load 64 bytes for each constant */
        __m512i w[16], pair[8];

        load_halves(pair, data, offset);
        transpose_chunk(w, pair, 0);
        transpose_chunk(w + 4, pair, 1);
        ROUNDS_4(NOTHING, IS_COMPLETE, a, b, c, d, e, f, g, h, 0);
        load_halves(pair, data, offset + 32);
        transpose_chunk(w + 8, pair, 0);
        ROUNDS_ODD(NOTHING, 4);
        transpose_chunk(w + 12, pair, 1);
        ROUNDS_EVEN(NOTHING, 8);
        for (int i = 0; i < 16; i++) _mm_prefetch((const char *)data[i] + offset + PREFETCH_BYTES, _MM_HINT_T0);
        for (int more = 0; more < 3; more++) {
            ROUNDS_ODD(EXPAND, 12);
            k += 16;
            ROUNDS_EVEN(EXPAND, 0);
            ROUNDS_ODD(EXPAND, 4);
            ROUNDS_EVEN(EXPAND, 8);
        }
        ROUNDS_ODD(NOTHING, 12);
        COMPLETE(a, b, c, d);
        saved[0] = a = ADD(a, saved[0]);
        saved[1] = b = ADD(b, saved[1]);
        saved[2] = c = ADD(c, saved[2]);
        saved[3] = d = ADD(d, saved[3]);
        saved[4] = e = ADD(e, saved[4]);
        saved[5] = f = ADD(f, saved[5]);
        saved[6] = g = ADD(g, saved[6]);
        saved[7] = h = ADD(h, saved[7]);
    }
    _mm256_zeroupper(); /* upper halves that are not zero would slow down later SSE code, such as the SHA-NI kernel */
}

const mbsha256_kernel mbsha256_avx512_x16 = {16, 16, 1, compress};
