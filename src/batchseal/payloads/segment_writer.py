"""Segments that this process writes: made ahead of time, with their names and their space, so that a small payload needs neither.

The blocks of a segment hold zeros that were fsynced. An fdatasync of what is written over them has nothing to do but the data: no
block is allocated, the length stays, and the journal of the file system has no part in it.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import structlog

from batchseal.payloads.extents import (
    Extent,
    lock_to_write,
    pack_header,
    release_writing,
    taken_bytes,
)
from batchseal.payloads.group_sync import GroupSync
from batchseal.payloads.pieces import Pieces, in_groups
from batchseal.system.disk import sync
from batchseal.system.folders import SAFE, own_folder
from batchseal.system.holes import punch, write_zeros

if TYPE_CHECKING:
    from typing_extensions import Buffer

SUFFIX = ".segment"
SEGMENT_BYTES = 8 << 20
# The next segment is begun once less than this part of the present one is left.
MADE_AHEAD_SHARE = 2
# What the volume must have free beside a segment, so that making one ahead never takes the space of a request.
LEFT_FREE_BYTES = 256 << 20
RETRY_SECONDS = 30.0
# So long after a request has taken its place the next segment is begun.
PAUSE_SECONDS = 0.05
# Linux takes at most 1,024 buffers in one pwritev.
MAX_BUFFERS = 1024

log = structlog.get_logger("payloads")


class Segment:
    """One file, open for writing. It is closed once it is full and nobody writes or registers a payload in it any more."""

    def __init__(self, path: Path, segment_id: UUID, size_bytes: int) -> None:
        """Makes the file with all its space and its name, both of which have survived a power cut then. Raises OSError."""
        self.path = path
        self.id = segment_id
        self.size_bytes = size_bytes
        self.next_offset = 0
        self._inode = 0
        self.uses = 1  # of whoever may put a payload into it, and of each payload that is written
        self.descriptor = -1
        try:
            self._create_locked()
            while os.fstat(self.descriptor).st_nlink == 0:  # a sweep ran between the creation of the file and its lock
                os.close(self.descriptor)
                self._create_locked()
            write_zeros(self.descriptor, 0, size_bytes)
            os.fsync(self.descriptor)
            sync(path.parent)
            self._inode = os.fstat(self.descriptor).st_ino
        except BaseException:
            self._remove()
            raise

    def _create_locked(self) -> None:
        with own_folder(self.path.parent) as folder:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self.descriptor = os.open(self.path.name, flags, 0o600, dir_fd=folder)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def _remove(self) -> None:
        if self.descriptor >= 0:
            with suppress(OSError), own_folder(self.path.parent) as folder:
                os.unlink(self.path.name, dir_fd=folder)
            os.close(self.descriptor)
            self.descriptor = -1

    def is_in_place(self) -> bool:
        """Whether others find it: somebody may have taken the folder, or the file, away."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino == self._inode
        except OSError:
            return False

    @property
    def left_bytes(self) -> int:
        return self.size_bytes - self.next_offset

    def close(self) -> None:
        """What was left of it goes back to the disk. From now on a sweep may look at all of it."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, self.next_offset)
        if self.next_offset == 0:
            return self._remove()
        os.close(self.descriptor)
        self.descriptor = -1
        return None


class Place:
    """The place of one payload in a segment, from when it is found until the payload is released."""

    def __init__(self, writer: "SegmentWriter", segment: Segment, extent: Extent) -> None:
        self.extent = extent
        self.segment = segment
        self._writer = writer
        self._is_used = True

    def write(self, buffers: "Sequence[Buffer | Pieces]") -> None:
        """Raises OSError."""
        header, offset = pack_header(self.extent, self.segment.id), self.extent.offset
        for group in in_groups((header, *buffers), MAX_BUFFERS):
            offset = _pwritev_all(self.segment.descriptor, [memoryview(one).cast("B") for one in group], offset)

    def sync_ahead(self, buffers: "Sequence[Buffer | Pieces]") -> Callable[[], None]:
        """What makes the payload durable, for any thread; it may outlast the place, and is to be called once. Raises OSError.

        `buffers` is what was written. It is written once more where the sync fails: the system reports such a failure once, and
        the next sync, by whatever process, would find nothing left to do.
        """
        self._writer.begin_use(self.segment)
        kept = list(buffers)

        def sync() -> None:
            try:
                self._writer.syncs.run(self.segment.path, lambda: os.fdatasync(self.segment.descriptor))
            except OSError:
                self.write(kept)
                raise
            finally:
                self._writer.end_use(self.segment)

        return sync

    def release(self) -> None:
        """The payload is not written any more, and its row is committed or never will be."""
        if self._is_used:
            self._is_used = False
            with suppress(OSError):  # the end of the descriptor releases it too
                release_writing(self.segment.descriptor, self.extent.offset)
            self._writer.end_use(self.segment)

    def remove(self) -> None:
        """Raises OSError."""
        if self._is_used:
            return punch(self.segment.descriptor, self.extent.offset, self.extent.taken_bytes)
        with own_folder(self.segment.path.parent) as folder:
            descriptor = os.open(self.segment.path.name, os.O_RDWR | SAFE, dir_fd=folder)
        try:
            punch(descriptor, self.extent.offset, self.extent.taken_bytes)
        finally:
            os.close(descriptor)
        return None


class SegmentWriter:
    """The segments of one process. Any thread may use it. Segments are made in a thread of their own, which nobody waits for."""

    def __init__(
        self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self.folder = folder
        self._pause_seconds = pause_seconds
        self._asked = threading.Event()  # somebody waits for a segment
        self.segment_bytes = segment_bytes
        self.syncs = GroupSync()
        self._lock = threading.Lock()
        self._present: Segment | None = None
        self._next: Segment | None = None
        self._making: threading.Thread | None = None
        self._retry_at = 0.0

    def is_ready_for(self, length: int) -> bool:
        """Whether others find what is written here, and `has_room`. If not, there soon is room, where it can be had."""
        with self._lock:
            self._drop_missing()
            if self._present is None:
                self._make_ahead()
        return self.has_room(length)

    def has_room(self, length: int) -> bool:
        """Whether a payload whose frames have this length has a place now."""
        needed = taken_bytes(length)
        with self._lock:
            return any(one is not None and one.left_bytes >= needed for one in (self._present, self._next))

    def place(self, payload_id: UUID, length: int) -> Place | None:
        """A place for a payload, or None where there is none just now. Raises OSError."""
        needed = taken_bytes(length)
        with self._lock:
            segment = self._with_room(needed)
            self._make_ahead()
            if segment is None:
                return None
            extent = Extent(payload_id, segment.next_offset, length)
            # Before anything of it is written, so that no sweep sees an extent that nobody writes.
            lock_to_write(segment.descriptor, extent.offset)
            segment.next_offset += needed
            segment.uses += 1
        return Place(self, segment, extent)

    def begin_use(self, segment: Segment) -> None:
        with self._lock:
            segment.uses += 1

    def end_use(self, segment: Segment) -> None:
        with self._lock:
            self._end_use(segment)

    def make_ready(self) -> bool:
        """Waits until the segment that is being made is there. False if none could be made."""
        with self._lock:
            self._make_ahead()
            making = self._making
        self._asked.set()
        if making is not None:
            making.join()
        self._asked.clear()
        with self._lock:
            return self._present is not None or self._next is not None

    def close(self) -> None:
        """No payload is put into the present segments any more. What is left of them goes back to the disk."""
        self._asked.set()
        if (making := self._making) is not None:
            making.join()
        with self._lock:
            old = [one for one in (self._present, self._next) if one is not None]
            self._present = self._next = None
        for segment in old:
            self.end_use(segment)

    # --- with the lock held -------------------------------------------------------------------------------------------

    def _drop_missing(self) -> None:
        for segment in (self._present, self._next):
            if segment is not None and not segment.is_in_place():
                self._present = None if segment is self._present else self._present
                self._next = None if segment is self._next else self._next
                self._end_use(segment)

    def _end_use(self, segment: Segment) -> None:
        segment.uses -= 1
        if segment.uses == 0:
            segment.close()

    def _with_room(self, needed: int) -> Segment | None:
        if self._present is not None and self._present.left_bytes >= needed:
            return self._present
        if self._next is None or self._next.left_bytes < needed:
            return None
        if self._present is not None:
            self._end_use(self._present)
        self._present, self._next = self._next, None
        return self._present

    def _make_ahead(self) -> None:
        """Begins to make the next segment where it will be needed soon."""
        if self._next is not None or self._making is not None or time.monotonic() < self._retry_at:
            return
        if self._present is None or self._present.left_bytes * MADE_AHEAD_SHARE < self._present.size_bytes:
            self._making = threading.Thread(target=self._make, name="segment", daemon=True)
            self._making.start()

    # --- in a thread of its own ---------------------------------------------------------------------------------------

    def _make(self) -> None:
        made: Segment | None = None
        try:
            # The request that has taken the place goes first: it is on its way to the signer.
            self._asked.wait(self._pause_seconds)
            volume = os.statvfs(self.folder)
            if volume.f_bavail * volume.f_frsize >= self.segment_bytes + LEFT_FREE_BYTES:
                segment_id = uuid4()
                made = Segment(self.folder / f"{segment_id}{SUFFIX}", segment_id, self.segment_bytes)
        except OSError as problem:
            log.info("small payloads become files, since no segment could be made", cause=problem.strerror)
        finally:
            with self._lock:
                self._next, self._making = made, None
                if made is None:
                    self._retry_at = time.monotonic() + RETRY_SECONDS


def _pwritev_all(descriptor: int, buffers: list[memoryview], offset: int) -> int:
    """Writes all buffers, and returns the offset behind them. Raises OSError."""
    while buffers:
        written = os.pwritev(descriptor, buffers, offset)
        offset += written
        while buffers and written >= len(buffers[0]):
            written -= len(buffers.pop(0))
        if written:
            buffers[0] = buffers[0][written:]
    return offset
