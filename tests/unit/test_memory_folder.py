"""The folder in memory that tests put their files into, and when they leave it alone."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.support import memory_folder
from tests.support.memory_folder import FILES_BYTES, PROCESSES_BYTES, end_of, is_enough, on_disk, use_memory

from batchseal.postgres.memory import MEMORY

NEEDED = FILES_BYTES + PROCESSES_BYTES


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which nobody has chosen a folder yet. What is there is back after the test."""
    monkeypatch.setenv("TMPDIR", "")
    monkeypatch.delenv("TMPDIR")
    monkeypatch.delenv(memory_folder.DISK_VARIABLE, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)


def meminfo(folder: Path, available_bytes: int) -> Path:
    path = folder / "meminfo"
    path.write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available_bytes // 1024} kB\n")
    return path


@pytest.mark.usefixtures("no_folder")
def test_files_of_this_process_and_of_others_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory_folder, "is_enough", lambda folder: True)
    disk = tempfile.gettempdir()
    held = use_memory(tmp_path)
    assert held is not None and held.path.parent == tmp_path
    asks = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]

    def of_others() -> str:
        return subprocess.run(asks, capture_output=True, text=True, check=True).stdout.strip()

    assert tempfile.gettempdir() == of_others() == str(held.path)
    assert use_memory(tmp_path) is None  # a process that the first one has started
    with on_disk():
        assert tempfile.gettempdir() == of_others() == disk
    assert tempfile.gettempdir() == of_others() == str(held.path)
    end_of(held)
    assert tempfile.gettempdir() == disk and list(tmp_path.iterdir()) == []
    with on_disk():
        assert tempfile.gettempdir() == disk


def test_a_folder_that_was_named_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory_folder, "is_enough", lambda folder: True)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert use_memory(tmp_path) is None


def test_it_takes_memory_that_is_free(tmp_path: Path) -> None:
    room = MEMORY.is_mount() and is_enough(MEMORY, meminfo(tmp_path, NEEDED), 1 << 60)
    if not room:
        pytest.skip("this machine has no such memory, so every question below has the same answer")
    assert is_enough(MEMORY, meminfo(tmp_path, NEEDED), NEEDED)
    assert not is_enough(MEMORY, meminfo(tmp_path, NEEDED), NEEDED - 1)
    assert not is_enough(MEMORY, meminfo(tmp_path, NEEDED - 1024), 1 << 60)
    assert not is_enough(tmp_path, meminfo(tmp_path, NEEDED), 1 << 60)  # a folder, but not where memory is mounted
