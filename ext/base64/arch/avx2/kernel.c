/* base64 with AVX2: 32 characters in a register. */
#include "base64/kernel.h"

#include <immintrin.h>

#include "base64/tables.h"

#define LANES(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))

/* The values of 32 characters. *bad gets a byte that is not zero for each character outside the alphabet. */
static inline __m256i values_of(__m256i chars, __m256i *bad) {
    const __m256i class_of_high = LANES(CLASS_OF_HIGH);
    const __m256i class_refuses = LANES(CLASS_REFUSES);
    const __m256i add_by_high = LANES(ADD_BY_HIGH);
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(chars, 4), nibble);
    __m256i low = _mm256_and_si256(chars, nibble);
    *bad = _mm256_and_si256(_mm256_shuffle_epi8(class_of_high, high), _mm256_shuffle_epi8(class_refuses, low));
    __m256i slash = _mm256_cmpeq_epi8(chars, _mm256_set1_epi8('/')); /* -1 for each '/', else 0 */
    return _mm256_add_epi8(chars, _mm256_shuffle_epi8(add_by_high, _mm256_add_epi8(high, slash)));
}

/* Packs 32 values (each quad is 00aaaaaa 00bbbbbb 00cccccc 00dddddd) and stores them as 24 bytes. The second store ends
 * 4 bytes behind them: within BASE64_DECODE_SLACK. Two stores are cheaper than joining the halves of the register,
 * since all shuffles share one port on Intel's processors and that one takes two operations on AMD's. */
static inline void store_packed(uint8_t *dst, __m256i values) {
    /* 16 bits each: aaaaaabbbbbb, ccccccdddddd */
    __m256i pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
    /* 32 bits each: aaaaaabbbbbbccccccdddddd; the lowest byte is first in memory */
    __m256i triples = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
    __m256i lanes = _mm256_shuffle_epi8(triples, LANES(THREE_OF_FOUR));
    _mm_storeu_si128((__m128i *)dst, _mm256_castsi256_si128(lanes));
    _mm_storeu_si128((__m128i *)(dst + 12), _mm256_extracti128_si256(lanes, 1));
}

static size_t decode(const uint8_t *src, size_t n, uint8_t *dst) {
    size_t at = 0;
    for (; n - at >= 128; at += 128, dst += 96) {
        _mm_prefetch((const char *)src + at + PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)src + at + PREFETCH_BYTES + 64, _MM_HINT_T0);
        __m256i bad[4], values[4];
        for (int i = 0; i < 4; i++)
            values[i] = values_of(_mm256_loadu_si256((const __m256i *)(src + at + 32 * i)), &bad[i]);
        __m256i any = _mm256_or_si256(_mm256_or_si256(bad[0], bad[1]), _mm256_or_si256(bad[2], bad[3]));
        if (!_mm256_testz_si256(any, any)) break;
        for (int i = 0; i < 4; i++) store_packed(dst + 24 * i, values[i]);
    }
    for (; n - at >= 32; at += 32, dst += 24) {
        __m256i bad;
        __m256i values = values_of(_mm256_loadu_si256((const __m256i *)(src + at)), &bad);
        store_packed(dst, values);
        uint32_t good = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bad, _mm256_setzero_si256()));
        /* Each quad is decoded on its own, so those before the first wrong character are right. */
        if (good != UINT32_MAX) return at + ((size_t)__builtin_ctz(~good) & ~(size_t)3);
    }
    return at + base64_kernel_portable.decode(src + at, n - at, dst);
}

static inline __m256i encode_block(__m256i in) {
    in = _mm256_shuffle_epi8(in, LANES(TRIPLES_TO_WORDS));
    __m256i even =
        _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
    __m256i odd =
        _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
    __m256i values = _mm256_or_si256(even, odd);
    __m256i row = _mm256_subs_epu8(values, _mm256_set1_epi8(51));
    __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), values);
    row = _mm256_or_si256(row, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    return _mm256_add_epi8(values, _mm256_shuffle_epi8(LANES(ADD_BY_ROW), row));
}

static void encode(const uint8_t *src, size_t n, uint8_t *dst) {
    /* A block encodes 24 bytes, but its second load ends at byte 28. */
    for (; n >= 28; src += 24, n -= 24, dst += 32) {
        _mm_prefetch((const char *)src + PREFETCH_BYTES, _MM_HINT_T0);
        __m128i first = _mm_loadu_si128((const __m128i *)src), second = _mm_loadu_si128((const __m128i *)(src + 12));
        _mm256_storeu_si256((__m256i *)dst, encode_block(_mm256_set_m128i(second, first)));
    }
    base64_kernel_portable.encode(src, n, dst);
}

const base64_kernel base64_kernel_avx2 = {"avx2", decode, encode};
