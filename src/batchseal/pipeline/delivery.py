"""Steps 5 and 6 of the pipeline, for one finished operation, a few documents at a time."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from batchseal.document import Evidence, Stretch, storage_refusal
from batchseal.errors import ItemRejected, PayloadDamaged, PayloadUnavailable
from batchseal.formats.registry import Formats
from batchseal.operation import DocumentStatus
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import STORES_LARGE_AS_IT_IS, Payloads
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.pipeline.encode import (
    BATCH_BYTES,
    Delivered,
    Encoding,
    batches,
    encode,
    held_bytes,
    is_streamed,
    undelivered,
)
from batchseal.pipeline.packaging import Packaging
from batchseal.pipeline.streamed import Reads, StreamedDocument
from batchseal.store.rows import DocumentRow, OperationRow
from batchseal.store.store import Store
from batchseal.system.shared_pool import SharedPool

# A result of at most this size that ended a moment ago is read from memory in less time than a thread takes to start.
WARM_BYTES, WARM_TIME = 256 << 10, timedelta(seconds=10)
# The payload of an operation with at most so many documents is opened while it is signed, and closed if nobody asks for it.
OPENED_AHEAD_DOCUMENTS, OPENED_AHEAD_SECONDS = 1, 30.0
# Signatures are read from the database for so many documents at a time.
EVIDENCE_DOCUMENTS = 500


class Delivery:
    """Gives finished operations back, as they are asked for."""

    def __init__(
        self, payloads: Payloads, formats: Formats, store: Store, pool: SharedPool, *, batch_bytes: int = BATCH_BYTES
    ) -> None:
        self._payloads = payloads
        self._formats = formats
        self._store = store
        self._pool = pool
        self._batch_bytes = batch_bytes
        self._opened_ahead: dict[UUID, OperationReader] = {}

    def open_ahead(self, operation: OperationRow) -> None:
        """Opens the payload of a small operation that is being signed, since its result is likely to be asked for at once."""
        payload_id = operation.payload_id
        if not self._payloads.is_local or payload_id in self._opened_ahead:
            return
        if operation.documents_total <= OPENED_AHEAD_DOCUMENTS:
            reader = OperationReader(self._payloads, records_of(operation.payloads))
            with suppress(PayloadDamaged, PayloadUnavailable):
                self._opened_ahead[payload_id] = reader.open()
                asyncio.get_running_loop().call_later(OPENED_AHEAD_SECONDS, self._close_unused, payload_id)

    def _close_unused(self, payload_id: UUID) -> None:
        if reader := self._opened_ahead.pop(payload_id, None):
            reader.close()

    def _reader(self, operation: OperationRow) -> OperationReader:
        ahead = self._opened_ahead.pop(operation.payload_id, None)
        if ahead is not None and not operation.further_payloads:
            return ahead
        if ahead is not None:  # what was prepared since is in a further payload
            ahead.close()
        return OperationReader(self._payloads, records_of(operation.payloads))

    async def documents(
        self, operation: OperationRow, rows: Sequence[DocumentRow], encoding: Encoding
    ) -> AsyncIterator[Delivered]:
        """The documents of `rows`, in their order. A document that does not match its checksum comes back as refused.

        Raises PayloadUnavailable, before the first document where the payload cannot be opened.
        """
        signed = {row.ordinal for row in rows if row.status is DocumentStatus.SIGNED}
        pool = self._pool.of(operation.client_service)
        reads = Reads(pool)
        stored = StoredDocuments(self._reader(operation), self._formats, encoding, reads, self._batch_bytes)
        try:
            if self._payloads.is_local and is_warm(operation, rows):
                evidence = await self._evidence(operation, rows)
                for row in rows:
                    delivered = stored.document(row, evidence)
                    await self._require_kept(operation, delivered, signed)
                    yield delivered
            else:
                async for delivered in self._read_ahead(operation, stored, rows, reads):
                    await self._require_kept(operation, delivered, signed)
                    yield delivered
        finally:
            await reads.ended()
            stored.close()

    async def _require_kept(self, operation: OperationRow, delivered: Delivered, signed: Collection[int]) -> None:
        """Raises PayloadUnavailable where a signed document does not come back because its payload was purged meanwhile.

        Whoever asks again is then told that the result has expired, and nobody that its documents have failed.
        """
        if delivered.row.status is DocumentStatus.SIGNED or delivered.row.ordinal not in signed:
            return
        row = await self._store.operation(operation.client_service, operation.id)
        if row is None or row.payload_purged:
            raise PayloadUnavailable(f"the result of operation {operation.id} was purged while it was read")

    def held_bytes(self, operation: OperationRow, rows: Sequence[DocumentRow]) -> int:
        """What `documents` and the reply with them hold in memory at most."""
        records = records_of(operation.payloads)
        may_be_packed = any(record.version < STORES_LARGE_AS_IT_IS for record in records)
        readers = sum(map(self._payloads.reader_bytes, records))
        return readers + held_bytes(rows, self._batch_bytes, may_be_packed=may_be_packed)

    async def _read_ahead(
        self, operation: OperationRow, stored: "StoredDocuments", rows: Sequence[DocumentRow], reads: Reads
    ) -> AsyncIterator[Delivered]:
        """One batch is read while the one before it goes out. Beside a document that goes out in blocks nothing is read."""
        evidence: dict[int, Evidence] = {}
        reading: asyncio.Future[list[Delivered]] | None = None
        next_window = 0
        for batch in batches(rows, self._batch_bytes):
            while next_window < len(rows) and batch[-1].ordinal >= rows[next_window].ordinal:
                window = rows[next_window : next_window + EVIDENCE_DOCUMENTS]
                evidence = {n: one for n, one in evidence.items() if n >= batch[0].ordinal}
                evidence |= await self._evidence(operation, window)
                next_window += len(window)
            ready = await asyncio.shield(reading) if reading is not None else []
            read = partial(stored.documents, batch, dict(evidence))
            reading = None if is_streamed(batch[0], self._batch_bytes) else reads.start(read)
            for delivered in ready:
                yield delivered
            if reading is None:
                for delivered in await reads.run(read):
                    yield delivered
        for delivered in await asyncio.shield(reading) if reading is not None else []:
            yield delivered

    async def _evidence(self, operation: OperationRow, rows: Sequence[DocumentRow]) -> dict[int, Evidence]:
        """By ordinal. The database is asked for what did not come with the rows."""
        found = {row.ordinal: row.evidence for row in rows if row.evidence is not None}
        missing = [row.ordinal for row in rows if row.evidence is None and row.status is DocumentStatus.SIGNED]
        if missing:
            kept = await self._store.evidence(
                operation.id, operation.created_at, missing, caller=operation.client_service
            )
            found |= {ordinal: one.evidence for ordinal, one in kept.items() if one.evidence is not None}
        return found


def is_warm(operation: OperationRow, rows: Sequence[DocumentRow]) -> bool:
    """Whether the result is small and was written so lately that reading it does not wait for a disk."""
    ended = operation.finished_at
    small = sum(row.content_bytes + row.additional_bytes for row in rows) <= WARM_BYTES
    return small and ended is not None and timedelta() <= datetime.now(UTC) - ended < WARM_TIME


class StoredDocuments:
    """The signed documents of one operation, read and packaged as they are asked for. Blocking; one thread at a time."""

    def __init__(
        self, reader: OperationReader, formats: Formats, encoding: Encoding, reads: Reads, batch_bytes: int
    ) -> None:
        self._reads = reads
        self._batch_bytes = batch_bytes
        self._reader = reader
        self._encoding = encoding
        self._packaging = Packaging(reader, formats)

    def documents(self, rows: Sequence[DocumentRow], evidence: Mapping[int, Evidence]) -> list[Delivered]:
        return [self.document(row, evidence) for row in rows]

    def close(self) -> None:
        self._reader.close()

    def document(self, row: DocumentRow, evidence: Mapping[int, Evidence]) -> Delivered:
        """5 package, and the encoding that 6 deliver sends. Raises PayloadUnavailable."""
        if row.status is not DocumentStatus.SIGNED:
            return Delivered(row, ())
        try:
            if is_streamed(row, self._batch_bytes):
                # The first of two reads. Damage that is there by now is this document's failure, and not that of the reply.
                checked = self._reader.checked(FrameKind.DOCUMENT, row.ordinal)
                signed = self._packaging.package(row.ordinal, Stretch(0, checked.total_bytes), evidence)
                stream = StreamedDocument(signed, checked, self._encoding, self._reads)
                return Delivered(row, (), stream, signed.media_type or row.media_type, signed.suffix)
            original = self._reader.read(FrameKind.DOCUMENT, row.ordinal)
            return encode(row, self._packaging.package(row.ordinal, original, evidence), self._encoding)
        except (PayloadDamaged, ItemRejected) as problem:
            return undelivered(row, storage_refusal(problem))
