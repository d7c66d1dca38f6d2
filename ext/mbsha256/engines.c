/* The table of engines, and which of two for the same instruction set is faster here. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "mbsha256/engines.h"

#include <string.h>
#include <time.h>

const uint32_t mbsha256_initial_state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* min_lanes is the number of busy lanes from which on a step of the wide kernel costs less than the same blocks in the
 * next kernel. benchmarks/digest_ratios.py --drain measures it. AVX-512 never hands over to the AVX2 kernel with 8
 * lanes, because that one is half as fast with the same number of busy lanes. Of engines for one instruction set the first
 * counts unless a later one proves faster. */
static const mbsha256_engine ENGINES[] = {
#if defined(__x86_64__)
    {"avx512-shani", "avx512 x16, draining to shani x3", {{&mbsha256_avx512_x16, 8}, {&mbsha256_shani_x3, 1}}},
    {"avx512-shani", "avx512 x16, draining to shani x4", {{&mbsha256_avx512_x16, 8}, {&mbsha256_shani_x4, 1}}},
    {"avx512", "avx512 x16, draining to avx2 x1", {{&mbsha256_avx512_x16, 2}, {&mbsha256_avx2_x1, 1}}},
    {"shani", "shani x3", {{&mbsha256_shani_x3, 1}}},
    {"shani", "shani x4", {{&mbsha256_shani_x4, 1}}},
    {"avx2", "avx2 x8, draining to avx2 x1", {{&mbsha256_avx2_x8, 3}, {&mbsha256_avx2_x1, 1}}},
#endif
    {"portable", "portable", {{&mbsha256_portable_x1, 1}}},
};

enum { ENGINE_COUNT = sizeof ENGINES / sizeof ENGINES[0] };

const mbsha256_engine *mbsha256_engine_find(const char *isa) {
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(ENGINES[i].isa, isa) == 0) return &ENGINES[i];
    }
    return NULL;
}

const mbsha256_engine *mbsha256_engine_next(const mbsha256_engine *engine) {
    const mbsha256_engine *next = engine + 1;
    return next < ENGINES + ENGINE_COUNT && strcmp(next->isa, engine->isa) == 0 ? next : NULL;
}

const mbsha256_kernel *mbsha256_last_kernel(const mbsha256_engine *engine) {
    size_t stage = 0;
    while (stage + 1 < MBSHA256_MAX_STAGES && engine->stages[stage + 1].kernel) stage++;
    return engine->stages[stage].kernel;
}

/* --- which is faster ----------------------------------------------------------------------------------------------- */

enum { TIMED_BLOCKS = 32, TIMED_ROUNDS = 10 }; /* about 50 microseconds for two engines */

/* A later engine must be so much faster than the one before: a measurement is not more exact, and fewer lanes are
 * better for few messages. */
static const double WORTH_A_CHANGE = 0.97;

/* Nanoseconds for each block while all lanes of the kernel are busy. */
static double time_blocks(const mbsha256_kernel *kernel) {
    static const uint8_t blocks[TIMED_BLOCKS * MBSHA256_BLOCK_BYTES];
    _Alignas(MBSHA256_SCRATCH_ALIGN) uint32_t state[8 * MBSHA256_MAX_LANES] = {0};
    const uint8_t *data[MBSHA256_MAX_LANES];
    struct timespec begin, end;
    for (size_t i = 0; i < kernel->lanes; i++) data[i] = blocks;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    kernel->compress(state, data, kernel->lanes, TIMED_BLOCKS);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double taken = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    return taken / (double)(kernel->lanes * TIMED_BLOCKS);
}

static void keep_least(double *least, double taken) {
    if (taken < *least) *least = taken;
}

const mbsha256_engine *mbsha256_engine_fastest(const char *isa) {
    const mbsha256_engine *fastest = mbsha256_engine_find(isa);
    if (!fastest) return NULL;
    for (const mbsha256_engine *next = fastest; (next = mbsha256_engine_next(next));) {
        /* They take turns, and the least time of each counts: an interruption spoils one round. */
        const mbsha256_kernel *one = mbsha256_last_kernel(fastest), *other = mbsha256_last_kernel(next);
        double before = time_blocks(one), after = time_blocks(other);
        for (int round = 1; round < TIMED_ROUNDS; round++) {
            keep_least(&before, time_blocks(one));
            keep_least(&after, time_blocks(other));
        }
        if (after < before * WORTH_A_CHANGE) fastest = next;
    }
    return fastest;
}

const char *mbsha256_engine_kernel(const mbsha256_engine *engine) { return engine->kernel; }
