"""A result names the commit that it was taken from, and every program that writes one says so."""

import argparse
import json
import subprocess
from pathlib import Path

import pytest
from harness.provenance import TAKEN, commit_of, provenance
from tests.adversity.drills.__main__ import merge
from tests.container import __main__ as container

ROOT = Path(__file__).parents[2]


def git(root: Path, *arguments: str) -> str:
    options = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(root), *options, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "source.py").write_text("x = 1\n")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "drills.json").write_text("{}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_the_commit_is_named_and_what_differs_from_it_is_said(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert commit_of(repository) == commit
    (repository / "benchmarks" / "results" / "drills.json").write_text('{"of": "an earlier part of the run"}\n')
    assert commit_of(repository) == commit
    (repository / "new.py").write_text("x = 3\n")
    assert commit_of(repository) == f"{commit} dirty"
    (repository / "new.py").unlink()
    (repository / "source.py").write_text("x = 2\n")
    assert commit_of(repository) == f"{commit} dirty"


def test_what_changes_after_the_start_does_not_count(repository: Path) -> None:
    before = provenance(repository)
    assert before["date"][:2] == "20"
    (repository / "source.py").write_text("x = 2\n")
    assert provenance(repository) == before


def test_without_a_repository_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(ROOT) == "unknown"


def test_each_entry_of_a_drill_says_what_it_was_taken_from(tmp_path: Path) -> None:
    path = tmp_path / "drills.json"
    merge(path, "drills", "a", {"trials": 1}, {"commit": "1", "date": "2026-01-01"})
    merge(path, "drills", "b", {"trials": 2}, {"commit": "2", "date": "2026-01-02"})
    entries = json.loads(path.read_text())["drills"]
    assert entries["a"][TAKEN] == {"commit": "1", "date": "2026-01-01"}
    assert entries["b"][TAKEN] == {"commit": "2", "date": "2026-01-02"}


def test_the_container_test_says_it_of_each_part(tmp_path: Path) -> None:
    path = tmp_path / "container.json"
    path.write_text(json.dumps({"kills": 10, TAKEN: {"kills": {"commit": "1"}, "loads": {"commit": "1"}}}))
    given = argparse.Namespace(loads="", no_build=True, parts="loads", results=path)
    container.write({"loads_valid": 1}, 3, given)
    kept = json.loads(path.read_text())
    assert (kept["kills"], kept["loads_valid"]) == (10, 1)
    assert kept[TAKEN] == {"kills": {"commit": "1"}, "loads": provenance()}


def test_every_program_that_writes_committed_results_uses_it() -> None:
    """A program is one that names a file or the folder of the committed results."""
    found = {}
    for folder in ("benchmarks", "tests", "harness"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text("utf-8")
            writes = '"results" /' in source or "benchmarks/results/" in source or '/ "results"' in source
            if writes and "argparse" in source:
                found[str(path.relative_to(ROOT))] = "provenance" in source
    assert len(found) >= 5
    assert [name for name, uses in found.items() if not uses] == []
