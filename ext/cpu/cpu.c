/* Asks the processor for its features once, and keeps the list of instruction sets. */
#include "cpu/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of XCR0: 1 is SSE, 2 is AVX (YMM), 5 to 7 are AVX-512 (mask registers, upper halves of ZMM0-15, ZMM16-31). */
enum { XCR0_YMM = 0x06, XCR0_ZMM = 0xe6 };

/* CPUID.1:ECX */
enum { ECX1_SSSE3 = 1u << 9, ECX1_SSE41 = 1u << 19, ECX1_OSXSAVE = 1u << 27 };

/* CPUID.(7,0):EBX */
enum { EBX7_BMI1 = 1u << 3, EBX7_AVX2 = 1u << 5, EBX7_BMI2 = 1u << 8, EBX7_SHA = 1u << 29 };
static const uint32_t EBX7_AVX512 =
    1u << 16 /* F */ | 1u << 17 /* DQ */ | 1u << 28 /* CD */ | 1u << 30 /* BW */ | 1u << 31 /* VL */;

static uint32_t xcr0(void) {
    uint32_t low, high;
    /* The intrinsic would need -mxsave, which x86-64-v1 does not include. */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

static uint32_t detect(void) {
    uint32_t eax, ebx, ecx, edx, ecx1, features = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx1, &edx) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
    uint32_t saved = ecx1 & ECX1_OSXSAVE ? xcr0() : 0;

    if (ebx & EBX7_AVX2 && (saved & XCR0_YMM) == XCR0_YMM) features |= CPU_AVX2;
    if (ebx & EBX7_BMI1 && ebx & EBX7_BMI2) features |= CPU_BMI2;
    if (ebx & EBX7_SHA && ecx1 & ECX1_SSSE3 && ecx1 & ECX1_SSE41) features |= CPU_SHANI;
    if ((ebx & EBX7_AVX512) == EBX7_AVX512 && (saved & XCR0_ZMM) == XCR0_ZMM) features |= CPU_AVX512;
    return features;
}
#else
static uint32_t detect(void) { return 0; }
#endif

static const cpu_isa ISAS[] = {
#if defined(__x86_64__)
    {"avx512-shani", CPU_AVX512 | CPU_SHANI | CPU_AVX2 | CPU_BMI2},
    {"avx512", CPU_AVX512 | CPU_AVX2 | CPU_BMI2},
    {"shani", CPU_SHANI | CPU_AVX2 | CPU_BMI2},
    {"avx2", CPU_AVX2 | CPU_BMI2},
#endif
    {"portable", 0},
};

enum { ISA_COUNT = sizeof ISAS / sizeof ISAS[0] };

uint32_t cpu_features(void) {
    enum { KNOWN = 1u << 31 };
    static uint32_t cache; /* if two threads detect at the same time, they store the same value */
    uint32_t features = __atomic_load_n(&cache, __ATOMIC_RELAXED);
    if (!(features & KNOWN)) {
        features = detect() | KNOWN;
        __atomic_store_n(&cache, features, __ATOMIC_RELAXED);
    }
    return features & ~KNOWN;
}

const cpu_isa *cpu_isas(size_t *count) {
    *count = ISA_COUNT;
    return ISAS;
}

const cpu_isa *cpu_isa_find(const char *name) {
    for (size_t i = 0; i < ISA_COUNT; i++) {
        if (strcmp(ISAS[i].name, name) == 0) return &ISAS[i];
    }
    return NULL;
}

bool cpu_isa_supported(const cpu_isa *isa) { return (isa->needs & ~cpu_features()) == 0; }

const cpu_isa *cpu_isa_best(void) {
    const cpu_isa *isa = ISAS;
    while (!cpu_isa_supported(isa)) isa++; /* stops at "portable", which needs nothing */
    return isa;
}

const char *cpu_feature_name(uint32_t bit) {
    switch (bit) {
        case CPU_AVX2: return "AVX2";
        case CPU_BMI2: return "BMI1/BMI2";
        case CPU_SHANI: return "SHA-NI";
        case CPU_AVX512: return "AVX-512 F/BW/VL/DQ/CD";
        default: return "unknown";
    }
}
