"""Folders of benchmarks and of their services: one whose process was killed goes with the next, one that is in use stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from harness.held_folder import PREFIX, HeldFolder, held_folder, remove_leftovers

HOLDER = """
import sys
from pathlib import Path
from harness.held_folder import HeldFolder
folder = HeldFolder("a", Path(sys.argv[1]))
(folder.path / "file").write_text("x")
print(folder.path, flush=True)
sys.stdin.read()
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder, which it has made."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLDER, str(parent)]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_process_goes_with_the_next_one(tmp_path: Path) -> None:
    first, killed = holder(tmp_path)
    second, used = holder(tmp_path)
    assert killed.is_dir() and used.is_dir()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    own = HeldFolder("b", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([used, own.path])
    assert (used / "file").read_text() == "x"
    own.remove()
    own.remove()
    second.communicate()
    assert remove_leftovers(tmp_path) == [used]
    assert list(tmp_path.iterdir()) == []


def test_what_has_another_name_or_is_no_folder_stays(tmp_path: Path) -> None:
    others = [tmp_path / "batchseal-run-abc", tmp_path / "own", tmp_path / f"{PREFIX}link", tmp_path / f"{PREFIX}file"]
    for path in others[:2]:
        path.mkdir()
    others[2].symlink_to(others[1])
    others[3].write_text("x")
    assert remove_leftovers(tmp_path) == []
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_it_is_gone_after_the_block() -> None:
    with held_folder("block") as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()
