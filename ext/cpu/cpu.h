/* Detects what this processor can run, and lists the instruction sets by which kernels are selected.
 *
 * Nothing else in ext/ uses CPUID or XGETBV. A feature counts only if the operating system also saves the registers
 * that it needs (Intel SDM vol. 1, 14.3 and 15.2). */
#ifndef BATCHSEAL_CPU_H
#define BATCHSEAL_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CPU_AVX2 = 1u,   /* AVX2, and the operating system saves the YMM registers */
    CPU_BMI2 = 2u,   /* BMI1 and BMI2 */
    CPU_SHANI = 4u,  /* SHA-NI, and SSSE3 and SSE4.1, which every SHA-NI kernel uses too */
    CPU_AVX512 = 8u, /* F, BW, VL, DQ and CD (Skylake-SP), and the ZMM and mask registers are saved */
};

/* One instruction set under the name that the user knows. Every native module has a kernel for each of them. */
typedef struct {
    const char *name;
    uint32_t needs; /* CPU_* bits */
} cpu_isa;

/* The CPU_* bits of this processor. The first call detects them, later calls read a cache. Safe from any thread. */
uint32_t cpu_features(void);

/* All instruction sets that this build knows, best first. The last is "portable", which needs no feature. */
const cpu_isa *cpu_isas(size_t *count);

/* Returns NULL if no instruction set has this name. */
const cpu_isa *cpu_isa_find(const char *name);

bool cpu_isa_supported(const cpu_isa *isa);

/* The best instruction set that this processor supports. */
const cpu_isa *cpu_isa_best(void);

/* The name of a single CPU_* bit for messages, such as "AVX2". */
const char *cpu_feature_name(uint32_t bit);

#endif
