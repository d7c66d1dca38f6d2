"""`MappedFile`: a small file that several processes map into memory, and change while they hold its lock."""

import fcntl
import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from batchseal.system.disk import open_mapped


class MappedFile:
    """The first `size_bytes` of a file, which is made if it is missing. All processes that map it see what one writes to `bytes`.

    The file is meant for processes that run on this machine now, so what is written is not fsynced. A new file is, once: after a
    power cut its name might otherwise stand for another file. Nobody waits for that. Raises OSError.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        is_new = not path.exists()
        self._descriptor = open_mapped(path, size_bytes)
        try:
            if is_new:
                threading.Thread(target=_sync, args=(os.dup(self._descriptor),), daemon=True).start()
            self.bytes = mmap.mmap(self._descriptor, size_bytes)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Ends the mapping and closes the file."""
        self.bytes.close()
        os.close(self._descriptor)

    def locked(self) -> "FileLock":
        """Holds the lock of the file during the block. Do not nest it: the end of the inner block would release the lock."""
        return FileLock(self._descriptor)


def _sync(descriptor: int) -> None:
    with suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


class FileLock:
    """The lock of an open file, held during a block. It is a class, since a generator would take as long as the lock itself."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
