"""The files on this machine that a client reads and writes.

What fails there is a `LocalFileError`, so that nobody takes it for a connection that broke and tries again.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from batchseal.errors import LocalFileError


class Target(Protocol):
    """Where a document goes that is fetched. A file in memory is one too."""

    def write(self, piece: bytes, /) -> int: ...
    def seek(self, position: int, /) -> int: ...
    def truncate(self) -> int: ...


@contextmanager
def local_file(path: Path, what: str) -> Iterator[None]:
    """What is done here with a file fails with LocalFileError. `what` is done: read or written."""
    try:
        yield
    except OSError as problem:
        raise LocalFileError(f"{path} cannot be {what}: {problem.strerror or problem}") from None


class PartFile:
    """A file that gets its final name only when it is complete. If writing fails, it is deleted. Raises LocalFileError."""

    def __init__(self, target: Path) -> None:
        self.target, self._part = target, target.with_name(f".{target.name[:200]}.part")

    def __enter__(self) -> "PartFile":
        with self._writing():
            self._file: BinaryIO = self._part.open("wb")
        return self

    def write(self, piece: bytes) -> int:
        with self._writing():
            return self._file.write(piece)

    def seek(self, position: int) -> int:
        with self._writing():
            return self._file.seek(position)

    def truncate(self) -> int:
        with self._writing():
            return self._file.truncate()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_complete = False
        try:
            with self._writing():
                self._file.close()  # what is in its buffer may find no room
                if kind is None:
                    os.replace(self._part, self.target)
                    is_complete = True
        finally:
            if not is_complete:
                self._part.unlink(missing_ok=True)

    def _writing(self) -> AbstractContextManager[None]:
        return local_file(self.target, "written")
