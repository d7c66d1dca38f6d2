/* base64 with AVX-512: 64 characters in a register. */
#include "base64/kernel.h"

#include <immintrin.h>

#include "base64/tables.h"

/* This kernel does not use VBMI, because Skylake has only F, BW, VL, DQ and CD. */
#define LANES(...) _mm512_broadcast_i32x4(_mm_setr_epi8(__VA_ARGS__))

/* Loads 64 bytes in two halves. One load of 64 bytes would nearly always cross a cache line, which costs more than
 * joining the halves. */
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
    /* '+' and '/' have the same high nibble. Adding 19 gives 62 for '+' but 66 for '/', so 63 is set here. */
    return _mm512_mask_mov_epi8(values, _mm512_cmpeq_epi8_mask(chars, _mm512_set1_epi8('/')), _mm512_set1_epi8(63));
}

/* Packs 64 values (each quad is 00aaaaaa 00bbbbbb 00cccccc 00dddddd) into the first 48 bytes of the register. */
static inline __m512i pack(__m512i values) {
    /* 16 bits each: aaaaaabbbbbb, ccccccdddddd */
    __m512i pairs = _mm512_maddubs_epi16(values, _mm512_set1_epi32(0x01400140));
    /* 32 bits each: aaaaaabbbbbbccccccdddddd; the lowest byte is first in memory */
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
        /* The last store ends at byte 112, which is 16 bytes behind the 96 decoded ones: within BASE64_DECODE_SLACK. */
        _mm512_storeu_si512(dst, pack(first));
        _mm512_storeu_si512(dst + 48, pack(second));
    }
    while (n - at >= 4) {
        size_t block = n - at < 64 ? n - at : 64;
        /* The mask sets the bytes behind the end to 0, which is not in the alphabet, so decoding stops there. */
        __m512i chars = _mm512_maskz_loadu_epi8(UINT64_MAX >> (64 - block), src + at);
        __mmask64 bad;
        _mm512_storeu_si512(dst, pack(values_of(chars, &bad)));
        /* Each quad is decoded on its own, so those before the first wrong character are right. */
        if (bad) return at + ((size_t)__builtin_ctzll(bad) & ~(size_t)3);
        at += 64;
        dst += 48;
    }
    return at;
}

static inline __m512i encode_block(__m512i in) {
    /* Puts twelve bytes into each 128-bit lane. */
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
    /* A block encodes 48 bytes, but its load ends at byte 64. */
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
