"""Writes a payload as a file: an append-only sequence of frames.

The file is locked while it is written and until its operation is registered, so that a sweep can tell an upload from a payload
that nobody needs any more.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from batchseal.errors import NoSpace
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.growing import FileFrame
from batchseal.payloads.interface import STORES_LARGE_AS_IT_IS, GivenFrame, PayloadRecord
from batchseal.payloads.packing import Packing
from batchseal.payloads.pieces import Pieces, in_groups
from batchseal.system.crash_sites import crash_site
from batchseal.system.disk import sync
from batchseal.system.folders import own_folder

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Linux takes at most 1,024 buffers in one writev.
MAX_BUFFERS = 1024
# linux/mman.h; the module mmap does not name it.
MADV_POPULATE_READ = 22
READ_BYTES = 1 << 20
SPACE_RETRY_SECONDS = 30


class FileUpload:
    """An `Upload` into one file. `append` is called by one thread at a time; `flush` and `publish` may run beside it."""

    def __init__(self, path: Path, payload_id: UUID) -> None:
        self.path = path
        self.payload_id = payload_id
        self.stored_bytes = 0
        self._descriptor = -1
        self._is_created = False
        self._is_published = False
        self._is_committed = False
        self._packing = Packing(payload_id)

    @property
    def begins_at_once(self) -> bool:
        return False

    def begin(self) -> None:
        """Raises NoSpace."""
        try:
            self._create_locked()
            # A sweep that ran between the creation of the file and its lock has removed it: it is created again.
            while os.fstat(self._descriptor).st_nlink == 0:
                self.release()
                self._create_locked()
        except OSError as problem:
            raise self._no_space("the folder of the payloads takes no file", problem) from None
        crash_site("payload-created")

    def _create_locked(self) -> None:
        with own_folder(self.path.parent) as folder:
            self._descriptor = os.open(self.path.name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        self._is_created = True
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def publish(self) -> None:
        """Raises NoSpace."""
        try:
            sync(self.path.parent)
        except OSError as problem:
            raise self._no_space("the folder of the payloads cannot be synced", problem) from None
        self._is_published = True

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        """Raises NoSpace, after the file was cut back to what it held before; ValueError after the commit."""
        if self._is_committed:
            raise ValueError("a payload that is committed is never written again")
        behind, sizes = self.stored_bytes, list[int]()
        with self._all_or_nothing():
            for window in self._packing.windows(frames, behind):
                self._write_all(window.buffers)
                sizes += window.sizes
                behind = window.behind
        self._appended(behind)
        return sizes

    def write(self, buffers: "Sequence[Buffer | Pieces]", behind: int) -> None:
        """Appends frames that were packed for this place; `behind` is the offset behind them. Raises NoSpace like `append`."""
        with self._all_or_nothing():
            self._write_all(buffers)
        self._appended(behind)

    def grow(self, kind: FrameKind, ordinal: int, kept: Callable[[bytes], None] = lambda header: None) -> FileFrame:
        """Raises NoSpace. `kept` is called with the header of the frame, once it is written."""
        return FileFrame(self, kind, ordinal, kept)

    def write_at(self, offset: int, content: bytes) -> None:
        """Writes over what is there. Raises NoSpace."""
        left = memoryview(content)
        try:
            while left:  # the system may write less than it is given, however little that is
                written = os.pwrite(self._descriptor, left, offset)
                left, offset = left[written:], offset + written
        except OSError as problem:
            raise self._no_space("the temporary space cannot be written", problem) from None

    def cut_back(self, length: int) -> None:
        """Forgets what was appended behind the first `length` bytes. Raises NoSpace."""
        try:
            os.ftruncate(self._descriptor, length)
            os.lseek(self._descriptor, length, os.SEEK_SET)
        except OSError as problem:
            raise self._no_space("the temporary space cannot be written", problem) from None
        self.stored_bytes = length

    def mapping(self, start: int, stop: int) -> memoryview:
        """The bytes between two offsets, which stay in the file. Raises NoSpace, also where the disk does not give them back.

        Nobody else writes to the file or cuts it. A page that the system drops later, for want of memory, and that the disk does
        not give back once more ends this process (SIGBUS).
        """
        page = start - start % mmap.ALLOCATIONGRANULARITY
        try:
            mapped = mmap.mmap(self._descriptor, stop - page, prot=mmap.PROT_READ, offset=page)
            mapped.madvise(mmap.MADV_SEQUENTIAL)
            self._populate(mapped, page, stop)
        except OSError as problem:
            raise self._no_space("the temporary space cannot be read", problem) from None
        return memoryview(mapped)[start - page :]

    def _populate(self, mapped: mmap.mmap, start: int, stop: int) -> None:
        """Has the system find all pages now, which reports what it cannot read. Raises OSError."""
        try:
            mapped.madvise(MADV_POPULATE_READ)
        except OSError as problem:
            if problem.errno != errno.EINVAL:
                raise
            # Before Linux 5.14 the pages are read once instead. Nothing of that is kept.
            for offset in range(start, stop, READ_BYTES):
                os.pread(self._descriptor, min(READ_BYTES, stop - offset), offset)

    def _appended(self, behind: int) -> None:
        self.stored_bytes = behind
        crash_site("payload-appended")

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Cuts the file back to what it held before, where the block raises. Raises NoSpace for an error of the system."""
        try:
            yield
        except BaseException as problem:
            os.ftruncate(self._descriptor, self.stored_bytes)
            os.lseek(self._descriptor, self.stored_bytes, os.SEEK_SET)
            if isinstance(problem, OSError):
                raise self._no_space("the temporary space takes no more", problem) from None
            raise

    def _write_all(self, buffers: "Sequence[Buffer | Pieces]") -> None:
        for group in in_groups(buffers, MAX_BUFFERS):
            _writev_all(self._descriptor, group)

    def flush(self) -> None:
        """Raises NoSpace."""
        self._sync(os.fdatasync)

    def commit(self, *, durable: bool) -> PayloadRecord:
        """Raises NoSpace."""
        if durable:
            self._sync(os.fsync)
            if not self._is_published:
                self.publish()
        self._is_committed = True
        crash_site("payload-committed")
        return PayloadRecord(id=self.payload_id, stored_bytes=self.stored_bytes, version=STORES_LARGE_AS_IT_IS)

    def _sync(self, call: Callable[[int], None]) -> None:
        try:
            call(self._descriptor)
        except OSError as problem:
            raise self._no_space("the temporary space cannot be written", problem) from None

    def _no_space(self, what: str, problem: OSError) -> NoSpace:
        return NoSpace(f"{what}: {problem.strerror}", retry_after_seconds=SPACE_RETRY_SECONDS)

    def sync_ahead(self) -> None:
        return None

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def abandon(self) -> None:
        self.release()
        if self._is_created:
            # The sweep takes what cannot be removed just now.
            with suppress(OSError), own_folder(self.path.parent) as folder:
                os.unlink(self.path.name, dir_fd=folder)


def _writev_all(descriptor: int, buffers: "list[Buffer]") -> None:
    while buffers:
        written = os.writev(descriptor, buffers)
        while buffers and written >= len(memoryview(buffers[0]).cast("B")):
            written -= len(memoryview(buffers.pop(0)).cast("B"))
        if written and buffers:
            buffers[0] = memoryview(buffers[0]).cast("B")[written:]
