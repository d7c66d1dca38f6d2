"""The choice of SHA-256 kernels, and proof for processors that are not here: which instructions each build contains."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.native.sources import ROOT, X86, native_sources, setup_constant

from batchseal._native import cpu, digest

# What the assembler may accept of each folder: nothing beyond x86-64-v1 where no flag allows more, no AVX-512 beyond Skylake-SP.
AVX2 = "+avx2+bmi+bmi2"
ASSEMBLER = {
    "core": "generic64+xsave",  # XGETBV, in ext/cpu alone, after CPUID said OSXSAVE
    "portable": "generic64",
    "shani": "generic64+avx+sha",
    "avx2": f"generic64{AVX2}",
    "avx512": f"generic64{AVX2}+avx512f+avx512bw+avx512vl+avx512dq+avx512cd",
}

# Registers that the SHA-NI kernel does not use either: SHA256RNDS2 after their upper halves were written would be slow.
WIDE = r"%[yz]mm|%k[0-7]"


@pytest.fixture(autouse=True)
def best_kernels_afterwards() -> Iterator[None]:
    yield
    digest.use_kernels(None)


def test_kernels_lists_every_instruction_set_and_the_one_in_use() -> None:
    digest.use_kernels("portable")
    table = digest.kernels()
    assert [(name, supported) for name, _, supported, _ in table] == cpu.instruction_sets()
    assert [name for name, _, _, active in table if active] == ["portable"]
    assert all(kernel for _, kernel, _, _ in table)


def test_the_best_is_in_use_unless_told_otherwise() -> None:
    assert digest.use_kernels(None) == digest.use_kernels() == cpu.choose_instruction_set()
    assert [name for name, _, _, active in digest.kernels() if active] == [cpu.choose_instruction_set()]


@pytest.mark.parametrize("name", ["", "avx", "AVX512", "portable "])
def test_an_unknown_name_is_refused_and_changes_nothing(name: str) -> None:
    digest.use_kernels("portable")
    with pytest.raises(ValueError, match=r"known are: .*portable"):
        digest.use_kernels(name)
    assert [name for name, _, _, active in digest.kernels() if active] == ["portable"]


def test_the_faster_of_several_kernels_is_in_use_unless_told_otherwise() -> None:
    for name, supported in cpu.instruction_sets():
        variants = digest.kernels_of(name)
        for kernel in variants if supported else ():
            digest.use_kernels(name, kernel)
            assert [found for _, found, _, active in digest.kernels() if active] == [kernel]
        if supported:
            digest.use_kernels(name)
            assert next(found for _, found, _, active in digest.kernels() if active) in variants


@pytest.mark.skipif(not X86, reason="only x86-64 has a choice")
def test_there_are_several_kernels_with_sha_ni() -> None:
    assert digest.kernels_of("shani") == ["shani x3", "shani x4"]
    assert len(digest.kernels_of("avx512-shani")) == 2


def test_a_kernel_of_another_instruction_set_is_refused_and_changes_nothing() -> None:
    digest.use_kernels("portable")
    with pytest.raises(ValueError, match=r"unknown kernel 'shani x3' for portable; known are: portable"):
        digest.use_kernels("portable", "shani x3")
    assert digest.kernels_of("unknown") == []
    assert [found for _, found, _, active in digest.kernels() if active] == ["portable"]


UNDER_QEMU = """
import hashlib, sys
from batchseal._native import digest
assert digest.use_kernels(None) == "avx2", digest.kernels()
jobs = [[bytes([i]) * (i * 97), b"tail"] for i in range(40)]
assert digest.sha256_many(jobs) == [hashlib.sha256(b"".join(job)).digest() for job in jobs]
for name, missing in (("avx512", "AVX-512"), ("shani", "SHA-NI"), ("avx512-shani", "AVX-512")):
    try:
        digest.use_kernels(name)
    except ValueError as refusal:
        assert missing in str(refusal) and "lacks" in str(refusal), refusal
    else:
        sys.exit(f"{name} was accepted")
"""


def test_on_a_broadwell() -> None:
    """A processor with AVX2 and neither AVX-512 nor SHA-NI, which qemu traps if a kernel uses them all the same."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("qemu-user is not installed")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [qemu, "-cpu", "Broadwell", sys.executable, "-c", UNDER_QEMU]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr


def assembly_of(isa: str, source: Path, target: Path) -> None:
    flags = [
        *setup_constant("C_FLAGS"),
        *setup_constant("ISA_FLAGS").get(isa, []),
        "-g0",
        "-fcf-protection=none",
    ]
    subprocess.run(["gcc", *flags, f"-I{ROOT / 'ext'}", "-S", source, "-o", target], check=True)


def source_id(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


needs_gcc = pytest.mark.skipif(
    not X86 or not (shutil.which("gcc") and shutil.which("as") and shutil.which("objdump")),
    reason="needs gcc and binutils on x86-64",
)


@needs_gcc
@pytest.mark.parametrize(("isa", "source"), native_sources(), ids=source_id)
def test_only_allowed_instructions(isa: str, source: Path, tmp_path: Path) -> None:
    """The assembler itself judges: it knows of no instruction that the folder's processors may lack."""
    assembly_of(isa, source, tmp_path / "code.s")
    command: list[str | Path] = ["as", f"-march={ASSEMBLER[isa]}", tmp_path / "code.s", "-o", tmp_path / "code.o"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    forbidden = {"core": WIDE + r"|\tv[a-z]", "portable": WIDE + r"|\tv[a-z]", "shani": WIDE}.get(isa)
    if forbidden:
        listing = subprocess.run(["objdump", "-d", tmp_path / "code.o"], capture_output=True, text=True, check=True)
        assert not re.search(forbidden, listing.stdout)


@needs_gcc
@pytest.mark.parametrize(
    "instruction", ["vpdpbusd %zmm0,%zmm1,%zmm2", "vpermb %zmm0,%zmm1,%zmm2", "sha256rnds2 %xmm1,%xmm2"]
)
def test_the_check_of_instructions_can_fail(instruction: str, tmp_path: Path) -> None:
    (tmp_path / "code.s").write_text(f"\t{instruction}\n")
    command: list[str | Path] = ["as", f"-march={ASSEMBLER['avx512']}", tmp_path / "code.s", "-o", tmp_path / "code.o"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@needs_gcc
@pytest.mark.parametrize("source", sorted(ROOT.glob("ext/mbsha256/arch/avx*/*.c")), ids=source_id)
def test_wide_registers_are_cleared_before_returning(source: Path, tmp_path: Path) -> None:
    assembly_of(source.parent.name, source, tmp_path / "code.s")
    code = (tmp_path / "code.s").read_text()
    assert re.search(r"%[yz]mm", code), "nothing to check"
    for function in re.split(r"^\w+:$", code, flags=re.MULTILINE)[1:]:
        for until_return in function.split("\tret\n")[:-1]:
            last_wide = max(until_return.rfind("%ymm"), until_return.rfind("%zmm"))
            assert until_return.rfind("vzeroupper") > last_wide or last_wide < 0
