"""Writes a small payload into a segment, in one piece at its commit. It needs no file, no name and no sync of a folder."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from batchseal.errors import NoSpace
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.growing import FileFrame
from batchseal.payloads.interface import STORES_LARGE_AS_IT_IS, GivenFrame, PayloadRecord
from batchseal.payloads.packing import Packing
from batchseal.payloads.pieces import Pieces
from batchseal.payloads.segment_writer import Place, SegmentWriter
from batchseal.payloads.writer import SPACE_RETRY_SECONDS, FileUpload
from batchseal.system.crash_sites import crash_site

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = structlog.get_logger("payloads")


class SmallUpload:
    """An `Upload` that holds its frames until its commit. What turns out to be larger than `most_bytes`, or finds no place in a
    segment, becomes a file.
    """

    def __init__(
        self, writer: SegmentWriter, payload_id: UUID, most_bytes: int, make_file: Callable[[UUID], FileUpload]
    ) -> None:
        self.payload_id = payload_id
        self._writer = writer
        self._most_bytes = most_bytes
        self._make_file = make_file
        self._packing = Packing(payload_id)
        self._buffers: list[Buffer | Pieces] = []
        self._length = 0  # of what the buffers hold
        self._file: FileUpload | None = None
        self._place: Place | None = None
        self._is_committed = False

    @property
    def begins_at_once(self) -> bool:
        return True

    @property
    def stored_bytes(self) -> int:
        if self._file is not None:
            return self._file.stored_bytes
        return self._place.extent.taken_bytes if self._place is not None else self._length

    def begin(self) -> None:
        """Its place is found at the commit, when its length is known."""

    def publish(self) -> None:
        """Raises NoSpace. The name of a segment is durable before anything is written into it."""
        if (file := self._file) is not None:
            file.publish()

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        """Raises NoSpace, ValueError after the commit."""
        if self._is_committed:
            raise ValueError("a payload that is committed is never written again")
        if self._file is not None:
            return self._file.append(frames)
        buffers, sizes, behind = self._packing.pack(frames, self._length)
        if behind > self._most_bytes or not self._writer.has_room(behind):
            self._become_file([*self._buffers, *buffers], behind)
        else:
            self._buffers += buffers
            self._length = behind
        return sizes

    def grow(self, kind: FrameKind, ordinal: int) -> FileFrame:
        """Raises NoSpace. Such a payload is not small, so it becomes a file."""
        if self._file is None:
            self._become_file(self._buffers, self._length)
        assert self._file is not None
        return self._file.grow(kind, ordinal)

    def flush(self) -> None:
        """Raises NoSpace."""
        if (file := self._file) is not None:
            file.flush()

    def commit(self, *, durable: bool) -> PayloadRecord:
        """Raises NoSpace."""
        if self._file is None and not self._put_into_segment():
            self._become_file(self._buffers, self._length)
        if self._file is not None:
            record = self._file.commit(durable=durable)
            self._is_committed = True
            return record
        assert self._place is not None
        if durable:
            self._sync(self._place)
        self._is_committed = True
        crash_site("payload-committed")
        extent = self._place.extent
        return PayloadRecord(
            id=self.payload_id,
            stored_bytes=extent.taken_bytes,
            version=STORES_LARGE_AS_IT_IS,
            segment=self._place.segment.id,
            offset=extent.offset,
            length=extent.length,
        )

    def _put_into_segment(self) -> bool:
        """False where there is no place."""
        place: Place | None = None
        try:
            if (place := self._writer.place(self.payload_id, self._length)) is None:
                return False
            crash_site("payload-created")
            place.write(self._buffers)
        except OSError as problem:
            log.info("a small payload becomes a file", cause=problem.strerror)
            if place is not None:
                self._drop(place)
            return False
        self._place = place
        crash_site("payload-appended")
        return True

    def _become_file(self, buffers: "list[Buffer | Pieces]", length: int) -> None:
        """Raises NoSpace; nothing has changed then."""
        file = self._make_file(self.payload_id)
        try:
            file.begin()
            file.write(buffers, length)
        except BaseException:
            file.abandon()
            raise
        self._file, self._buffers, self._length = file, [], 0

    def _sync(self, place: Place) -> None:
        try:
            place.sync_ahead(self._buffers)()
        except OSError as problem:
            cause = f"the temporary space cannot be written: {problem.strerror}"
            raise NoSpace(cause, retry_after_seconds=SPACE_RETRY_SECONDS) from None

    def sync_ahead(self) -> Callable[[], None] | None:
        return self._place.sync_ahead(self._buffers) if self._place is not None else None

    def release(self) -> None:
        self._buffers = []
        if self._file is not None:
            self._file.release()
        if self._place is not None:
            self._place.release()

    def abandon(self) -> None:
        self._buffers = []
        if self._file is not None:
            self._file.abandon()
        if (place := self._place) is not None:
            self._place = None
            self._drop(place)

    def _drop(self, place: Place) -> None:
        # The sweep takes what cannot be removed just now.
        with suppress(OSError):
            place.remove()
        place.release()
