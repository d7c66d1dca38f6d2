/* What the manager expects of a kernel. Each arch/<isa>/ folder has one or two. */
#ifndef BATCHSEAL_MBSHA256_KERNEL_H
#define BATCHSEAL_MBSHA256_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Compresses `blocks` (>= 1) blocks of each of the lanes 0 .. lane_count - 1 (1 <= lane_count <= lanes). Lane i reads
 * from data[i], which need not be aligned. data[] has an entry for every lane of the kernel; from lane_count on the
 * entries point to memory that can be read, and the state of these lanes is undefined. state[] is aligned to 64 bytes.
 * Word w of lane i is state[w * word_stride + i * lane_stride]. */
typedef void mbsha256_compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks);

typedef struct {
    size_t lanes;
    size_t word_stride, lane_stride;
    mbsha256_compress *compress;
} mbsha256_kernel;

extern const mbsha256_kernel mbsha256_portable_x1;
extern const mbsha256_kernel mbsha256_shani_x3;
extern const mbsha256_kernel mbsha256_shani_x4;
extern const mbsha256_kernel mbsha256_avx2_x8;
extern const mbsha256_kernel mbsha256_avx2_x1; /* rounds in general registers, message schedule with AVX2 */
extern const mbsha256_kernel mbsha256_avx512_x16;

/* The constants of FIPS 180-4 4.2.2, aligned so that four of them can be one SSE operand. */
extern const uint32_t mbsha256_k[64];

/* Each constant eight times, because AVX2 cannot add one number from memory to all words of a register. */
extern const uint32_t mbsha256_k_x8[64 * 8];

#endif
