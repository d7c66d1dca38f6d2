/* SHA-256 with AVX2: 8 lanes. Every register holds one 32-bit word of each lane.
 *
 * AVX2 has no rotation; each takes two shifts and a xor. So a round needs 36 operations and a message word another 21.
 * With four operations in a cycle (Zen 5) this gives at least 1.6 cycles for each byte. The chain from one e to the
 * next has five operations (a shift, three xors, an addition), because everything else is added up before. The
 * processor executes older operations first, so the code does last what is not urgent. The state takes 8 of the 16
 * registers. The message schedule stays in memory, and its words are memory operands. */
#include "mbsha256/arch/avx2/words.h"
#include "mbsha256/kernel.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-reassoc", "no-tree-ter", "no-schedule-insns2") /* keep the order, see above */
#endif

enum { PREFETCH_BYTES = 512 };

/* The xor of three rotations, as a tree instead of a chain, because it is on the chain from one e to the next. */
INLINE __m256i rotations(__m256i x, int p, int q, int r) {
    __m256i right = XOR(XOR(SHR(x, p), SHR(x, q)), SHR(x, r));
    __m256i left = XOR(XOR(SHL(x, 32 - p), SHL(x, 32 - q)), SHL(x, 32 - r));
    return XOR(right, left);
}

#define SUM0(x) rotations(x, 2, 13, 22)
#define SUM1(x) rotations(x, 6, 11, 25)

/* One round (FIPS 180-4 6.2.2 step 3). No variable is moved to the next; the following round uses them under other
 * names: the new e is in d, and the new a in h. That a is not complete yet. It still needs SUM0(a) + majority(a, b, c),
 * which COMPLETE adds in the next round while that round computes its own e. Majority(b, c, d) is c ^ ((b ^ c) & (c ^
 * d)), and c ^ d of this round is b ^ c of the round before. */
#define COMPLETE(a, b, c, d)                                     \
    do {                                                         \
        __m256i b_xor_c = XOR(b, c);                             \
        a = ADD(ADD(a, XOR(c, AND(b_xor_c, c_xor_d))), SUM0(b)); \
        c_xor_d = b_xor_c;                                       \
    } while (0)
#define IS_COMPLETE(a, b, c, d) c_xor_d = XOR(b, c)
#define ROUND(COMPLETE_A, a, b, c, d, e, f, g, h, word, k)                                  \
    do {                                                                                    \
        __m256i early = ADD(d, ADD(h, ADD(word, _mm256_load_si256((const __m256i *)(k))))); \
        __m256i new_e = ADD(ADD(early, XOR(g, AND(e, XOR(f, g)))), SUM1(e));                \
        COMPLETE_A(a, b, c, d);                                                             \
        h = _mm256_sub_epi32(new_e, d);                                                     \
        d = new_e;                                                                          \
    } while (0)

#define NOTHING(i)

/* Four rounds with words i .. i + 3. Before each round NEXT makes one of the four words that follow. */
#define ROUNDS_4(NEXT, COMPLETE_A, a, b, c, d, e, f, g, h, i)                  \
    do {                                                                       \
        NEXT((i) + 4);                                                         \
        ROUND(COMPLETE_A, a, b, c, d, e, f, g, h, w[i], k + 8 * (i));          \
        NEXT((i) + 5);                                                         \
        ROUND(COMPLETE, h, a, b, c, d, e, f, g, w[(i) + 1], k + 8 * (i) + 8);  \
        NEXT((i) + 6);                                                         \
        ROUND(COMPLETE, g, h, a, b, c, d, e, f, w[(i) + 2], k + 8 * (i) + 16); \
        NEXT((i) + 7);                                                         \
        ROUND(COMPLETE, f, g, h, a, b, c, d, e, w[(i) + 3], k + 8 * (i) + 24); \
    } while (0)
#define ROUNDS_EVEN(NEXT, i) ROUNDS_4(NEXT, COMPLETE, a, b, c, d, e, f, g, h, i)
#define ROUNDS_ODD(NEXT, i) ROUNDS_4(NEXT, COMPLETE, e, f, g, h, a, b, c, d, i)

static void compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks) {
    (void)lane_count; /* all 8 lanes are computed; nobody reads those from lane_count on */
    __m256i *saved = (__m256i *)state;
    __m256i a = saved[0], b = saved[1], c = saved[2], d = saved[3];
    __m256i e = saved[4], f = saved[5], g = saved[6], h = saved[7];
    __m256i w[16];

    for (size_t offset = 0; offset < 64 * blocks; offset += 64) {
        const uint32_t *k = mbsha256_k_x8;
        __m256i c_xor_d;
        transpose_chunk(w, data, offset);
        transpose_chunk(w + 4, data, offset + 16);
        ROUNDS_4(NOTHING, IS_COMPLETE, a, b, c, d, e, f, g, h, 0);
        transpose_chunk(w + 8, data, offset + 32);
        ROUNDS_ODD(NOTHING, 4);
        transpose_chunk(w + 12, data, offset + 48);
        ROUNDS_EVEN(NOTHING, 8);
        for (int i = 0; i < 8; i++) _mm_prefetch((const char *)data[i] + offset + PREFETCH_BYTES, _MM_HINT_T0);
        for (int more = 0; more < 3; more++) {
            ROUNDS_ODD(EXPAND, 12);
            k += 8 * 16;
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

const mbsha256_kernel mbsha256_avx2_x8 = {8, 8, 1, compress};
