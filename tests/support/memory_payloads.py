"""A payload store in memory, with faults that a test switches on and off.

It shows that the service needs nothing of a payload store but what `payloads/interface.py` promises.
"""

import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from batchseal.errors import NoSpace, PayloadDamaged, PayloadUnavailable
from batchseal.payloads.frames import KINDS, FrameKind
from batchseal.payloads.interface import GivenFrame, GrowingFrame, Live, PayloadRecord, require_plain, unnamed
from batchseal.payloads.pieces import Pieces

if TYPE_CHECKING:
    from typing_extensions import Buffer

FRAME_BYTES = 40  # what a frame takes beside its content, as in a file
CAPACITY_BYTES = 1 << 30


@dataclass
class Faults:
    """What the store does wrong just now.

    `before_each` is called before each call. `unavailable` fails every call, and `not_durable` only what makes a payload durable.
    `capacity_bytes` is what the store takes in all.
    """

    before_each: Callable[[], None] | None = None
    unavailable: bool = False
    not_durable: bool = False
    capacity_bytes: int = CAPACITY_BYTES
    refused: int = 0  # calls that failed because of these faults

    def pass_time(self) -> None:
        if self.before_each is not None:
            self.before_each()

    def need_store(self) -> None:
        self.pass_time()
        if self.unavailable:
            self.refused += 1
            raise PayloadUnavailable("the store is away just now: a test said so")


@dataclass
class StoredFrame:
    kind: int
    ordinal: int
    content: bytes
    checksum: int

    @property
    def computed_checksum(self) -> int:
        return zlib.crc32(self.content)

    @property
    def is_whole(self) -> bool:
        return self.computed_checksum == self.checksum


@dataclass
class Stored:
    """A payload as the store holds it."""

    frames: list[StoredFrame] = field(default_factory=list)
    is_written: bool = True  # somebody writes it, so that no sweep takes it
    is_committed: bool = False
    is_durable: bool = False

    @property
    def stored_bytes(self) -> int:
        return sum(FRAME_BYTES + len(frame.content) for frame in self.frames)


class MemoryPayloads:
    """A `Payloads` store. With `is_local` the service may read from it in its event loop."""

    name = "local"
    delete_makes_room = True
    takes_parts = False
    upload_bytes = 0
    place = None
    is_away = False

    def __init__(self, *, is_local: bool = False) -> None:
        self.is_local = is_local
        self.faults = Faults()
        self.stored: dict[UUID, Stored] = {}
        self.lock = threading.Lock()

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> "MemoryUpload":
        return MemoryUpload(self, payload_id)

    def open(self, record: PayloadRecord) -> "MemoryReader":
        require_plain(record)
        self.faults.need_store()
        with self.lock:
            found = self.stored.get(record.id)
            if found is None or not found.is_committed:
                raise PayloadDamaged("the stored payload cannot be opened: there is none of this id")
            return MemoryReader(self, found)

    def reader_bytes(self, record: PayloadRecord) -> int:
        return 0

    def make_room(self, needed_bytes: int) -> int:
        return 0

    def make_durable(self, record: PayloadRecord) -> None:
        self.faults.need_store()
        if self.faults.not_durable:
            self.faults.refused += 1
            raise PayloadUnavailable("the store makes nothing durable just now: a test said so")
        with self.lock:
            if (found := self.stored.get(record.id)) is not None:
                found.is_durable = True

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        self.faults.need_store()
        with self.lock:
            return sum(gone.stored_bytes for one in records if (gone := self.stored.pop(one.id, None)) is not None)

    def stored_bytes(self) -> int:
        self.faults.need_store()
        with self.lock:
            return sum(one.stored_bytes for one in self.stored.values() if not one.is_written)

    def free_bytes(self) -> int:
        if self.faults.unavailable:
            raise PayloadUnavailable("the store is away just now: a test said so")
        return self.room_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        if self.faults.unavailable:
            return []
        with self.lock:
            unwritten = {payload_id for payload_id, one in self.stored.items() if not one.is_written}
        orphans = list(await unnamed(unwritten, live))
        with self.lock:
            for payload_id in orphans:
                self.stored.pop(payload_id, None)
        return orphans

    # --- for tests ----------------------------------------------------------------------------------------------------

    def room_bytes(self) -> int:
        with self.lock:
            return self.faults.capacity_bytes - sum(one.stored_bytes for one in self.stored.values())

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        """Changes one byte of a frame's content."""
        for frame in self.stored[payload_id].frames:
            if (frame.kind, frame.ordinal) == (kind, ordinal):
                frame.content = bytes([frame.content[0] ^ 1]) + frame.content[1:]


class MemoryUpload:
    """An `Upload`. It holds what it was given until the capacity of the store is used up."""

    def __init__(self, payloads: MemoryPayloads, payload_id: UUID) -> None:
        self.payload_id = payload_id
        self.stored_bytes = 0
        self._payloads = payloads
        self._stored: Stored | None = None

    @property
    def begins_at_once(self) -> bool:
        return False

    def begin(self) -> None:
        self._payloads.faults.need_store()
        with self._payloads.lock:
            if self.payload_id in self._payloads.stored:
                raise NoSpace("there is a payload of this id already")
            self._stored = self._payloads.stored[self.payload_id] = Stored()

    def publish(self) -> None:
        self._payloads.faults.need_store()

    def grow(self, kind: FrameKind, ordinal: int) -> GrowingFrame:
        raise ValueError("this store takes no parts")

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        self._payloads.faults.need_store()
        assert self._stored is not None
        if self._stored.is_committed:
            raise ValueError("a payload that is committed is never written again")
        made = [
            StoredFrame(int(kind), ordinal, one := held(content), zlib.crc32(one)) for kind, ordinal, content in frames
        ]
        needed = sum(FRAME_BYTES + len(frame.content) for frame in made)
        if needed > self._payloads.room_bytes():
            self._payloads.faults.refused += 1
            raise NoSpace(f"the store takes no more: {needed} bytes are too many", retry_after_seconds=1)
        with self._payloads.lock:
            self._stored.frames += made
        self.stored_bytes += needed
        return [len(frame.content) for frame in made]

    def flush(self) -> None:
        self._payloads.faults.need_store()

    def commit(self, *, durable: bool) -> PayloadRecord:
        self._payloads.faults.need_store()
        assert self._stored is not None
        with self._payloads.lock:
            self._stored.is_committed, self._stored.is_durable = True, durable
        return PayloadRecord(id=self.payload_id, stored_bytes=self.stored_bytes)

    def sync_ahead(self) -> None:
        return None

    def release(self) -> None:
        if self._stored is not None:
            self._stored.is_written = False

    def abandon(self) -> None:
        if self._stored is not None:
            self._payloads.faults.pass_time()
            with self._payloads.lock:
                self._payloads.stored.pop(self.payload_id, None)


class MemoryReader:
    """A `PayloadReader`."""

    def __init__(self, payloads: MemoryPayloads, stored: Stored) -> None:
        self._payloads = payloads
        self._frames = {(KINDS.get(one.kind, FrameKind.UNKNOWN), one.ordinal): one for one in stored.frames}
        self.is_closed = False

    def ordinals(self, kind: FrameKind) -> set[int]:
        self._need_open()
        return {n for (frame_kind, n), one in self._frames.items() if frame_kind is kind and one.is_whole}

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        return (kind, ordinal) in self._frames

    def _found(self, kind: FrameKind, ordinal: int) -> StoredFrame:
        self._need_open()
        found = self._frames.get((kind, ordinal))
        if found is None:
            raise PayloadDamaged(f"the stored payload has no {kind.name.lower()} {ordinal}")
        return found

    def stored_bytes(self, kind: FrameKind, ordinal: int) -> int:
        return len(self._found(kind, ordinal).content)

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        found = self._found(kind, ordinal)
        if not found.is_whole:
            raise PayloadDamaged(f"the stored {kind.name.lower()} {ordinal} does not match its checksum")
        return found.content

    def checked(self, kind: FrameKind, ordinal: int) -> "MemoryFrame":
        self.read(kind, ordinal)
        return MemoryFrame(self, self._frames[kind, ordinal])

    def need_whole(self, frame: StoredFrame) -> None:
        self._need_open()
        if not frame.is_whole:
            raise PayloadDamaged("the frame has changed since it was checked")

    def close(self) -> None:
        self.is_closed = True

    def _need_open(self) -> None:
        assert not self.is_closed, "a reader is used after it was closed"
        self._payloads.faults.need_store()


class MemoryFrame:
    """A `CheckedFrame`."""

    def __init__(self, reader: MemoryReader, frame: StoredFrame) -> None:
        self._reader = reader
        self._frame = frame
        self.total_bytes = len(frame.content)

    def read(self, start: int, stop: int) -> bytes:
        self._reader.need_whole(self._frame)
        return self._frame.content[start:stop]


def held(content: "Buffer | Pieces") -> bytes:
    return b"".join(map(memoryview, content)) if isinstance(content, Pieces) else bytes(content)
