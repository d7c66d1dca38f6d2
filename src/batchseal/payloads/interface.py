"""What a payload store is to the rest of the service.

All methods block, so callers run them in a thread; `release`, `close` and `free_bytes` answer at once. They raise
PayloadUnavailable where another try may succeed, PayloadDamaged where none will, and NoSpace where the store takes no more.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import msgspec

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.frames import FrameKind

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from batchseal.payloads.pieces import Pieces

# The kind of a frame, the ordinal of its document (0 where it belongs to none), its content.
Frame = tuple[FrameKind, int, "Buffer"]
# A frame as it may be given to a store.
GivenFrame = tuple[FrameKind, int, "Buffer | Pieces"]


# From this version of its record on, a payload holds no large document that is compressed (`packing.MOST_COMPRESSED_BYTES`).
STORES_LARGE_AS_IT_IS = 2


class Encryption(msgspec.Struct, frozen=True):
    """How a payload is encrypted (payloads/encryption.py): the id of the key in the key file, and what the payload's own key is
    derived with. `check` tells whether that key came out as it was.
    """

    key_id: str
    salt: bytes
    check: bytes


class PayloadRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the row of an operation keeps of a payload: all that a store needs to find and read it again.

    A payload with a `segment` shares that file with others: its frames have `length` bytes and stand behind the header of its
    place, which is at `offset`. One in an object store has an index of `index_bytes` bytes at `index_offset`, behind its frames.

    That a payload is encrypted is said here and not in the payload. So nobody who can write to the store passes off a document of
    his own as one that was not encrypted.
    """

    id: UUID
    stored_bytes: int = 0
    version: int = 1
    segment: UUID | None = None
    offset: int = 0
    length: int = 0
    index_offset: int = 0
    index_bytes: int = 0
    encryption: Encryption | None = None


def require_plain(record: PayloadRecord) -> None:
    """Each store calls this before it opens a payload. Raises PayloadUnavailable: what is encrypted comes with `encryption=None`
    from who decrypts it, so that nobody else takes it for a document.
    """
    if (encryption := record.encryption) is not None:
        raise PayloadUnavailable(
            f"the stored payload is encrypted with the key {encryption.key_id!r}, and --payload-key-file is not set"
        )


# Gives the payloads that rows name, some at a time, so that nobody holds all of them.
Live = Callable[[], AsyncGenerator[Collection[PayloadRecord], None]]


async def unnamed(ids: Iterable[UUID], live: Live) -> set[UUID]:
    """Those of these payloads that no row names."""
    left = set(ids)
    async with aclosing(live()) as parts:
        async for records in parts:
            left.difference_update(record.id for record in records)
    return left


class GrowingFrame(Protocol):
    """A frame that is stored while its content arrives. Nothing else is appended to its payload before `keep` or `drop`."""

    def write(self, content: "Buffer") -> None:
        """Stores the next part of the content. Raises NoSpace."""
        ...

    def content(self) -> "Buffer":
        """All that was written, as a mapping of the file that it is in. It is good until the frame is dropped."""
        ...

    def keep(self) -> None:
        """The content is complete. Raises NoSpace, PayloadUnavailable."""
        ...

    def drop(self) -> None:
        """Nothing of the frame stays. Raises NoSpace."""
        ...


class Upload(Protocol):
    """A payload while it is written, by one thread at a time."""

    @property
    def payload_id(self) -> UUID: ...

    @property
    def stored_bytes(self) -> int:
        """How many bytes the store holds for this payload by now."""
        ...

    @property
    def begins_at_once(self) -> bool:
        """Whether `begin` and `publish` do not wait for a disk, so that no thread is needed for them."""
        ...

    def begin(self) -> None:
        """Makes a place for the payload. Called once, before anything is appended."""
        ...

    def publish(self) -> None:
        """Makes the name of the payload durable. It may run beside everything else, so that `commit` need not wait for it."""
        ...

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        """Appends frames in order and returns how many bytes each one takes. Where it raises, none of them was appended.

        Raises ValueError after the commit.
        """
        ...

    def grow(self, kind: FrameKind, ordinal: int) -> GrowingFrame:
        """Begins a frame whose content arrives in parts, and is stored as it is. Raises NoSpace.

        To be asked only of a store that takes parts (`Payloads.takes_parts`).
        """
        ...

    def flush(self) -> None:
        """Makes durable what was appended so far. It may run beside `append`."""
        ...

    def commit(self, *, durable: bool) -> PayloadRecord:
        """Ends the payload: it is never written again. With `durable` it has survived a power cut when this returns.

        Without `durable`, `Payloads.make_durable` must follow before anybody is told of the operation.
        """
        ...

    def sync_ahead(self) -> Callable[[], None] | None:
        """After a commit without `durable`: what makes the payload durable, for another thread, whatever becomes of the upload.

        It raises OSError or PayloadUnavailable where it could not. None where `Payloads.make_durable` does it as well.
        """
        ...

    def release(self) -> None:
        """Says that the payload's row is committed, or that nobody knows whether it is. Until then no sweep removes it."""
        ...

    def abandon(self) -> None:
        """Leaves nothing of the payload behind."""
        ...


class CheckedFrame(Protocol):
    """The content of a frame that was found to be what was written, for reading it again in pieces. One thread at a time.

    It is meant for content that is too large to be held in memory. It is good as long as its reader is open.
    """

    @property
    def total_bytes(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop` of the content.

        Raises PayloadDamaged where they are no longer what was checked, PayloadUnavailable.
        """
        ...


class PayloadReader(Protocol):
    """A committed payload, or several of one operation. One thread at a time."""

    def ordinals(self, kind: FrameKind) -> set[int]:
        """Documents that have a frame of this kind which is what was written."""
        ...

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        """Whether there is such a frame. Its content is not checked."""
        ...

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        """The content of a frame, which was checked against its checksum."""
        ...

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        """Reads a frame once, in pieces, and checks it against its checksum. Raises what `read` raises."""
        ...

    def close(self) -> None: ...


class StoredReader(PayloadReader, Protocol):
    """A reader of one payload, as its store opens it."""

    def stored_bytes(self, kind: FrameKind, ordinal: int) -> int:
        """How many bytes the store holds for the content of a frame, which may be compressed. Raises PayloadDamaged for none."""
        ...


class Place(Protocol):
    """What a sweep of orphans needs of a store that several instances share (`orphans.py`).

    All methods block, and raise PayloadUnavailable.
    """

    def prepare(self) -> None:
        """Makes what is needed before the first payload."""
        ...

    def keep_to(self, database: UUID) -> None:
        """From now on the store takes and gives payloads only while its marker names this database (`marker.py`)."""
        ...

    def now(self) -> datetime:
        """The time by the clock that gives payloads and marks their times."""
        ...

    def payloads(self) -> dict[UUID, datetime]:
        """All payloads that were completed, each with the time at which that was."""
        ...

    def marks(self) -> dict[UUID, datetime]: ...

    def mark(self, ids: Collection[UUID]) -> None: ...

    def unmark(self, ids: Collection[UUID]) -> None: ...

    def remove(self, ids: Collection[UUID]) -> None:
        """Deletes payloads, and their marks after them."""
        ...

    def remove_unfinished(self, before: datetime) -> list[UUID]:
        """Deletes what uploads have left that were last written before this time and never completed. Returns their payloads."""
        ...

    def written_here(self) -> set[UUID]:
        """What this process writes, or has written and not released: no sweep of its own takes that."""
        ...

    def read(self, name: str) -> bytes | None:
        """A small file beside the payloads; None where there is none."""
        ...

    def write(self, name: str, content: bytes) -> None: ...


class Payloads(Protocol):
    """A store of payloads."""

    @property
    def name(self) -> str:
        """Which instances can read what is stored here: those whose store has the same name. It stands in the rows of operations.

        It begins with "local" where this instance alone reads the store.
        """
        ...

    @property
    def place(self) -> Place | None:
        """Where the payloads of all instances lie; None for a store of one instance alone."""
        ...

    @property
    def is_away(self) -> bool:
        """Whether the store is known to be out of reach just now."""
        ...

    @property
    def upload_bytes(self) -> int:
        """What an upload of many documents holds in memory for the store, beside the batch that it is given."""
        ...

    @property
    def takes_parts(self) -> bool:
        """Whether an upload stores a document while it arrives (`Upload.grow`), so that memory never holds all of it."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether a payload that was written a moment ago is read from this machine's memory, faster than a thread starts."""
        ...

    @property
    def delete_makes_room(self) -> bool:
        """Whether `delete` frees space that uploads of this instance need. Else `make_room` alone does."""
        ...

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> Upload:
        """`expected_bytes` is about how large the payload will be, None where nobody knows."""
        ...

    def open(self, record: PayloadRecord) -> StoredReader: ...

    def reader_bytes(self, record: PayloadRecord) -> int:
        """What a reader of the payload holds in memory at most, beside what it gives back."""
        ...

    def make_durable(self, record: PayloadRecord) -> None:
        """The payload and its name have survived a power cut when this returns. A payload that is gone is no error."""
        ...

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        """Deletes payloads, as far as they exist; returns the bytes that are free now. A sweep takes what is just being read."""
        ...

    def make_room(self, needed_bytes: int) -> int:
        """Frees space of this instance, as far as that deletes no payload. Returns the bytes that are free now."""
        ...

    def stored_bytes(self) -> int:
        """What all payloads take that nobody writes any more, of the space that this instance uses."""
        ...

    def free_bytes(self) -> int:
        """What the store can still take. It may be negative where the store keeps a reserve.

        Raises PayloadUnavailable while the store is known to be away.
        """
        ...

    async def sweep(self, live: Live) -> list[UUID]:
        """Deletes payloads that nobody writes and that `live` does not name: uploads that a crash cut off. Returns them.

        Only what belongs to this instance alone. What several instances share is swept by `orphans.py`, in `place`.

        `live` is asked after the payloads were listed, since a writer releases its payload only once the row is committed. A
        sweep looks at a bounded number of payloads, and the next one goes on behind them.
        """
        ...
