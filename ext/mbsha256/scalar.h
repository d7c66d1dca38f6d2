/* SHA-256 for one lane in general registers. Each arch folder that includes this file compiles it with its own
 * flags. */
#ifndef BATCHSEAL_MBSHA256_SCALAR_H
#define BATCHSEAL_MBSHA256_SCALAR_H

#include "mbsha256/kernel.h"

#if defined(__GNUC__) && !defined(__clang__)
/* The longest chain of operations goes from one e to the next. So the code first adds what does not depend on e, and
 * the compiler must not reorder these additions. */
#pragma GCC optimize("no-tree-reassoc")
#endif

static inline uint32_t scalar_ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static inline uint32_t scalar_load_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* One round (FIPS 180-4 6.2.2 step 3). No variable is moved to the next; the following round uses them under other
 * names: the new e is in d, and the new a in h. Majority is b ^ ((a ^ b) & (b ^ c)), and b ^ c of this round is a ^ b
 * of the round before. */
#define SCALAR_ROUND(a, b, c, d, e, f, g, h, wk)                                  \
    do {                                                                          \
        uint32_t sum1 = scalar_ror(e, 6) ^ scalar_ror(e, 11) ^ scalar_ror(e, 25); \
        uint32_t sum0 = scalar_ror(a, 2) ^ scalar_ror(a, 13) ^ scalar_ror(a, 22); \
        uint32_t a_xor_b = a ^ b;                                                 \
        uint32_t early = h + (wk);                                                \
        uint32_t new_e = (d + early) + (g ^ (e & (f ^ g))) + sum1;                \
        h = new_e - d;                                                            \
        d = new_e;                                                                \
        h += sum0 + (b ^ (a_xor_b & b_xor_c));                                    \
        b_xor_c = a_xor_b;                                                        \
    } while (0)

#define SCALAR_ROUNDS_8(WK, t)                             \
    do {                                                   \
        SCALAR_ROUND(a, b, c, d, e, f, g, h, WK(t));       \
        SCALAR_ROUND(h, a, b, c, d, e, f, g, WK((t) + 1)); \
        SCALAR_ROUND(g, h, a, b, c, d, e, f, WK((t) + 2)); \
        SCALAR_ROUND(f, g, h, a, b, c, d, e, WK((t) + 3)); \
        SCALAR_ROUND(e, f, g, h, a, b, c, d, WK((t) + 4)); \
        SCALAR_ROUND(d, e, f, g, h, a, b, c, WK((t) + 5)); \
        SCALAR_ROUND(c, d, e, f, g, h, a, b, WK((t) + 6)); \
        SCALAR_ROUND(b, c, d, e, f, g, h, a, WK((t) + 7)); \
    } while (0)

#define SCALAR_STATE(state)                                                                                    \
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], \
             h = state[7], b_xor_c = b ^ c

#define SCALAR_ADD_STATE(state)                                     \
    do {                                                            \
        state[0] += a, state[1] += b, state[2] += c, state[3] += d; \
        state[4] += e, state[5] += f, state[6] += g, state[7] += h; \
    } while (0)

/* The 64 rounds of one block. wk[t * stride] is word t of its message schedule plus the constant of round t. */
static inline void scalar_rounds(uint32_t state[8], const uint32_t *wk, size_t stride) {
    SCALAR_STATE(state);
#define SCALAR_READY(t) wk[(t) * stride]
    for (int t = 0; t < 64; t += 8) SCALAR_ROUNDS_8(SCALAR_READY, t);
    SCALAR_ADD_STATE(state);
}

/* Message schedule (FIPS 180-4 6.2.2 step 1) in a ring of 16 words: word t replaces word t - 16. */
static inline uint32_t scalar_expand(uint32_t w[16], int t) {
    uint32_t w15 = w[(t + 1) & 15], w2 = w[(t + 14) & 15];
    uint32_t sigma0 = scalar_ror(w15, 7) ^ scalar_ror(w15, 18) ^ w15 >> 3;
    uint32_t sigma1 = scalar_ror(w2, 17) ^ scalar_ror(w2, 19) ^ w2 >> 10;
    return w[t & 15] += sigma0 + w[(t + 9) & 15] + sigma1;
}

static inline void scalar_compress_block(uint32_t state[8], const uint8_t *block) {
    uint32_t w[16];
    SCALAR_STATE(state);
    for (int t = 0; t < 16; t++) w[t] = scalar_load_be(block + 4 * t);
    const uint32_t *k = mbsha256_k;
#define SCALAR_GIVEN(t) (w[t] + k[t])
#define SCALAR_EXPANDED(t) (scalar_expand(w, t) + k[t])
    SCALAR_ROUNDS_8(SCALAR_GIVEN, 0);
    SCALAR_ROUNDS_8(SCALAR_GIVEN, 8);
    for (int more = 0; more < 3; more++) {
        k += 16;
        SCALAR_ROUNDS_8(SCALAR_EXPANDED, 0);
        SCALAR_ROUNDS_8(SCALAR_EXPANDED, 8);
    }
    SCALAR_ADD_STATE(state);
}

#endif
