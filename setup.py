"""Builds the native code: a static library of C11 kernels for each instruction set, and thin Cython modules that call them."""

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib

C_FLAGS = ["-std=c11", "-O3", "-g", "-fvisibility=hidden", "-Wall", "-Wextra", "-fPIC"]

# The compiler flags for each folder ext/*/arch/<isa>/. All other code is compiled for x86-64-v1. The AVX-512 code uses only what
# Skylake-SP has (F, BW, VL, DQ, CD), so that the same object runs there and on every newer processor.
ISA_FLAGS = {
    "portable": [],
    "shani": ["-msha", "-mavx"],
    "avx2": ["-mavx2", "-mbmi", "-mbmi2"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd", "-mavx2", "-mbmi", "-mbmi2"],
}
# GCC 14 (Debian 13) refuses these. They are refused by every compiler, so that the tests of an older one find them.
REFUSED = ["incompatible-pointer-types", "int-conversion", "implicit-function-declaration"]
C_FLAGS += [f"-Werror={name}" for name in REFUSED]
X86 = platform.machine() in ("x86_64", "AMD64")


def native_libraries() -> list[tuple[str, dict[str, list[str]]]]:
    """A static library for each instruction set, and one for the C code that needs none."""
    libraries = {"batchseal_core": (sorted(str(p) for p in Path("ext").glob("*/*.c")), C_FLAGS)}
    for isa, flags in ISA_FLAGS.items():
        sources = sorted(str(p) for p in Path("ext").glob(f"*/arch/{isa}/*.c"))
        if sources and (X86 or isa == "portable"):
            libraries[f"batchseal_{isa}"] = (sources, C_FLAGS + flags)
    return [
        (name, {"sources": sources, "cflags": flags, "include_dirs": ["ext"]})
        for name, (sources, flags) in libraries.items()
        if sources
    ]


LIBRARIES = native_libraries()

# A library may call only those after it: core chooses a kernel, wide kernels call narrower ones, portable calls nothing.
LINK_ORDER = ["batchseal_core", *(f"batchseal_{isa}" for isa in reversed(ISA_FLAGS))]
LINK_ORDER = [name for name in LINK_ORDER if name in dict(LIBRARIES)]

EXTENSIONS = [
    Extension(
        f"batchseal._native.{pyx.stem}",
        [str(pyx)],
        include_dirs=["ext"],
        libraries=LINK_ORDER,
        extra_compile_args=["-O3", "-g", "-fvisibility=hidden", *(f"-Werror={name}" for name in REFUSED)],
        # A change in any C file makes the linker run again.
        depends=sorted(str(p) for p in Path("ext").rglob("*.[ch]")),
    )
    for pyx in sorted(Path("src/batchseal/_native").glob("*.pyx"))
]

CORES = len(os.sched_getaffinity(0))


class BuildLibraries(build_clib):
    """Compiles as many C files at a time as there are cores."""

    def build_libraries(self, libraries: Any) -> None:
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(CORES) as pool:
                return [made for some in pool.map(lambda one: compile_some([one], **options), sources) for made in some]

        self.compiler.compile = compile_all
        super().build_libraries(libraries)


setup(
    cmdclass={"build_clib": BuildLibraries},
    options={"build_ext": {"parallel": CORES}},
    libraries=LIBRARIES,
    ext_modules=cythonize(
        EXTENSIONS,
        include_path=["src"],
        nthreads=CORES,
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "embedsignature": True},
    ),
)
