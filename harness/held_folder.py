"""Folders in /tmp for as long as a process works. One that is killed cannot remove its own, so the next one does.

The folder is locked (flock) by the process that made it. The kernel releases the lock when the process ends, however it ends, so
whoever gets the lock of a folder may remove it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "batchseal-held-"


class HeldFolder:
    """A new folder `<PREFIX><name>-...` in `parent` (by default that of temporary files). Removes those that nobody holds."""

    def __init__(self, name: str, parent: Path | None = None) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        remove_leftovers(self._parent)
        self._descriptor = -1
        while self._descriptor < 0:
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-", dir=self._parent))
            # Another process may remove it before it is held. Then there is no folder to open.
            self._descriptor = _held(self.path, waits=True)

    def remove(self) -> None:
        """May be called several times."""
        if self._descriptor >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def held_folder(name: str) -> Iterator[Path]:
    """A `HeldFolder` during the block."""
    folder = HeldFolder(name)
    try:
        yield folder.path
    finally:
        folder.remove()


def remove_leftovers(parent: Path) -> list[Path]:
    """Removes the folders whose process is gone, and returns them."""
    removed = []
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if (descriptor := _held(path, waits=False)) >= 0:
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)
                removed.append(path)
    return removed


def _held(path: Path, *, waits: bool) -> int:
    """A descriptor that holds the lock of the folder; -1 where it is gone, or another process holds it. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink and os.path.isdir(path):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return -1
