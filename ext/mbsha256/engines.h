/* An engine: the kernels that an instruction set uses, and when the first hands over to the second. */
#ifndef BATCHSEAL_MBSHA256_ENGINES_H
#define BATCHSEAL_MBSHA256_ENGINES_H

#include "mbsha256/kernel.h"
#include "mbsha256/mbsha256.h"

enum { MBSHA256_MAX_STAGES = 2 };

typedef struct {
    const mbsha256_kernel *kernel; /* NULL after the last stage */
    size_t min_lanes;              /* the next stage takes over when no job waits and fewer lanes than this are busy */
} mbsha256_stage;

struct mbsha256_engine {
    const char *isa, *kernel;
    mbsha256_stage stages[MBSHA256_MAX_STAGES]; /* the last stage has min_lanes 1 */
};

/* The kernel that works on the last messages, and on one alone. */
const mbsha256_kernel *mbsha256_last_kernel(const mbsha256_engine *engine);

/* FIPS 180-4 5.3.3 */
extern const uint32_t mbsha256_initial_state[8];

#endif
