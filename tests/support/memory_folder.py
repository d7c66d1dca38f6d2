"""Where the tests put their files: into memory where there is enough of it, since otherwise they wait for the disk.

What a test says does not change with the place: a killed process loses nothing that it has written, on a disk or in memory. Power
cuts are tried with file systems of the drills' own, whose image is the disk, and failed syncs by doubles. A drill that is about
the disk itself asks for `on_disk`.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.held_folder import HeldFolder

from batchseal.postgres.memory import MEMORY, is_memory
from batchseal.system.cgroups import memory_limit

# What the tests keep at one time, with room to spare, and what they leave to the processes that they start.
FILES_BYTES, PROCESSES_BYTES = 3 << 30, 2 << 30
# Names the folder of temporary files that would be used otherwise.
DISK_VARIABLE = "BATCHSEAL_TESTS_DISK"


def use_memory(folder: Path = MEMORY) -> HeldFolder | None:
    """Makes a folder in memory that of temporary files, for this process and for all that it starts; None where it cannot be.

    Whoever names a folder with TMPDIR gets that one, and finds there what tests have left.
    """
    if "TMPDIR" in os.environ or not is_enough(folder):
        return None
    disk = tempfile.gettempdir()
    held = HeldFolder("t", folder)  # a short name: the paths of sockets have at most 107 bytes
    held.path.chmod(0o1777)  # like /tmp: the embedded database has another account
    os.environ.update({"TMPDIR": str(held.path), DISK_VARIABLE: disk})
    tempfile.tempdir = None  # it is looked up anew
    return held


def end_of(held: HeldFolder) -> None:
    """Removes the folder. Temporary files are where they were before."""
    del os.environ["TMPDIR"]
    tempfile.tempdir = os.environ.pop(DISK_VARIABLE)
    held.remove()


def is_enough(folder: Path, meminfo: Path = Path("/proc/meminfo"), limit_bytes: int | None = None) -> bool:
    """Whether this is a file system in memory with enough room, which programs may be run from, and the memory is free.

    `limit_bytes` is what the container allows; by default it is looked up.
    """
    needed = FILES_BYTES + PROCESSES_BYTES
    limit_bytes = limit_bytes or memory_limit()
    if limit_bytes is not None and limit_bytes < needed:
        return False
    if not is_memory(folder, FILES_BYTES) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    return available_bytes(meminfo) >= needed


def available_bytes(meminfo: Path) -> int:
    """What the kernel could give to new processes without swapping; 0 where it does not say."""
    for line in meminfo.read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def on_disk() -> Iterator[None]:
    """Temporary files are on the disk during this block, or where TMPDIR says, also those of processes that are started."""
    if DISK_VARIABLE not in os.environ:
        yield
        return
    memory, before = os.environ["TMPDIR"], tempfile.tempdir
    tempfile.tempdir = os.environ["TMPDIR"] = os.environ[DISK_VARIABLE]
    try:
        yield
    finally:
        tempfile.tempdir, os.environ["TMPDIR"] = before, memory
