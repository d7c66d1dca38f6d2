/* What this processor can run, and the instruction sets that kernels are chosen by.
 *
 * Owns CPUID and XGETBV: nothing else in ext/ asks the processor. A feature counts only if the operating system also
 * saves the registers it needs (Intel SDM vol. 1, 14.3 and 15.2).
 */
#ifndef BATCHSEAL_CPU_H
#define BATCHSEAL_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CPU_AVX2 = 1u,   /* and the system saves YMM */
    CPU_BMI2 = 2u,   /* BMI1 and BMI2 */
    CPU_SHANI = 4u,  /* and SSSE3, SSE4.1, which every SHA-NI kernel uses beside it */
    CPU_AVX512 = 8u, /* F, BW, VL, DQ, CD (Skylake-SP), and the system saves ZMM and mask registers */
};

/* One instruction set as the user names it: every native module has a kernel for each. */
typedef struct {
    const char *name;
    uint32_t needs; /* CPU_* bits */
} cpu_isa;

/* CPU_* bits of this processor. Asked once, then cached; safe from any thread. */
uint32_t cpu_features(void);

/* All instruction sets that this build knows, best first; the last is "portable", which needs nothing. */
const cpu_isa *cpu_isas(size_t *count);

/* NULL if there is none of that name. */
const cpu_isa *cpu_isa_find(const char *name);

bool cpu_isa_supported(const cpu_isa *isa);

/* The first of cpu_isas() that this processor supports. */
const cpu_isa *cpu_isa_best(void);

/* Name of a single CPU_* bit, for messages ("AVX2"). */
const char *cpu_feature_name(uint32_t bit);

#endif
