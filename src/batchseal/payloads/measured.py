"""Around a payload store: how long its requests take and how many fail, for the metrics of the signer."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from uuid import UUID

from batchseal.errors import BatchsealError
from batchseal.payloads.interface import Live, PayloadRecord, Payloads, Place, StoredReader, Upload
from batchseal.system.telemetry.meter import METER


class Measured:
    """A `Payloads` store that passes everything on."""

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
    def is_local(self) -> bool:
        return self._inner.is_local

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> Upload:
        return self._inner.create(payload_id, expected_bytes)

    def open(self, record: PayloadRecord) -> StoredReader:
        with measured("open"):
            return self._inner.open(record)

    def reader_bytes(self, record: PayloadRecord) -> int:
        return self._inner.reader_bytes(record)

    def make_durable(self, record: PayloadRecord) -> None:
        with measured("make_durable"):
            self._inner.make_durable(record)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        with measured("delete"):
            return self._inner.delete(records)

    def make_room(self, needed_bytes: int) -> int:
        return self._inner.make_room(needed_bytes)

    def stored_bytes(self) -> int:
        with measured("stored_bytes"):
            return self._inner.stored_bytes()

    def free_bytes(self) -> int:
        return self._inner.free_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        return await self._inner.sweep(live)


@contextmanager
def measured(operation: str) -> Iterator[None]:
    began = monotonic()
    try:
        yield
    except BatchsealError:
        METER.add("batchseal_store_errors_total", operation)
        raise
    finally:
        METER.observe("batchseal_store_request_seconds", operation, value=monotonic() - began)
