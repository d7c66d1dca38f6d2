"""All payloads of one operation, read as one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import msgspec

from batchseal.errors import PayloadDamaged
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import CheckedFrame, PayloadReader, PayloadRecord, Payloads
from batchseal.store.rows import PayloadColumns

# Books memory during a block, from a thread: see `admission/working.py`.
Memory = Callable[[int], AbstractContextManager[int]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PayloadRecord).decode


def record_bytes(record: PayloadRecord) -> bytes:
    """The record as the row keeps it."""
    return _encode(record)


def records_of(columns: PayloadColumns) -> list[PayloadRecord]:
    """The payloads of an operation, oldest first. Release 0.1 kept no record of the first one."""
    first = _decode(columns.payload_record) if columns.payload_record else PayloadRecord(id=columns.payload_id)
    return [first, *map(_decode, columns.further_payloads)]


class OperationReader:
    """A `PayloadReader` over the payloads of an operation, oldest first: a later frame replaces an earlier one.

    A document that is stored again also replaces what was prepared of it before. A payload that is lost hides those before it,
    since nobody knows which of their frames it replaced; without the newest one nothing can be read.

    Each payload is opened when it is needed. Most operations have one.
    """

    def __init__(self, payloads: Payloads, records: Sequence[PayloadRecord]) -> None:
        self._payloads = payloads
        self._newest_first = list(reversed(records))
        self._readers: list[PayloadReader] = []
        self._all_are_open = False

    def open(self) -> "OperationReader":
        """Opens all payloads at once, or none. Raises PayloadUnavailable, PayloadDamaged."""
        try:
            self._opened()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def held_bytes(self) -> int:
        """What the readers of the payloads hold at most, beside what they give back."""
        return sum(map(self._payloads.reader_bytes, self._newest_first))

    @contextmanager
    def booked(self, memory: Memory) -> Iterator[None]:
        """Books what the readers hold while the block reads, and closes them at its end if that is anything. Blocking."""
        if not (held_bytes := self.held_bytes):
            yield
            return
        with memory(held_bytes):
            try:
                yield
            finally:
                self.close()

    def _opened(self) -> Sequence[PayloadReader]:
        while not self._all_are_open:
            try:
                self._readers.append(self._payloads.open(self._newest_first[len(self._readers)]))
            except PayloadDamaged:
                if not self._readers:
                    raise
                self._all_are_open = True
            else:
                self._all_are_open = len(self._readers) == len(self._newest_first)
        return self._readers

    def ordinals(self, kind: FrameKind) -> set[int]:
        """Documents whose frame that counts is what was written. A damaged frame still hides those before it."""
        return {
            ordinal
            for reader in self._opened()
            for ordinal in reader.ordinals(kind)
            if self._found(kind, ordinal) is reader
        }

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        return self._found(kind, ordinal) is not None

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        return self._with(kind, ordinal).read(kind, ordinal)

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        return self._with(kind, ordinal).checked(kind, ordinal)

    def _with(self, kind: FrameKind, ordinal: int) -> PayloadReader:
        """The payload whose frame counts."""
        if (found := self._found(kind, ordinal)) is None:
            raise PayloadDamaged(f"the stored payload has no {kind.name.lower()} {ordinal}")
        return found

    def _found(self, kind: FrameKind, ordinal: int) -> PayloadReader | None:
        """The payload whose frame counts, if there is one."""
        for reader in self._opened():
            if reader.has(kind, ordinal):
                return reader
            if kind is FrameKind.PREPARED and reader.has(FrameKind.DOCUMENT, ordinal):
                return None
        return None

    def close(self) -> None:
        readers, self._readers, self._all_are_open = self._readers, [], False
        for reader in readers:
            reader.close()
