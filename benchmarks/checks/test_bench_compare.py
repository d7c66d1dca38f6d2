"""The statistics of `make bench-compare`, its table, and how it gets another revision's tree."""

import io
import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import compare, ratios
from benchmarks.compare import FIGURES, MEASUREMENTS, Figure, Measurement, Revision, chosen, measure, run_pairs, unpack
from benchmarks.ratios import BETTER, NOT_WORSE, WORSE, interval, outermost
from rich.console import Console

ROOT = Path(__file__).parents[2]


def test_the_interval_leaves_out_what_the_test_s_tables_say() -> None:
    # Critical values of Wilcoxon's signed-rank test, two-sided 0.05, by the number of pairs.
    critical = {6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 15: 25, 20: 52}
    assert {count: outermost(count) for count in critical} == {count: w + 1 for count, w in critical.items()}
    assert [outermost(count) for count in range(1, 6)] == [0] * 5


def test_the_interval_of_seven_known_pairs() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    # Their 28 averages two by two: 0, 0.5, 1, 1, 1.5, ... 5, 5, 5.5, 6.
    assert interval(values) == interval(values[::-1]) == (1.0, 5.0)
    assert interval([2.0]) == (2.0, 2.0)
    assert interval([1.0, 3.0]) == (1.0, 3.0)


def test_the_interval_covers_the_middle_as_often_as_it_says() -> None:
    """Over all 128 equally likely signs of seven distances from the middle, it misses in 6 (4.7 %)."""
    distances = [1.0, 2.1, 3.3, 4.7, 6.2, 8.1, 11.9]
    missed = 0
    for signs in itertools.product((-1, 1), repeat=7):
        low, high = interval([sign * distance for sign, distance in zip(signs, distances, strict=True)])
        missed += not low <= 0 <= high
    assert missed == 6


def judged(factor: float, noise: float, *, lower: bool = True, pairs: int = 7) -> ratios.Comparison:
    """A checkout of `factor` times the base's figure, with a machine that changes its speed between pairs."""
    chance = random.Random(1)
    speeds = [100 * chance.uniform(0.5, 2) for _ in range(pairs)]
    own = [speed * factor * chance.uniform(1 - noise, 1 + noise) for speed in speeds]
    return ratios.compare("f", speeds, own, lower_is_better=lower)


@pytest.mark.parametrize(
    ("factor", "noise", "lower", "verdict"),
    [
        (1.0, 0.05, True, NOT_WORSE),
        (1.0, 0.0, True, NOT_WORSE),
        (1.10, 0.01, True, WORSE),
        (1.10, 0.01, False, BETTER),
        (0.90, 0.01, False, WORSE),
        (0.90, 0.01, True, BETTER),
        (1.015, 0.001, True, NOT_WORSE),  # surely slower, by less than 2 %
        (0.985, 0.001, False, NOT_WORSE),
        (1.03, 0.001, True, WORSE),
        (1.05, 0.30, True, NOT_WORSE),  # it cannot be told from none
    ],
)
def test_the_verdict(factor: float, noise: float, lower: bool, verdict: str) -> None:
    assert judged(factor, noise, lower=lower).verdict == verdict


def test_what_has_no_ratio_is_refused() -> None:
    for base, own in (([1.0], [0.0]), ([-1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])):
        with pytest.raises(ValueError, match="f: "):
            ratios.compare("f", base, own, lower_is_better=True)


def test_the_table() -> None:
    slower = ratios.compare(
        "single_sync_beyond_upstream_ms", [8.0] * 7, [8.0, 8.8, 8.8, 8.8, 8.8, 8.8, 9.6], lower_is_better=True
    )
    console = Console(width=compare.TABLE_COLUMNS, file=io.StringIO())
    with console.capture() as shown:
        console.print(ratios.table([slower]))
    (row,) = [line for line in shown.get().splitlines() if "single_sync" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    name = "single_sync_beyond_upstream_ms"
    assert cells == [name, "8", "8.8", "1.100", "1.049 to 1.149", "lower", "WORSE"]


def test_names_of_figures() -> None:
    assert chosen(["all"]) == chosen([]) == list(FIGURES)
    assert chosen(["packaging_b,packaging_a", "packaging_b"]) == ["packaging_b", "packaging_a"]
    with pytest.raises(
        ValueError, match=r"unknown figure: speed; known are all, single_sync_beyond_upstream_ms, single"
    ):
        chosen(["packaging_a", "speed"])
    assert {figure.measurement for figure in FIGURES.values()} == set(MEASUREMENTS)


def test_each_comes_first_every_other_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(FIGURES, "packaging_b", Figure("packaging", ("b",)))
    monkeypatch.setitem(FIGURES, "packaging_a", Figure("packaging", ("a",)))
    base, own = (Revision(name, tmp_path / name, Path(sys.executable)) for name in ("base", "own"))
    asked: list[str] = []

    def measured(name: str, revision: Revision, *, smoke: bool) -> dict[str, Any]:
        asked.append(revision.commit)
        return {"a": len(asked), "b": 10 * len(asked)}

    monkeypatch.setattr(compare, "measure", measured)
    kept: list[int] = []
    samples = run_pairs(
        base, own, ["packaging_a", "packaging_b"], 3, lambda now: kept.append(len(now["packaging_a"][0])), smoke=True
    )
    assert asked == ["base", "own", "own", "base", "base", "own"]
    assert samples == {"packaging_a": ([1, 4, 5], [2, 3, 6]), "packaging_b": ([10, 40, 50], [20, 30, 60])}
    assert kept == [1, 2, 3]


def test_an_older_revision_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    revision = Revision("base", tmp_path, Path(sys.executable))
    usage = ("-c", "import sys; sys.exit(2)")
    old = ("-c", 'import os; print(\'{{"cwd": "\' + os.getcwd() + \'", "n": {n}}}\')')
    monkeypatch.setitem(MEASUREMENTS, "latency", Measurement((usage, old), {"n": 5}, {"n": 1}))
    assert measure("latency", revision, smoke=False) == {"cwd": str(tmp_path), "n": 5}
    assert measure("latency", revision, smoke=True)["n"] == 1
    # What fails in another way than by its usage is not tried in the old way.
    broken = ("-c", "raise RuntimeError('no disk')")
    monkeypatch.setitem(MEASUREMENTS, "latency", Measurement((broken, old), {"n": 5}, {"n": 1}))
    with pytest.raises(SystemExit, match="no disk"):
        measure("latency", revision, smoke=True)
    into_a_file = ("-c", "import sys; open(sys.argv[1], 'w').write('[7]'); print('said')", "{result}")
    monkeypatch.setitem(MEASUREMENTS, "latency", Measurement((into_a_file,), {}, {}))
    given: Any = measure("latency", revision, smoke=True)
    assert given == [7]


def test_a_figure_that_the_older_revision_lacks_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "latency.py").touch()
    older = Revision("0123456789abcdef", tmp_path, Path(sys.executable))
    names = ["lt_over_t", "single_sync_beyond_upstream_ms", "fifty_of_1_ratio", "xades_20k_over_lxml"]
    # The third can be asked for in an older way, without a module of its own.
    assert compare.known_to(older, names) == ["single_sync_beyond_upstream_ms", "fifty_of_1_ratio"]
    said = capsys.readouterr().err
    assert said.count("left out: ") == 2
    assert "left out: lt_over_t, whose benchmark 0123456789ab does not have" in said
    with pytest.raises(ValueError, match="no figure is left"):
        compare.known_to(older, ["lt_over_t"])
    assert compare.known_to(compare.checkout(), list(FIGURES)) == list(FIGURES)


def test_a_commit_is_unpacked_once_and_whole(tmp_path: Path) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = unpack(commit.strip(), tmp_path)
    assert (tree / "benchmarks" / "end_to_end.py").exists() and not (tree / ".git").exists()
    (tree / "built").touch()
    assert unpack(commit.strip(), tmp_path) == tree and (tree / "built").exists()
    assert list(tmp_path.iterdir()) == [tree]


def test_an_unknown_revision_or_figure_is_said_at_once() -> None:
    command = [sys.executable, "-m", "benchmarks.compare"]
    unknown = subprocess.run([*command, "HEAD", "--figures", "speed"], cwd=ROOT, capture_output=True, text=True)
    assert unknown.returncode == 2 and "unknown figure: speed; known are all" in unknown.stderr
    few = subprocess.run([*command, "HEAD", "--pairs", "3"], cwd=ROOT, capture_output=True, text=True)
    assert few.returncode == 2 and "at least 7" in few.stderr
    gone = subprocess.run([*command, "no-such-revision"], cwd=ROOT, capture_output=True, text=True)
    assert (
        gone.returncode == 1
        and "no-such-revision is no revision here" in gone.stderr
        and "Traceback" not in gone.stderr
    )
