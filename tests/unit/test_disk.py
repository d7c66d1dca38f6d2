"""Files that are complete and durable once they have their name."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batchseal.system import disk


class Calls:
    """What was synced and named, in order: the content of a file, the names in a folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        for name in ("fsync", "rename", "link"):
            monkeypatch.setattr(os, name, self.noted(name, getattr(os, name)))

    def noted(self, name, real):
        def call(subject, *more, **named):
            self.made.append(f"{name} {Path(os.readlink(f'/proc/self/fd/{subject}')).name}" if not more else name)
            return real(subject, *more, **named)

        return call


def test_the_content_is_synced_before_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    disk.write_synced(tmp_path / "a", b"new")
    assert calls.made == ["fsync .a.draft", "rename", f"fsync {tmp_path.name}"]
    calls.made.clear()
    disk.create_once(tmp_path / "b", b"new")
    assert calls.made[0].startswith("fsync .b.") and calls.made[1:] == ["link", f"fsync {tmp_path.name}"]


def test_a_file_is_replaced_with_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old, and longer")
    (tmp_path / ".kept.draft").write_bytes(b"a crash left this behind, and it is longer still")
    disk.write_synced(path, b"new", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with suppress(ZeroDivisionError), disk.replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_is_no_way_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"theirs")
    (tmp_path / ".kept.draft").symlink_to(tmp_path / "other")
    disk.write_synced(tmp_path / "kept", b"ours")
    assert (tmp_path / "other").read_bytes() == b"theirs"


def test_of_several_processes_that_create_a_file_all_find_the_same(tmp_path: Path) -> None:
    path = tmp_path / "key"
    code = (
        "import os, sys; from pathlib import Path; from batchseal.system.disk import create_once\n"
        f"path = Path({str(path)!r}); sys.stdin.read()\n"
        "create_once(path, os.urandom(64)); sys.stdout.buffer.write(path.read_bytes())"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    for process in processes:  # each waits until its input ends: they begin together
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    found = {process.communicate(timeout=240)[0] for process in processes}
    assert found == {path.read_bytes()} and len(path.read_bytes()) == 64
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_several_files_get_their_names_in_order_once_all_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        happened.append("fsync")

    def renamed(old: str, new: str, **options: Any) -> None:
        rename(old, new, **options)
        happened.append(new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    files = [disk.NewFile(tmp_path / name, name.encode() * 9, 0o600) for name in ("list", "key", "certificate")]
    disk.write_synced_together(files)
    assert happened == ["fsync", "fsync", "fsync", "list", "key", "certificate", "fsync"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        file.path.name: file.content for file in files
    }


def test_where_one_of_several_files_fails_none_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list").write_bytes(b"old")
    fails = iter([False, True, False])
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        if next(fails):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    with pytest.raises(OSError, match="No space"):
        disk.write_synced_together([disk.NewFile(tmp_path / name, b"new") for name in ("list", "key", "certificate")])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("list", b"old")]
