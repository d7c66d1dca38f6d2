"""What all stores have in common that stand around another one."""

from collections.abc import Iterable
from uuid import UUID

from batchseal.payloads.interface import Live, PayloadRecord, Payloads, Place, StoredReader, Upload


class WrappedPayloads:
    """A `Payloads` store that passes everything on to `inner`. Those derived from it change what they must."""

    def __init__(self, inner: Payloads) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def place(self) -> Place | None:
        return self._inner.place

    @property
    def is_away(self) -> bool:
        return self._inner.is_away

    @property
    def upload_bytes(self) -> int:
        return self._inner.upload_bytes

    @property
    def takes_parts(self) -> bool:
        return self._inner.takes_parts

    @property
    def is_local(self) -> bool:
        return self._inner.is_local

    @property
    def delete_makes_room(self) -> bool:
        return self._inner.delete_makes_room

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> Upload:
        return self._inner.create(payload_id, expected_bytes)

    def open(self, record: PayloadRecord) -> StoredReader:
        return self._inner.open(record)

    def reader_bytes(self, record: PayloadRecord) -> int:
        return self._inner.reader_bytes(record)

    def make_durable(self, record: PayloadRecord) -> None:
        self._inner.make_durable(record)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        return self._inner.delete(records)

    def make_room(self, needed_bytes: int) -> int:
        return self._inner.make_room(needed_bytes)

    def stored_bytes(self) -> int:
        return self._inner.stored_bytes()

    def free_bytes(self) -> int:
        return self._inner.free_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        return await self._inner.sweep(live)
