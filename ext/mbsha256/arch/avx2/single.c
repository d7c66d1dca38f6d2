/* SHA-256 with AVX2: one lane, for the end of a batch, when most of 8 lanes would be idle.
 *
 * The message schedule does not depend on the state. So it is computed for 8 blocks of the message at once, as if they
 * were 8 lanes. The rounds follow block by block in general registers, with RORX. */
#include "mbsha256/arch/avx2/words.h"
#include "mbsha256/scalar.h"

enum { AT_ONCE = 8, PREFETCH_BYTES = 1024 };

/* Sets wk[8 * t + i] to word t of block i plus the constant of round t. */
INLINE void schedule(uint32_t *wk, const uint8_t *data) {
    const __m256i *k = (const __m256i *)mbsha256_k_x8;
    __m256i *out = (__m256i *)wk, w[16];
    const uint8_t *block[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) block[i] = data + 64 * i;
#pragma GCC unroll 4
    for (int chunk = 0; chunk < 4; chunk++) transpose_chunk(w + 4 * chunk, block, 16 * chunk);
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) out[t] = ADD(w[t], k[t]);
    for (int t = 16; t < 64; t += 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            EXPAND(i);
            out[t + i] = ADD(w[i], k[t + i]);
        }
    }
}

static void compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks) {
    (void)lane_count;
    _Alignas(64) uint32_t wk[64 * AT_ONCE];
    const uint8_t *at = data[0];
    for (; blocks >= AT_ONCE; blocks -= AT_ONCE, at += 64 * AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) _mm_prefetch((const char *)at + 64 * i + PREFETCH_BYTES, _MM_HINT_T0);
        schedule(wk, at);
        for (int i = 0; i < AT_ONCE; i++) scalar_rounds(state, wk + i, AT_ONCE);
    }
    for (; blocks > 0; blocks--, at += 64) scalar_compress_block(state, at);
    _mm256_zeroupper(); /* upper halves that are not zero would slow down later SSE code */
}

const mbsha256_kernel mbsha256_avx2_x1 = {1, 1, 8, compress};
