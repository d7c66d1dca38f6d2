/* SHA-NI, several lanes interleaved.
 *
 * SHA256RNDS2 makes two rounds in 4 cycles, but a new one can begin every 2: one lane alone leaves half the unit idle.
 * Two lanes would fill it exactly; the third covers the gaps between their dependent steps.
 */
#include <immintrin.h>

#include "mbsha256/kernel.h"

typedef struct {
    __m128i abef, cdgh; /* the halves that SHA256RNDS2 works on: words a b e f and c d g h, a and c highest */
    __m128i w[4];       /* the last 16 words of the message schedule, oldest at (group & 3) */
} stream;

#define INLINE static inline __attribute__((always_inline))

INLINE void load_state(stream *s, const uint32_t *state) {
    __m128i dcba = _mm_load_si128((const __m128i *)state);       /* a b c d, a lowest */
    __m128i hgfe = _mm_load_si128((const __m128i *)(state + 4)); /* e f g h */
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

/* Four rounds of one lane; the words for group >= 4 are made here, four at a time. */
INLINE void four_rounds(stream *s, int group, const uint8_t *block) {
    const __m128i byte_swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i *w = &s->w[group & 3];
    if (group < 4) {
        *w = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * group)), byte_swap);
    } else {
        __m128i w3 = s->w[(group + 3) & 3], w2 = s->w[(group + 2) & 3], w1 = s->w[(group + 1) & 3];
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(*w, w1), _mm_alignr_epi8(w3, w2, 4));
        *w = _mm_sha256msg2_epu32(sum, w3);
    }
    __m128i wk = _mm_add_epi32(*w, _mm_load_si128((const __m128i *)(mbsha256_k + 4 * group)));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, wk);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

INLINE void compress_lanes(uint32_t *state, const uint8_t *const *data, int lanes, size_t blocks) {
    stream s[3];
    for (int i = 0; i < lanes; i++) load_state(&s[i], state + 8 * i);
    for (size_t b = 0; b < blocks; b++) {
        __m128i abef[3], cdgh[3];
        for (int i = 0; i < lanes; i++) {
            abef[i] = s[i].abef;
            cdgh[i] = s[i].cdgh;
        }
#pragma GCC unroll 16
        for (int group = 0; group < 16; group++) {
#pragma GCC unroll 3
            for (int i = 0; i < lanes; i++) four_rounds(&s[i], group, data[i] + 64 * b);
        }
        for (int i = 0; i < lanes; i++) {
            s[i].abef = _mm_add_epi32(s[i].abef, abef[i]);
            s[i].cdgh = _mm_add_epi32(s[i].cdgh, cdgh[i]);
        }
    }
    for (int i = 0; i < lanes; i++) store_state(&s[i], state + 8 * i);
}

static void compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks) {
    switch (lane_count) {
        case 1: compress_lanes(state, data, 1, blocks); break;
        case 2: compress_lanes(state, data, 2, blocks); break;
        default: compress_lanes(state, data, 3, blocks);
    }
}

const mbsha256_kernel mbsha256_shani_x3 = {3, 1, 8, compress};
