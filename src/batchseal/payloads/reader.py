"""Reads a payload that is a file. Every byte that it returns was verified against its frame's checksum.

A payload that is gone, or that is not what was written, raises PayloadDamaged: that is final. What the operating system cannot
give just now (no descriptor is left, the folder is not mounted, the disk reports a fault) raises PayloadUnavailable: the caller
tries again later.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.extents import Extent as Part
from batchseal.payloads.extents import lock_to_read
from batchseal.payloads.frame_reader import FrameReader
from batchseal.payloads.frames import HEADER_BYTES
from batchseal.system.folders import SAFE, own_folder


def open_payload(path: Path, flags: int) -> int:
    """Opens a payload's file and returns its descriptor.

    Raises PayloadDamaged where the folder exists and the file does not, PayloadUnavailable for every other reason.
    """
    descriptor = -1
    try:
        with own_folder(path.parent) as folder:
            try:
                descriptor = os.open(path.name, flags | SAFE, dir_fd=folder)
            except FileNotFoundError as problem:
                raise PayloadDamaged(f"the stored payload cannot be opened: {problem.strerror}") from None
            except OSError as problem:
                raise unavailable(problem) from None
    except OSError as problem:
        raise unavailable(problem, "the folder of the stored payloads cannot be opened") from None
    return descriptor


def unavailable(problem: OSError, what: str = "the stored payload cannot be opened") -> PayloadUnavailable:
    return PayloadUnavailable(f"{what} just now: {problem.strerror}")


@contextmanager
def available(what: str) -> Iterator[None]:
    """Raises PayloadUnavailable for what the operating system refuses in the block."""
    try:
        yield
    except OSError as problem:
        raise unavailable(problem, what) from None


class FileReader(FrameReader):
    """The frames of one payload, by kind and ordinal. A `PayloadReader`; one thread at a time.

    The payload is all of a file, or the `part` of a segment that an extent stands for.
    """

    def __init__(self, path: Path, payload_id: UUID, part: Part | None = None) -> None:
        """Raises PayloadDamaged, PayloadUnavailable."""
        super().__init__(payload_id)
        self._descriptor = open_payload(path, os.O_RDONLY)
        self._base = part.frames_offset if part is not None else 0
        try:
            self._find_frames(self._file_bytes() if part is None else self._part_bytes(part))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def _file_bytes(self) -> int:
        try:
            return os.fstat(self._descriptor).st_size
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None

    def _part_bytes(self, part: Part) -> int:
        """The length of the frames. Whoever deletes the payload leaves it while this is open.

        A header that is damaged does not matter here, since the row says all that it says. One of zeros was deleted.
        """
        try:
            lock_to_read(self._descriptor, part.offset)
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None
        if not any(self._pread(HEADER_BYTES, part.offset - self._base)):
            raise PayloadDamaged("the stored payload cannot be opened: it was deleted")
        return part.length

    def _pread(self, count: int, offset: int) -> bytes:
        """Reads `count` bytes, or fewer where the file ends.

        A system call may stop early at a page that it cannot read. Taking that for the end of the file would report damage.
        """
        try:
            data = os.pread(self._descriptor, count, self._base + offset)
            while 0 < len(data) < count:
                more = os.pread(self._descriptor, count - len(data), self._base + offset + len(data))
                if not more:
                    break
                data += more
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None
        except MemoryError:
            raise PayloadUnavailable("there is no memory to read the stored payload just now") from None
        return data
