"""Every benchmark runs, in tiny sizes and away from the committed results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.everything import FIGURES
from benchmarks.growth import SERIES
from benchmarks.tables import BEGIN, END, GOALS, GROWTH

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(280)
def test_every_benchmark_runs_in_a_small_size(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nan earlier table\n{END}\nafter\n")
    command = [sys.executable, "-m", "benchmarks.everything", "--smoke", "--results", str(tmp_path / "results")]
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "benchmarks" / "results").iterdir()}
    run = subprocess.run([*command, "--readme", str(readme)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    speed = json.loads((tmp_path / "results" / "speed.json").read_text())
    facts = {"machine", "versions", "date", "taken"}
    assert facts <= set(speed)
    numbers = {name: value for name, value in speed.items() if name not in facts}
    assert set(numbers) <= set(FIGURES)
    # What needs no special processor is always there, and is a number.
    needed = {name for name in GOALS if not name.startswith("sha256")} | {"c14n_over_memcpy"}
    assert needed <= set(numbers)
    assert all(isinstance(value, int | float) for value in numbers.values())
    assert all(numbers[name] > 0 for name in ("scan_over_ijson", "placeholder_over_pdfminer", "c14n_over_memcpy"))
    details = json.loads((tmp_path / "results" / "details.json").read_text())
    assert {"scan_body_mb", "ijson_gb_per_s", "scan_portable_gb_per_s"} <= details["scan"].keys()
    assert set(details["placeholder"]["documents_per_cpu_second"]) == {"ours", "pdfminer"}
    grown = details["growth"]
    assert grown.keys() == GROWTH.keys() == SERIES.keys()
    for points in grown.values():
        for point in points:
            # The seconds are rounded to hundredths.
            assert 0 < point["p50_ms"] <= point["p99_ms"] <= 1000 * point["seconds"] + 10, point
            assert point["database_mb"] > 1 and point["peak_service_mb"] > 20, point
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "an earlier table" not in text
    assert before == {path: path.stat().st_mtime_ns for path in (ROOT / "benchmarks" / "results").iterdir()}


def test_smoke_never_writes_the_committed_results() -> None:
    command = [sys.executable, "-m", "benchmarks.everything", "--smoke"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and "--results" in run.stderr


@pytest.mark.timeout(280)
def test_the_comparison_runs_in_a_small_size(tmp_path: Path) -> None:
    results = tmp_path / "compare.json"
    command = [sys.executable, "-m", "benchmarks.compare", "HEAD", "--smoke", "--results", str(results)]
    names = ["packaging_a", "packaging_b", "single_sync_beyond_upstream_ms"]
    run = subprocess.run([*command, "--figures", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    # Tiny sizes say nothing, so that any verdict is right; without one there is no table and a traceback.
    assert run.returncode in (0, 1) and "Traceback" not in run.stderr, run.stderr[-4000:]
    found = json.loads(results.read_text())
    assert {"base", "checkout", "machine", "date", "interval", "seconds", "figures"} == set(found)
    assert found["base"]["commit"] == found["checkout"]["commit"]
    for name in names:
        one = found["figures"][name]
        assert name in run.stdout and one["verdict"] in run.stdout
        assert len(one["samples"]["base"]) == len(one["samples"]["checkout"]) == 2
