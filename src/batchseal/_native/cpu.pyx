# cython: auto_pickle=False, autotestdict=False
"""Lists the instruction sets by which kernels are selected, and tells which of them this processor can run.

Every native module selects by name through this one, so that all refuse the same names with the same words. The kernels
themselves belong to the other modules.
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


cdef str default_name = (<bytes> cpu_isa_best().name).decode()


def set_default_instruction_set(name: str | None = None) -> str:
    """Sets the instruction set of native modules that are loaded later (None: the best one), and returns its name.

    Raises what `choose_instruction_set` raises.
    """
    global default_name
    default_name = choose_instruction_set(name)
    return default_name


def default_instruction_set() -> str:
    """The instruction set that a module uses which is loaded now."""
    return default_name


def instruction_sets() -> list[tuple[str, bool]]:
    """All instruction sets that this build knows, best first, each with whether this processor supports it."""
    cdef size_t count = 0
    cdef const cpu_isa *isas = cpu_isas(&count)
    return [((<bytes> isas[i].name).decode(), bool(cpu_isa_supported(&isas[i]))) for i in range(count)]


def choose_instruction_set(name: str | None = None) -> str:
    """Returns `name` if this processor supports that instruction set, or for None the name of the best one.

    Raises ValueError if this build does not know the name or this processor does not support the instruction set.
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
