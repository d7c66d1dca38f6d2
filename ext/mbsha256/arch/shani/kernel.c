/* SHA-256 with SHA-NI: up to 4 lanes, interleaved.
 *
 * SHA256RNDS2 computes two rounds, and the next one of the same lane waits 4 cycles for it. So one lane alone takes 128
 * cycles for a block, and other lanes can use the unit meanwhile. With three lanes a block takes what the processor needs
 * to issue the operations: on Zen 3 at least 50 cycles, because SHA256MSG1 and SHA256MSG2 count as two and four. A busy
 * sibling thread of the core leaves half of the issue slots. Hence no operation here only moves data from one register
 * to another: instructions are VEX-encoded, constants are memory operands, and each lane keeps in registers what is
 * overwritten next. The figures are in ARCHITECTURE.md. */
#include <immintrin.h>

#include "mbsha256/kernel.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns2") /* the order of the code below was found by measuring */
#endif

enum { MAX_LANES = 4, PREFETCH_BYTES = 512 };

typedef struct {
    __m128i abef, cdgh; /* operands of SHA256RNDS2: words a b e f and c d g h; a and c are highest */
    __m128i w[2];       /* the last 8 words of the message schedule; words 4 * group .. are in w[group & 1] */
    __m128i sum[2];     /* w[t - 16] + sigma0(w[t - 15]) for the 8 words that follow */
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

#define IN_MEMORY(x) __asm__("" : "+m"(x)) /* what is used once in a block shall not take a register */

/* The words of a group plus their constants. The compiler would load the constants once for all lanes, into a register. */
INLINE __m128i add_constants(__m128i words, int group) {
    __m128i sum;
    __asm__("vpaddd %2, %1, %0" : "=x"(sum) : "x"(words), "m"(((const __m128i *)mbsha256_k)[group]));
    return sum;
}

/* Makes words 4 * group .. 4 * group + 3 of the schedule: from the block, or, from group 4 on, from the 16 words
 * before. The words that they replace in w have a last use, in the words of two groups later. */
INLINE void expand(stream *s, int group, const uint8_t *block) {
    const __m128i byte_swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i *older = &s->w[group & 1], newer = s->w[(group + 1) & 1], *sum = &s->sum[group & 1], words;
    if (group < 4) {
        words = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * group)), byte_swap);
    } else {
        words = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_alignr_epi8(newer, *older, 4), *sum), newer);
    }
    if (group >= 2 && group < 14) *sum = _mm_sha256msg1_epu32(*older, newer);
    *older = words;
}

#define FOR_LANES _Pragma("GCC unroll 4") for (int i = 0; i < lanes; i++)

INLINE void compress_lanes(uint32_t *state, const uint8_t *const *data, const int lanes, size_t blocks) {
    stream s[MAX_LANES];
    FOR_LANES load_state(&s[i], state + 8 * i);
    for (size_t offset = 0; offset < 64 * blocks; offset += 64) {
        __m128i abef[MAX_LANES], cdgh[MAX_LANES];
        FOR_LANES {
            abef[i] = s[i].abef;
            cdgh[i] = s[i].cdgh;
            IN_MEMORY(abef[i]);
            IN_MEMORY(cdgh[i]);
            _mm_prefetch((const char *)data[i] + offset + PREFETCH_BYTES, _MM_HINT_T0);
            expand(&s[i], 0, data[i] + offset);
        }
#pragma GCC unroll 16
        for (int group = 0; group < 16; group++) {
            FOR_LANES {
                __m128i wk = add_constants(s[i].w[group & 1], group);
                s[i].cdgh = _mm_sha256rnds2_epu32(s[i].cdgh, s[i].abef, wk);
                if (group < 15) expand(&s[i], group + 1, data[i] + offset);
                s[i].abef = _mm_sha256rnds2_epu32(s[i].abef, s[i].cdgh, _mm_shuffle_epi32(wk, 0x0e));
            }
        }
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

const mbsha256_kernel mbsha256_shani_x3 = {3, 1, 8, compress};
const mbsha256_kernel mbsha256_shani_x4 = {4, 1, 8, compress};
