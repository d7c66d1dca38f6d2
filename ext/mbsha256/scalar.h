/* One lane in general registers. Included by several arch folders, each of which compiles it with its own flags. */
#ifndef BATCHSEAL_MBSHA256_SCALAR_H
#define BATCHSEAL_MBSHA256_SCALAR_H

#include <string.h>

#include "mbsha256/kernel.h"

static inline uint32_t scalar_ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static inline uint32_t scalar_load_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* One round (FIPS 180-4 6.2.2 step 3) with the variables renamed instead of moved: new e is left in d, new a in h. */
#define SCALAR_ROUND(a, b, c, d, e, f, g, h, wk)                                                        \
    do {                                                                                                \
        uint32_t sum1 = scalar_ror(e, 6) ^ scalar_ror(e, 11) ^ scalar_ror(e, 25);                       \
        uint32_t sum0 = scalar_ror(a, 2) ^ scalar_ror(a, 13) ^ scalar_ror(a, 22);                       \
        h += (wk) + (g ^ (e & (f ^ g)));                                                                \
        d += h + sum1;                                                                                  \
        h += sum1 + ((a & b) | (c & (a | b))) + sum0;                                                   \
    } while (0)

#define SCALAR_ROUNDS_8(s, WK, t)                                            \
    do {                                                                     \
        SCALAR_ROUND(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], WK(t));     \
        SCALAR_ROUND(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], WK(t + 1)); \
        SCALAR_ROUND(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], WK(t + 2)); \
        SCALAR_ROUND(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], WK(t + 3)); \
        SCALAR_ROUND(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], WK(t + 4)); \
        SCALAR_ROUND(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], WK(t + 5)); \
        SCALAR_ROUND(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], WK(t + 6)); \
        SCALAR_ROUND(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], WK(t + 7)); \
    } while (0)

/* The schedule is made as it is used, in a ring of 16 words. */
static inline uint32_t scalar_expand(uint32_t w[16], unsigned t) {
    uint32_t w15 = w[(t + 1) & 15], w2 = w[(t + 14) & 15];
    uint32_t sigma0 = scalar_ror(w15, 7) ^ scalar_ror(w15, 18) ^ w15 >> 3;
    uint32_t sigma1 = scalar_ror(w2, 17) ^ scalar_ror(w2, 19) ^ w2 >> 10;
    return w[t & 15] += sigma0 + w[(t + 9) & 15] + sigma1;
}

static inline void scalar_compress_block(uint32_t state[8], const uint8_t *block) {
    uint32_t w[16], s[8];
    memcpy(s, state, sizeof s);
    for (unsigned t = 0; t < 16; t++) w[t] = scalar_load_be(block + 4 * t);
#define SCALAR_FIRST(t) (w[t] + mbsha256_k[t])
    SCALAR_ROUNDS_8(s, SCALAR_FIRST, 0);
    SCALAR_ROUNDS_8(s, SCALAR_FIRST, 8);
    for (unsigned t = 16; t < 64; t += 16) {
        const uint32_t *k = mbsha256_k + t;
#define SCALAR_RING(i) (scalar_expand(w, i) + k[i])
        SCALAR_ROUNDS_8(s, SCALAR_RING, 0);
        SCALAR_ROUNDS_8(s, SCALAR_RING, 8);
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

#endif
