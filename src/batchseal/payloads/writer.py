"""Writes spill files. A file is acknowledged only after `sync` and `sync_name`, which covers the folder entry."""

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import xxhash
import zstandard

from batchseal.errors import NoSpace, SpillDamaged
from batchseal.payloads.frames import HEADER_BYTES, ZSTD, FrameHeader, FrameKind, pack_header
from batchseal.payloads.reader import SpillReader, open_payload, unavailable
from batchseal.system.crash_sites import crash_site
from batchseal.system.disk import sync

if TYPE_CHECKING:
    from typing_extensions import Buffer

PROBE_BYTES = 64 << 10
PROBE_LEVEL = 1
WORTH_IT = 0.95  # compressed only where it saves 5 % or more
LEVEL = 3
# Linux takes at most 1,024 buffers in one writev.
MAX_BUFFERS = 1024

# Records of a document are small and hold digests; packing them is not worth a call.
COMPRESSIBLE = (FrameKind.DOCUMENT, FrameKind.DESCRIPTIONS)

Frame = tuple[FrameKind, int, "Buffer"]


class SpillWriter:
    """Appends frames to one operation's file. One thread at a time; `sync` may run beside `append`."""

    def __init__(self, path: Path, payload_id: UUID, descriptor: int = -1, offset: int = 0) -> None:
        self.path = path
        self.payload_id = payload_id
        self.offset = offset
        self.raw_bytes = 0
        self.stored_bytes = 0
        self._descriptor = descriptor
        self._site = "prepared-appended" if offset else "spill-appended"

    @classmethod
    def to_create(cls, folder: Path, payload_id: UUID) -> "SpillWriter":
        """Of a file that `create` makes."""
        return cls(folder / f"{payload_id}.spill", payload_id)

    def create(self) -> None:
        """Makes the file. Raises NoSpace."""
        try:
            self._create_locked()
            while os.fstat(self._descriptor).st_nlink == 0:  # the sweep came between its making and its lock
                self.close()
                self._create_locked()
            crash_site("spill-created")
        except OSError as problem:
            raise NoSpace(f"the spill folder takes no file: {problem.strerror}", retry_after_seconds=30) from None

    def _create_locked(self) -> None:
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Held until the operation is registered: a locked file has an owner that is alive.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    @classmethod
    def reopen(cls, reader: SpillReader) -> "SpillWriter":
        """Goes on behind the last whole frame; a half-written one is cut off. Raises SpillDamaged, PayloadUnavailable."""
        descriptor = open_payload(reader.path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, reader.end)
            os.lseek(descriptor, reader.end, os.SEEK_SET)
        except OSError as problem:
            os.close(descriptor)
            raise unavailable(problem, "the stored payload cannot be continued") from None
        return cls(reader.path, reader.payload_id, descriptor, reader.end)

    def append(self, frames: Iterable[Frame]) -> list[int]:
        """Appends frames in order; returns the stored bytes of each. Raises NoSpace, and then the file is cut back."""
        sizes = self._append(frames)
        crash_site(self._site)
        return sizes

    def _append(self, frames: Iterable[Frame]) -> list[int]:
        buffers: list[Buffer] = []
        sizes: list[int] = []
        raw_bytes, offset = 0, self.offset
        for kind, ordinal, content in frames:
            view = memoryview(content).cast("B")
            stored, flags = self._pack(view) if kind in COMPRESSIBLE else (view, 0)
            header = FrameHeader(kind, flags, ordinal, len(view), len(stored), xxhash.xxh3_64_intdigest(stored))
            buffers += (pack_header(header, self.payload_id, offset), stored)
            offset += HEADER_BYTES + len(stored)
            sizes.append(len(stored))
            raw_bytes += len(view)
        self._write_all(buffers)
        self.offset = offset
        self.raw_bytes += raw_bytes
        self.stored_bytes += sum(sizes)
        return sizes

    def append_synced(self, frames: Iterable[Frame]) -> None:
        """Like `append`; the frames are on the disk when this returns."""
        self._append(frames)
        crash_site("signatures-appended")
        self.sync_data()
        crash_site("signatures-synced")

    @cached_property
    def _probe(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=PROBE_LEVEL)

    @cached_property
    def _compressor(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=LEVEL)

    def _pack(self, content: memoryview) -> tuple[memoryview, int]:
        """PDF streams are deflated already; a probe of the first 64 KB tells cheaply whether more can be had."""
        probe = content[:PROBE_BYTES]
        if len(self._probe.compress(probe)) > WORTH_IT * len(probe):
            return content, 0
        packed = self._compressor.compress(content)
        return (memoryview(packed), ZSTD) if len(packed) < len(content) else (content, 0)

    def _write_all(self, buffers: "Sequence[Buffer]") -> None:
        try:
            for first in range(0, len(buffers), MAX_BUFFERS):
                _writev_all(self._descriptor, list(buffers[first : first + MAX_BUFFERS]))
        except OSError as problem:
            os.ftruncate(self._descriptor, self.offset)
            os.lseek(self._descriptor, self.offset, os.SEEK_SET)
            raise NoSpace(f"the temporary space takes no more: {problem.strerror}", retry_after_seconds=30) from None

    def sync_data(self) -> None:
        """What was appended so far is on the disk when this returns. Raises NoSpace."""
        self._synced(os.fdatasync)

    def sync(self) -> None:
        """The whole file is on the disk when this returns, but for its name. Raises NoSpace."""
        self._synced(os.fsync)

    def _synced(self, call: Callable[[int], None]) -> None:
        try:
            call(self._descriptor)
        except OSError as problem:
            raise NoSpace(
                f"the temporary space cannot be written: {problem.strerror}", retry_after_seconds=30
            ) from None

    def begin_sync(self) -> None:
        """Has the disk begin to write, so that less is left for a later `sync`. Waits for nothing."""
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync_name(self) -> None:
        """The name of the file is on the disk when this returns. May run beside all else. Raises NoSpace."""
        self._synced(lambda _: sync(self.path.parent))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def abort(self) -> None:
        """Leaves nothing behind."""
        self.close()
        self.path.unlink(missing_ok=True)


def sync_file(folder: Path, payload_id: UUID) -> None:
    """All that any process has appended to a file is on the disk when this returns. Not where it is gone. Raises
    PayloadUnavailable.
    """
    with suppress(SpillDamaged):
        descriptor = open_payload(folder / f"{payload_id}.spill", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be synced") from None
        finally:
            os.close(descriptor)


def _writev_all(descriptor: int, buffers: "list[Buffer]") -> None:
    while buffers:
        written = os.writev(descriptor, buffers)
        while buffers and written >= len(memoryview(buffers[0]).cast("B")):
            written -= len(memoryview(buffers.pop(0)).cast("B"))
        if written and buffers:
            buffers[0] = memoryview(buffers[0]).cast("B")[written:]
