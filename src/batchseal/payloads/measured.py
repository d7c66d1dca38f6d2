"""Around a payload store: how long its requests take and how many fail, for the metrics of the signer."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from batchseal.errors import BatchsealError
from batchseal.payloads.interface import PayloadRecord, StoredReader
from batchseal.payloads.wrapping import WrappedPayloads
from batchseal.system.telemetry.meter import METER


class Measured(WrappedPayloads):
    """A `Payloads` store that passes everything on."""

    def open(self, record: PayloadRecord) -> StoredReader:
        with measured("open"):
            return super().open(record)

    def make_durable(self, record: PayloadRecord) -> None:
        with measured("make_durable"):
            super().make_durable(record)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        with measured("delete"):
            return super().delete(records)

    def stored_bytes(self) -> int:
        with measured("stored_bytes"):
            return super().stored_bytes()


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
