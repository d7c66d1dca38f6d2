"""Each harness runs on its seeds, and finds a planted bug."""

from pathlib import Path

import pytest
from tests.fuzz.harnesses import C_HARNESSES, HARNESSES, fuzz, missing


@pytest.mark.parametrize("name", HARNESSES)
def test_harness(name: str, tmp_path: Path) -> None:
    if why := missing(name):
        pytest.skip(why)
    clean, planted, built = (tmp_path / part for part in ("clean", "canary", "built"))
    for folder in (clean, planted, built):
        folder.mkdir()
    assert fuzz(name, clean, built=built, runs=2000)["runs"] >= 2000
    with pytest.raises(AssertionError, match=r"canary|heap-buffer-overflow"):
        fuzz(name, planted, built=built, seconds=60, canary=True)


@pytest.mark.parametrize("name", C_HARNESSES)
def test_a_clang_without_its_runtimes_counts_as_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's clang compiles with -fsanitize=fuzzer also where nothing can be linked."""
    clang = tmp_path / "clang"
    clang.write_text("#!/bin/sh\necho 'ld: cannot find libclang_rt.fuzzer' >&2\nexit 1\n")
    clang.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "Debian: libclang-rt-dev" in missing(name)
