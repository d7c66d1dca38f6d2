# cython: auto_pickle=False, autotestdict=False
"""The instruction sets that kernels are chosen by: which there are, and which this processor can run.

Owns the choice by name, so that every native module refuses the same names with the same words. Leaves the kernels to
their modules.
"""

from batchseal._native.cpu cimport (
    cpu_feature_name,
    cpu_features,
    cpu_isa,
    cpu_isa_best,
    cpu_isa_find,
    cpu_isa_supported,
    cpu_isas,
)


def instruction_sets() -> list[tuple[str, bool]]:
    """Every instruction set that this build knows, best first, and whether this processor supports it."""
    cdef size_t count = 0
    cdef const cpu_isa *isas = cpu_isas(&count)
    return [((<bytes> isas[i].name).decode(), bool(cpu_isa_supported(&isas[i]))) for i in range(count)]


def choose_instruction_set(name: str | None = None) -> str:
    """The name of a supported instruction set: the one asked for, or the best.

    Raises ValueError for a name that this build does not know, and for one that this processor does not support.
    """
    if name is None:
        return (<bytes> cpu_isa_best().name).decode()
    cdef bytes wanted = name.encode()
    cdef const cpu_isa *isa = cpu_isa_find(wanted)
    if isa == NULL or b"\0" in wanted:
        known = ", ".join(known_name for known_name, _ in instruction_sets())
        raise ValueError(f"unknown instruction set {name!r}; known are: {known}")
    if not cpu_isa_supported(isa):
        missing = [
            (<bytes> cpu_feature_name(1 << bit)).decode()
            for bit in range(32)
            if isa.needs & ~cpu_features() & (<unsigned int> 1 << bit)
        ]
        raise ValueError(f"instruction set {name!r} needs {', '.join(missing)}, which this processor lacks")
    return name
