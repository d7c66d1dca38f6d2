"""What a missing tool leaves out, of benchmarks too; and that the neutral package stays neutral."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from harness import tools

ROOT = Path(__file__).parents[2]


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.missing(["clang", "pdfsig"]) == "clang (Debian: clang), pdfsig (Debian: poppler-utils)"
    found = tools.left_out({"one": ("clang",), "two": (), "three": ("pdfsig",)})
    assert found == {"one": "needs clang (Debian: clang)", "three": "needs pdfsig (Debian: poppler-utils)"}
    (tmp_path / "clang").write_text("#!/bin/sh\n")
    (tmp_path / "clang").chmod(0o755)
    assert tools.missing(["clang"]) == ""
    assert tools.find("clang") == str(tmp_path / "clang")


def test_a_clang_without_its_fuzzer_runtime_will_not_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (tmp_path / "clang").write_text(f"#!/bin/sh\necho {runtime}\n")
    (tmp_path / "clang").chmod(0o755)
    assert tools.missing(tools.CLANG_FUZZER) == "libclang_rt.fuzzer (Debian: libclang-rt-dev)"
    (runtime / "libclang_rt.fuzzer-x86_64.a").touch()
    assert tools.missing(tools.CLANG_FUZZER) == ""


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this processor needs no qemu")
def test_programs_for_arm64_run_in_containers_only_by_an_enabled_entry_with_the_flag_f(tmp_path: Path) -> None:
    assert tools.arm64_programs(tmp_path) is None
    entry = tmp_path / "qemu-aarch64"
    for state, flags, runs in (("enabled", "POF", True), ("enabled", "PO", False), ("disabled", "POF", False)):
        entry.write_text(f"{state}\ninterpreter /usr/bin/qemu\nflags: {flags}\noffset 0\n")
        assert (tools.arm64_programs(tmp_path) is not None) is runs


def test_what_belongs_together_is_known() -> None:
    for group in (
        tools.CLANG_FUZZER,
        tools.PDFSIG,
        tools.ITEXT,
        tools.BOUNCY_CASTLE,
        tools.SOFTHSM,
        tools.PGBOUNCER,
        tools.OLDER_POSTGRES,
        tools.SMALL_VOLUME,
    ):
        assert set(group) <= set(tools.TOOLS)


def bench_upstream(path: Path, results: Path, *parts: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.upstream", "--results", str(results), "--only", *parts]
    environment = os.environ | {"PATH": str(path)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(120)
def test_the_upstream_benchmark_leaves_out_what_lacks_softhsm(tmp_path: Path) -> None:
    results = tmp_path / "upstream.json"
    results.write_text(json.dumps({"left_out": {"b_t_valid_pdfsig": "of an earlier run"}}))
    run = bench_upstream(tmp_path, results, "large", "softhsm")
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stderr.startswith("left out: softhsm, which needs softhsm2-util (Debian: softhsm2)")
    assert "Traceback" not in run.stderr
    found = json.loads(results.read_text())
    assert found["calls_for_2500_at_1000"] == 3
    assert found["left_out"]["softhsm"].startswith("needs softhsm2-util (Debian: softhsm2)")
    assert found["left_out"]["b_t_valid_pdfsig"] == "of an earlier run"
    # Nothing could be measured: that is no success.
    assert bench_upstream(tmp_path, results, "softhsm").returncode == 1
