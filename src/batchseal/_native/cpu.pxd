from libc.stdint cimport uint32_t


cdef extern from "cpu/cpu.h" nogil:
    ctypedef struct cpu_isa:
        const char *name
        uint32_t needs

    uint32_t cpu_features()
    const cpu_isa *cpu_isas(size_t *count)
    const cpu_isa *cpu_isa_find(const char *name)
    const cpu_isa *cpu_isa_best()
    bint cpu_isa_supported(const cpu_isa *isa)
    const char *cpu_feature_name(uint32_t bit)
