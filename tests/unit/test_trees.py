"""The program that copies a database's files and fsyncs them."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from batchseal.postgres import trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    for name in ("a", "b/c", "b/d/e"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    (tmp_path / "elsewhere").write_bytes(b"x")
    (top / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(top / "pipe")  # opening it would wait for a writer
    return top


def test_every_file_and_folder_is_synced_and_nothing_else(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    assert trees.main(["sync", str(tree)]) == 0
    assert sorted(synced) == sorted(str(tree / name) for name in ("", "a", "b", "b/c", "b/d", "b/d/e"))


def test_what_cannot_be_synced_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(number: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    assert trees.main(["sync", str(tree)]) == 1
    assert "the disk is broken" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        trees.main(["sync", str(tmp_path / "missing")])


def test_a_tree_is_copied_with_its_modes(tree: Path, tmp_path: Path) -> None:
    (tree / "b").chmod(0o700)
    (tree / "b/c").chmod(0o640)
    target = tmp_path / "target"
    target.mkdir()
    assert trees.main(["copy", str(tree), str(target)]) == 0
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["a", "b", "b/c", "b/d", "b/d/e"]
    assert (target / "b/d/e").read_bytes() == b"x"
    assert ((target / "b").stat().st_mode & 0o777, (target / "b/c").stat().st_mode & 0o777) == (0o700, 0o640)


def test_a_copy_leaves_out_what_a_database_server_makes_anew(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source / "base", target):
        path.mkdir(parents=True)
    for name in ("2619", "2619_fsm", "2619_vm", "2619_init", "pg_internal.init", "PG_VERSION"):
        (source / "base" / name).write_bytes(b"x")
    assert trees.main(["copy", str(source), str(target)]) == 0
    assert sorted(path.name for path in (target / "base").iterdir()) == ["2619", "2619_init", "PG_VERSION"]


def test_a_copy_that_does_not_fit_is_an_error(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(shutil, "copyfile", fail)
    (tmp_path / "target").mkdir()
    assert trees.main(["copy", str(tree), str(tmp_path / "target")]) == 1
    assert "no space left" in capsys.readouterr().err
