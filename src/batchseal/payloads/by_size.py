"""The payloads of one folder: small ones share segments, the others are files of their own. The default store."""

from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from batchseal.payloads.interface import Live, PayloadRecord
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.reader import FileReader
from batchseal.payloads.segment_writer import SEGMENT_BYTES, SegmentWriter
from batchseal.payloads.segments import Segments
from batchseal.payloads.small_upload import SmallUpload
from batchseal.payloads.writer import FileUpload

# What is expected to be at most so large shares a segment. A larger payload gains little: its own bytes take most of the time.
SMALL_BYTES = 1 << 20
# It may turn out to be so much larger: each document brings its update, and frames with headers.
MOST_FACTOR = 2


class PayloadsBySize:
    """A `Payloads` store. The folder belongs to one instance alone."""

    name = "local"
    is_local = True
    takes_parts = True
    delete_makes_room = True
    upload_bytes = 0
    place = None
    is_away = False

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "local",
        small_bytes: int = SMALL_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.name = name
        self.files = LocalPayloads(folder)
        self.segments = Segments(folder)
        self.writer = SegmentWriter(folder, segment_bytes=segment_bytes)
        self._small_bytes = small_bytes

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> SmallUpload | FileUpload:
        """While there is no room in a segment, a small payload becomes a file too."""
        if expected_bytes is None or expected_bytes > self._small_bytes or not self.writer.is_ready_for(expected_bytes):
            return self.files.create(payload_id)
        return SmallUpload(self.writer, payload_id, self._small_bytes * MOST_FACTOR, self.files.create)

    def open(self, record: PayloadRecord) -> FileReader:
        return self.files.open(record) if record.segment is None else self.segments.open(record)

    def reader_bytes(self, record: PayloadRecord) -> int:
        return 0

    def make_room(self, needed_bytes: int) -> int:
        """Whatever lies here is a payload."""
        return 0

    def make_durable(self, record: PayloadRecord) -> None:
        if record.segment is None:
            self.files.make_durable(record)
        else:
            self.segments.make_durable(record)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        given = list(records)
        freed = self.files.delete([record for record in given if record.segment is None])
        return freed + self.segments.delete([record for record in given if record.segment is not None])

    def stored_bytes(self) -> int:
        return self.files.stored_bytes() + self.segments.stored_bytes()

    def free_bytes(self) -> int:
        return self.files.free_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        return await self.files.sweep(live) + await self.segments.sweep(live)
