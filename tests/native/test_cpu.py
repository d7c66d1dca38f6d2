"""Which instruction sets there are, judged by what the kernel says of the processor."""

import platform
from pathlib import Path

import pytest

from batchseal._native import cpu

ORDER = ["avx512-shani", "avx512", "shani", "avx2", "portable"]
FLAGS = {
    "avx2": {"avx2", "bmi1", "bmi2"},
    "shani": {"avx2", "bmi1", "bmi2", "sha_ni", "ssse3", "sse4_1"},
    "avx512": {"avx2", "bmi1", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd"},
    "portable": set(),
}
FLAGS["avx512-shani"] = FLAGS["avx512"] | FLAGS["shani"]

on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86-64 has a choice")


@on_x86
def test_instruction_sets_best_first() -> None:
    assert [name for name, _ in cpu.instruction_sets()] == ORDER


def test_portable_is_last_and_everywhere() -> None:
    assert cpu.instruction_sets()[-1] == ("portable", True)


@on_x86
def test_support_agrees_with_cpuinfo() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("no /proc/cpuinfo here")
    line = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    flags = set(line.partition(":")[2].split())
    assert dict(cpu.instruction_sets()) == {name: FLAGS[name] <= flags for name in ORDER}


def test_the_best_is_chosen() -> None:
    assert cpu.choose_instruction_set() == next(name for name, supported in cpu.instruction_sets() if supported)


@pytest.mark.parametrize("name", ["", "sse9", "AVX2", "avx2 ", "avx2\0", "portable\0x"])
def test_an_unknown_name_is_refused_and_the_known_ones_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown instruction set .* portable"):
        cpu.choose_instruction_set(name)


def test_what_the_processor_lacks_is_named() -> None:
    lacking = [name for name, supported in cpu.instruction_sets() if not supported]
    if not lacking:
        pytest.skip("this processor has every instruction set; under qemu -cpu Broadwell it is tested")
    with pytest.raises(ValueError, match=r"needs .*(AVX|SHA|BMI).* lacks"):
        cpu.choose_instruction_set(lacking[0])


def test_an_unknown_default_is_refused() -> None:
    before = cpu.default_instruction_set()
    with pytest.raises(ValueError, match="unknown instruction set 'x'"):
        cpu.set_default_instruction_set("x")
    assert cpu.default_instruction_set() == before
