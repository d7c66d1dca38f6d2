/* The table of engines, one for each instruction set. */
#include "mbsha256/engines.h"

#include <string.h>

const uint32_t mbsha256_initial_state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* min_lanes is the number of busy lanes from which on a step of the wide kernel costs less than the same blocks in the
 * next kernel. benchmarks/digest_ratios.py --drain measures it. AVX-512 never hands over to the AVX2 kernel with 8
 * lanes, because that one is half as fast with the same number of busy lanes. */
static const mbsha256_engine ENGINES[] = {
#if defined(__x86_64__)
    {"avx512-shani", "avx512 x16, draining to shani x4", {{&mbsha256_avx512_x16, 8}, {&mbsha256_shani_x4, 1}}},
    {"avx512", "avx512 x16, draining to avx2 x1", {{&mbsha256_avx512_x16, 2}, {&mbsha256_avx2_x1, 1}}},
    {"shani", "shani x4", {{&mbsha256_shani_x4, 1}}},
    {"avx2", "avx2 x8, draining to avx2 x1", {{&mbsha256_avx2_x8, 3}, {&mbsha256_avx2_x1, 1}}},
#endif
    {"portable", "portable", {{&mbsha256_portable_x1, 1}}},
};

const mbsha256_engine *mbsha256_engine_find(const char *isa) {
    for (size_t i = 0; i < sizeof ENGINES / sizeof ENGINES[0]; i++) {
        if (strcmp(ENGINES[i].isa, isa) == 0) return &ENGINES[i];
    }
    return NULL;
}

const char *mbsha256_engine_kernel(const mbsha256_engine *engine) { return engine->kernel; }
