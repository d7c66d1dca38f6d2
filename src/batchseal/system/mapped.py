"""A small table in a file that several processes map and change under one lock: `MappedFile`."""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchseal.system.disk import open_mapped


class MappedFile:
    """The first `size_bytes` of a file, made where there is none. What is written to `bytes` is seen by all that map it.

    The file is for this machine's processes while they run: nothing is fsynced. Raises OSError.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._descriptor = open_mapped(path, size_bytes)
        try:
            self.bytes = mmap.mmap(self._descriptor, size_bytes)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        self.bytes.close()
        os.close(self._descriptor)

    @contextmanager
    def locked(self) -> Iterator[mmap.mmap]:
        """Nobody else holds the lock within the block. Do not nest it: the inner end would give the lock away."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield self.bytes
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
