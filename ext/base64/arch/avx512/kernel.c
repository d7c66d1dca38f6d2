#include "base64/kernel.h"

#include <immintrin.h>

#include "base64/tables.h"

/* No VBMI: Skylake has F, BW, VL, DQ and CD only. */
#define LANES(...) _mm512_broadcast_i32x4(_mm_setr_epi8(__VA_ARGS__))

/* In halves: every whole load would straddle two cache lines, which costs more than the insertion. */
static inline __m512i load_halves(const uint8_t *p) {
    __m256i low = _mm256_loadu_si256((const __m256i *)p), high = _mm256_loadu_si256((const __m256i *)(p + 32));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

static inline __m512i values_of(__m512i chars, __mmask64 *bad) {
    const __m512i class_of_high = LANES(CLASS_OF_HIGH);
    const __m512i class_refuses = LANES(CLASS_REFUSES);
    const __m512i add_by_high = LANES(ADD_BY_HIGH);
    const __m512i nibble = _mm512_set1_epi8(0x0f);
    __m512i high = _mm512_and_si512(_mm512_srli_epi32(chars, 4), nibble);
    __m512i low = _mm512_and_si512(chars, nibble);
    *bad = _mm512_test_epi8_mask(_mm512_shuffle_epi8(class_of_high, high), _mm512_shuffle_epi8(class_refuses, low));
    __m512i values = _mm512_add_epi8(chars, _mm512_shuffle_epi8(add_by_high, high));
    /* '+' and '/' share a high nibble: 19 makes 62 of the one, 66 of the other. */
    return _mm512_mask_mov_epi8(values, _mm512_cmpeq_epi8_mask(chars, _mm512_set1_epi8('/')), _mm512_set1_epi8(63));
}

/* 64 values, 00aaaaaa 00bbbbbb 00cccccc 00dddddd a quad, to 48 bytes in front of the register. */
static inline __m512i pack(__m512i values) {
    __m512i pairs = _mm512_maddubs_epi16(values, _mm512_set1_epi32(0x01400140)); /* aaaaaabbbbbb, ccccccdddddd */
    /* aaaaaabbbbbbccccccdddddd, lowest byte in front */
    __m512i triples = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00011000));
    __m512i lanes = _mm512_shuffle_epi8(triples, LANES(THREE_OF_FOUR));
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15), lanes);
}

static size_t decode(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 128; at += 128, dst += 96) {
        _mm_prefetch((const char *)src + at + PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)src + at + PREFETCH_BYTES + 64, _MM_HINT_T0);
        __mmask64 bad0, bad1;
        __m512i first = values_of(load_halves(src + at), &bad0);
        __m512i second = values_of(load_halves(src + at + 64), &bad1);
        if (bad0 | bad1) break;
        /* The last store ends 112 bytes on, 16 beyond its 96: within BASE64_DECODE_SLACK. */
        _mm512_storeu_si512(dst, pack(first));
        _mm512_storeu_si512(dst + 48, pack(second));
    }
    while (n - at >= 4) {
        size_t block = n - at < 64 ? n - at : 64;
        /* What the mask leaves out reads as 0, which is not in the alphabet and ends the run. */
        __m512i chars = _mm512_maskz_loadu_epi8(UINT64_MAX >> (64 - block), src + at);
        __mmask64 bad;
        _mm512_storeu_si512(dst, pack(values_of(chars, &bad)));
        /* Quads do not touch each other: those in front of the first bad character are right. */
        if (bad) return at + ((size_t)__builtin_ctzll(bad) & ~(size_t)3);
        at += 64;
        dst += 48;
    }
    return at;
}

static inline __m512i encode_block(__m512i in) {
    /* Twelve bytes to a lane. */
    in = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12), in);
    in = _mm512_shuffle_epi8(in, LANES(TRIPLES_TO_WORDS));
    __m512i even =
        _mm512_mulhi_epu16(_mm512_and_si512(in, _mm512_set1_epi32(0x0fc0fc00)), _mm512_set1_epi32(0x04000040));
    __m512i odd =
        _mm512_mullo_epi16(_mm512_and_si512(in, _mm512_set1_epi32(0x003f03f0)), _mm512_set1_epi32(0x01000010));
    __m512i values = _mm512_or_si512(even, odd);
    __m512i row = _mm512_subs_epu8(values, _mm512_set1_epi8(51));
    row = _mm512_mask_mov_epi8(row, _mm512_cmplt_epu8_mask(values, _mm512_set1_epi8(26)), _mm512_set1_epi8(13));
    return _mm512_add_epi8(values, _mm512_shuffle_epi8(LANES(ADD_BY_ROW), row));
}

static void encode(const uint8_t *src, size_t n, uint8_t *dst) {
    /* The load ends 64 bytes on, 16 beyond its 48. */
    for (; n >= 64; src += 48, n -= 48, dst += 64) {
        _mm_prefetch((const char *)src + PREFETCH_BYTES, _MM_HINT_T0);
        _mm512_storeu_si512(dst, encode_block(_mm512_loadu_si512(src)));
    }
    while (n > 0) {
        size_t block = n < 48 ? n : 48;
        __m512i in = _mm512_maskz_loadu_epi8(UINT64_MAX >> (64 - block), src);
        _mm512_mask_storeu_epi8(dst, UINT64_MAX >> (64 - block / 3 * 4), encode_block(in));
        src += block;
        n -= block;
        dst += block / 3 * 4;
    }
}

const base64_kernel base64_kernel_avx512 = {"avx512", decode, encode};
