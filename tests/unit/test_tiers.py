"""The table at the end of `make test`."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.tiers import table

ROOT = Path(__file__).parents[2]


def report(node: str, when: str, seconds: float) -> pytest.TestReport:
    return pytest.TestReport(node, (node, None, ""), {}, "passed", None, when, duration=seconds)  # type: ignore[arg-type]


def test_each_tier_has_its_time_and_its_command() -> None:
    reports = [
        report("tests/unit/test_a.py::test_one", "setup", 6),
        report("tests/unit/test_a.py::test_one", "call", 60),
        report("tests/unit/test_a.py::test_two", "call", 30),
        report("benchmarks/checks/test_b.py::test_three[x/y]", "call", 120),
    ]
    assert table(reports) == [
        "minutes  tests  the tier alone",
        "   2.00      1  make test TESTS=benchmarks/checks",
        "   1.60      2  make test TESTS=tests/unit",
        "   3.60  together",
    ]
    assert table(reports[:3]) == []


@pytest.mark.parametrize(
    "folders", [("tests/unit/test_jwt.py", "tests/golden/test_planner_golden.py"), ("tests/unit/test_jwt.py",)]
)
def test_it_is_printed_where_several_tiers_ran(folders: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *folders]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert ("make test TESTS=tests/golden" in run.stdout) == (len(folders) == 2)
