"""What a drill's entry says is what was run, and one drill's entry leaves the others alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import tools
from harness.provenance import TAKEN, provenance
from tests.adversity.drills import __main__ as program
from tests.adversity.drills.registry import DRILLS, Drill, Figures, Trial, run
from tests.adversity.drills.results import LONG_FORMS, SHORT_FORMS, merge, sources_digest, standing

WITHOUT_CLANG = "needs clang (Debian: clang), libclang_rt.fuzzer (Debian: libclang-rt-dev)"


def a_drill(trial: Trial, *, needs: tuple[str, ...] = (), at_the_end: bool = True, apart: bool = False) -> Drill:
    @contextmanager
    def opened(folder: Path) -> Iterator[Trial]:
        yield trial
        assert at_the_end

    return Drill("d", 0, 3, 9, opened, needs, apart, "s3" if apart else "")


def uneven(number: int) -> Figures:
    assert number != 1, "one fails"
    return {"seconds_max": number}


def test_trials_failures_and_the_worst_figure_are_counted(tmp_path: Path) -> None:
    result = run(a_drill(uneven), 4, tmp_path)
    assert (result["trials"], result["failures"], result["seconds_max"]) == (4, 1, 3)
    assert result["first_failure"].startswith("trial 1: AssertionError: one fails")


@pytest.fixture
def without_clang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_what_lacks_a_tool_is_left_out_and_says_which(tmp_path: Path, without_clang: None) -> None:
    absent = run(a_drill(uneven, needs=tools.CLANG_FUZZER), 4, tmp_path)
    assert absent == {"trials": 0, "failures": 0, "left_out": WITHOUT_CLANG}


def test_a_drill_that_does_not_open_has_failed(tmp_path: Path) -> None:
    @contextmanager
    def opened(folder: Path) -> Iterator[Trial]:
        raise OSError("no disk")
        yield

    closed = run(Drill("d", 0, 3, 9, opened), 4, tmp_path)
    assert (closed["trials"], closed["failures"]) == (0, 1)


def test_what_is_left_out_is_said_before_the_first_drill_and_kept(
    tmp_path: Path, without_clang: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DRILLS, "d", a_drill(lambda number: None))
    out = tmp_path / "drills.json"
    monkeypatch.setattr("sys.argv", ["drills", "d", "fuzz-pdf", "fuzz-json", "--out", str(out)])
    assert program.main() == 0
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == [f"left out: {name}, which {WITHOUT_CLANG}" for name in ("fuzz-pdf", "fuzz-json")] + [
        "d: 3 trials"
    ]
    kept = json.loads(out.read_text())["drills"]
    left_out = {"trials": 0, "failures": 0, "left_out": WITHOUT_CLANG, TAKEN: provenance()}
    assert kept["fuzz-pdf"] == kept["fuzz-json"] == left_out
    assert kept["d"]["trials"] == 3
    # Nothing was tried: that is no success.
    monkeypatch.setattr("sys.argv", ["drills", "fuzz-pdf", "--out", str(out)])
    assert program.main() == 1


def test_every_drill_names_tools_that_are_known() -> None:
    assert {tool for one in DRILLS.values() for tool in one.needs} <= set(tools.TOOLS)
    assert DRILLS["fuzz-pdf"].needs == tools.CLANG_FUZZER
    assert DRILLS["fuzz-cms"].needs == ("atheris",)


def test_what_does_not_hold_in_the_end_has_failed(tmp_path: Path) -> None:
    in_the_end = run(a_drill(lambda number: None, at_the_end=False), 4, tmp_path)
    assert (in_the_end["trials"], in_the_end["failures"]) == (4, 1)


def test_an_entry_replaces_its_own_and_no_other(tmp_path: Path) -> None:
    path, taken = tmp_path / "results" / "drills.json", {"commit": "1"}
    merge(path, SHORT_FORMS, "a", {"trials": 1, "failures": 1}, {"commit": "0"})
    merge(path, SHORT_FORMS, "b", {"trials": 2, "failures": 0}, taken)
    merge(path, LONG_FORMS, "a", {"trials": 30, "failures": 0}, taken)
    merge(path, SHORT_FORMS, "a", {"trials": 3, "failures": 0}, taken)
    assert json.loads(path.read_text()) == {
        "drills": {
            "a": {"trials": 3, "failures": 0, TAKEN: taken},
            "b": {"trials": 2, "failures": 0, TAKEN: taken},
        },
        "long_forms": {"a": {"trials": 30, "failures": 0, TAKEN: taken}},
    }


def test_trials_of_drills_about_instances_add_up_over_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, out = list[int](), tmp_path / "drills.json"

    def trial(number: int) -> Figures:
        numbers.append(number)
        if number == 1 and numbers.count(1) == 1:
            raise KeyboardInterrupt
        return {"seconds_max": 10 - number}

    def started(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["drills", "d", "--out", str(out), *arguments])
        return program.main()

    monkeypatch.setitem(DRILLS, "d", a_drill(trial, apart=True))
    with pytest.raises(KeyboardInterrupt):
        started()
    assert standing(out, SHORT_FORMS, "d", sources_digest())["trials"] == 1
    assert started() == 0
    assert numbers == [0, 1, 1, 2]
    entry = standing(out, SHORT_FORMS, "d", sources_digest())
    assert (entry["trials"], entry["failures"], entry["seconds_max"], entry["store"]) == (3, 0, 10, "s3")
    assert entry["runs"] == [{**provenance(), "trials": 1}, {**provenance(), "trials": 2}]
    assert started() == 0  # nothing is missing
    assert numbers == [0, 1, 1, 2]
    assert started("--trials", "2") == 0  # so many more
    assert numbers[4:] == [3, 4]
    assert started("--anew") == 0
    assert standing(out, SHORT_FORMS, "d", sources_digest())["trials"] == 3
    assert standing(out, LONG_FORMS, "d", sources_digest()) == {}
    # A change of the sources that the drill is about voids what was run before it.
    assert standing(out, SHORT_FORMS, "d", "of other sources") == {}


def test_a_trial_that_failed_stays_until_the_sources_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "drills.json"
    monkeypatch.setitem(DRILLS, "d", a_drill(uneven, apart=True))
    for arguments in ([], [], ["--trials", "1"]):
        monkeypatch.setattr("sys.argv", ["drills", "d", "--out", str(out), *arguments])
        assert program.main() == 1
    entry = standing(out, SHORT_FORMS, "d", sources_digest())
    assert (entry["trials"], entry["failures"]) == (4, 1)
    assert entry["first_failure"].startswith("trial 1: ")


def test_the_sources_that_drills_are_about(tmp_path: Path) -> None:
    for folder in ("payloads", "store", "signer", "worker"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.py").write_text("1")
    before = sources_digest(tmp_path)
    (tmp_path / "worker" / "part.py").write_text("2")
    assert sources_digest(tmp_path) == before
    for folder in ("payloads", "store", "signer"):
        (tmp_path / folder / "part.py").write_text("2")
        assert sources_digest(tmp_path) != before
        before = sources_digest(tmp_path)


def test_drills_whose_trials_add_up_say_where_payloads_lie() -> None:
    assert [one.name for one in DRILLS.values() if one.apart and not one.store] == []
