"""What a drill's entry says is what was run, and one drill's entry leaves the others alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.adversity.drills.__main__ import merge
from tests.adversity.drills.registry import Drill, Figures, Trial, run


def a_drill(trial: Trial, *, missing: str = "", at_the_end: bool = True) -> Drill:
    @contextmanager
    def opened(folder: Path) -> Iterator[Trial]:
        yield trial
        assert at_the_end

    return Drill("d", 0, 3, 9, opened, lambda: missing)


def uneven(number: int) -> Figures:
    assert number != 1, "one fails"
    return {"seconds_max": number}


def test_trials_failures_and_the_worst_figure_are_counted(tmp_path: Path) -> None:
    result = run(a_drill(uneven), 4, tmp_path)
    assert (result["trials"], result["failures"], result["seconds_max"]) == (4, 1, 3)
    assert result["first_failure"].startswith("trial 1: AssertionError: one fails")


def test_what_cannot_run_or_does_not_hold_in_the_end_has_failed(tmp_path: Path) -> None:
    absent = run(a_drill(uneven, missing="no disk"), 4, tmp_path)
    assert (absent["trials"], absent["failures"]) == (0, 1)
    in_the_end = run(a_drill(lambda number: None, at_the_end=False), 4, tmp_path)
    assert (in_the_end["trials"], in_the_end["failures"]) == (4, 1)


def test_an_entry_replaces_its_own_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results" / "drills.json"
    merge(path, "a", {"trials": 1, "failures": 1})
    merge(path, "b", {"trials": 2, "failures": 0})
    merge(path, "a", {"trials": 3, "failures": 0})
    assert json.loads(path.read_text()) == {
        "drills": {"a": {"trials": 3, "failures": 0}, "b": {"trials": 2, "failures": 0}}
    }
