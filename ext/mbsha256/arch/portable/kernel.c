/* SHA-256 in plain C, one lane. */
#include "mbsha256/scalar.h"

static void compress(uint32_t *state, const uint8_t *const *data, size_t lane_count, size_t blocks) {
    (void)lane_count;
    for (size_t b = 0; b < blocks; b++) scalar_compress_block(state, data[0] + 64 * b);
}

const mbsha256_kernel mbsha256_portable_x1 = {1, 1, 8, compress};
