/* SHA-256 with SHA-NI: up to 4 lanes, interleaved.
 *
 * SHA256RNDS2 computes two rounds. Its result takes 4 cycles, but the processor can start one every 2 cycles (Zen 5).
 * With one lane the unit is idle half of the time: a block takes 128 cycles instead of 64. Measured cycles for a block
 * are 86 with two lanes, 76 with three, 71 with four, and no fewer with six. The 16 registers do not hold even two
 * lanes, so the message schedules are in memory; the unit does not have to wait for them. */
#include <immintrin.h>

#include "mbsha256/kernel.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns2") /* the order of the code below was found by measuring */
#endif

enum { LANES = 4, PREFETCH_BYTES = 512 };

typedef struct {
    __m128i abef, cdgh; /* operands of SHA256RNDS2: words a b e f and c d g h; a and c are highest */
    __m128i w[4];       /* the last 16 words of the message schedule; the oldest are in w[group & 3] */
} stream;

#define INLINE static inline __attribute__((always_inline))

INLINE void load_state(stream *s, const uint32_t *state) {
    __m128i dcba = _mm_load_si128((const __m128i *)state);       /* words a b c d, a lowest */
    __m128i hgfe = _mm_load_si128((const __m128i *)(state + 4)); /* words e f g h */
    __m128i badc = _mm_shuffle_epi32(dcba, 0xb1);                /* b a d c */
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);                /* h g f e */
    s->abef = _mm_alignr_epi8(badc, efgh, 8);                    /* f e b a */
    s->cdgh = _mm_blend_epi16(efgh, badc, 0xf0);                 /* h g d c */
}

INLINE void store_state(const stream *s, uint32_t *state) {
    __m128i abef = _mm_shuffle_epi32(s->abef, 0x1b); /* a b e f */
    __m128i ghcd = _mm_shuffle_epi32(s->cdgh, 0xb1); /* g h c d */
    _mm_store_si128((__m128i *)state, _mm_blend_epi16(abef, ghcd, 0xf0));
    _mm_store_si128((__m128i *)(state + 4), _mm_alignr_epi8(ghcd, abef, 8));
}

/* Makes words 4 * group .. 4 * group + 3 of the schedule: from the block, or, from group 4 on, from the 16 words
 * before. */
INLINE void expand(stream *s, int group, const uint8_t *block) {
    const __m128i byte_swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i *w = &s->w[group & 3];
    if (group < 4) {
        *w = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * group)), byte_swap);
    } else {
        __m128i w3 = s->w[(group + 3) & 3], w2 = s->w[(group + 2) & 3], w1 = s->w[(group + 1) & 3];
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(*w, w1), _mm_alignr_epi8(w3, w2, 4));
        *w = _mm_sha256msg2_epu32(sum, w3);
    }
}

/* Each step is done for all lanes before the next step. The words for the next four rounds are made between the two
 * SHA256RNDS2 of this group. */
#define FOR_LANES _Pragma("GCC unroll 4") for (int i = 0; i < lanes; i++)

INLINE void compress_block(stream *s, const uint8_t *const *data, size_t offset, const int lanes) {
    FOR_LANES expand(&s[i], 0, data[i] + offset);
#pragma GCC unroll 16
    for (int group = 0; group < 16; group++) {
        __m128i wk[LANES];
        FOR_LANES wk[i] = _mm_add_epi32(s[i].w[group & 3], _mm_load_si128((const __m128i *)mbsha256_k + group));
        FOR_LANES s[i].cdgh = _mm_sha256rnds2_epu32(s[i].cdgh, s[i].abef, wk[i]);
        if (group < 15) FOR_LANES expand(&s[i], group + 1, data[i] + offset);
        FOR_LANES s[i].abef = _mm_sha256rnds2_epu32(s[i].abef, s[i].cdgh, _mm_shuffle_epi32(wk[i], 0x0e));
    }
}

INLINE void compress_lanes(uint32_t *state, const uint8_t *const *data, const int lanes, size_t blocks) {
    stream s[LANES];
    FOR_LANES load_state(&s[i], state + 8 * i);
    for (size_t offset = 0; offset < 64 * blocks; offset += 64) {
        __m128i abef[LANES], cdgh[LANES];
        FOR_LANES {
            abef[i] = s[i].abef;
            cdgh[i] = s[i].cdgh;
            _mm_prefetch((const char *)data[i] + offset + PREFETCH_BYTES, _MM_HINT_T0);
        }
        compress_block(s, data, offset, lanes);
        FOR_LANES {
            s[i].abef = _mm_add_epi32(s[i].abef, abef[i]);
            s[i].cdgh = _mm_add_epi32(s[i].cdgh, cdgh[i]);
        }
    }
    FOR_LANES store_state(&s[i], state + 8 * i);
}

static void compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks) {
    switch (lane_count) {
        case 1: compress_lanes(state, data, 1, blocks); break;
        case 2: compress_lanes(state, data, 2, blocks); break;
        case 3: compress_lanes(state, data, 3, blocks); break;
        default: compress_lanes(state, data, 4, blocks);
    }
}

const mbsha256_kernel mbsha256_shani_x4 = {LANES, 1, 8, compress};
