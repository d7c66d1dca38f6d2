/* What a kernel is to the manager. */
#ifndef BATCHSEAL_MBSHA256_KERNEL_H
#define BATCHSEAL_MBSHA256_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Compresses `blocks` (>= 1) blocks of each of the lanes 0 .. lane_count-1 (1 <= lane_count <= lanes), lane i reading
 * from data[i], which may be misaligned. data[] has an entry for every lane of the kernel: those beyond lane_count
 * repeat a readable one, their state is undefined. state[] is aligned to 64 bytes, word w of lane i stands at state[w *
 * word_stride + i * lane_stride]. */
typedef void mbsha256_compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks);

typedef struct {
    size_t lanes;
    size_t word_stride, lane_stride;
    mbsha256_compress *compress;
} mbsha256_kernel;

extern const mbsha256_kernel mbsha256_portable_x1;
extern const mbsha256_kernel mbsha256_shani_x4;
extern const mbsha256_kernel mbsha256_avx2_x8;
extern const mbsha256_kernel mbsha256_avx2_x1; /* scalar rounds, AVX2 message schedule */
extern const mbsha256_kernel mbsha256_avx512_x16;

/* FIPS 180-4 4.2.2, aligned so that four constants are one SSE operand. */
extern const uint32_t mbsha256_k[64];

/* Each constant eight times: AVX2 has no operand that is broadcast as it is added. */
extern const uint32_t mbsha256_k_x8[64 * 8];

#endif
