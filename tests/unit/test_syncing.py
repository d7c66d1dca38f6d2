"""The program that brings a database's files to the disk."""

import errno
import os
from pathlib import Path

import pytest

from batchseal.postgres import syncing


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
    assert syncing.main([str(tree)]) == 0
    assert sorted(synced) == sorted(str(tree / name) for name in ("", "a", "b", "b/c", "b/d", "b/d/e"))


def test_what_cannot_be_synced_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(number: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    assert syncing.main([str(tree)]) == 1
    assert "the disk is broken" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        syncing.main([str(tmp_path / "missing")])
