"""A failed operation that is handed in again under its reference goes on as itself, with its unsigned documents only."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from batchseal.errors import PayloadDamaged, ReferenceTaken
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import CheckedFrame, PayloadReader, PayloadRecord, Payloads
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.pipeline.delivery import require_own
from batchseal.store.rows import DocumentRow, NewDocument, OperationRow
from batchseal.store.store import Store
from batchseal.system.futures import in_pool
from batchseal.system.shared_pool import SharedPool

COMPARED_BYTES = 1 << 20

log = structlog.get_logger("service")


class Resubmission:
    def __init__(self, store: Store, payloads: Payloads, pool: SharedPool, instance: UUID) -> None:
        self._store = store
        self._payloads = payloads
        self._pool = pool
        self._instance = instance

    async def resume(
        self,
        caller: Caller,
        taken: ReferenceTaken,
        again: PayloadRecord,
        documents: Sequence[NewDocument],
        *,
        evidence_record: bool = False,
    ) -> OperationRow:
        """The failed operation that has the reference, open again where `again` holds the same documents.

        With `evidence_record` it gets one, even if it was not asked for before.

        Raises `taken` where it holds others, or where no such operation has failed. Raises PayloadUnavailable where the stored
        documents cannot be compared just now, or not by this instance.
        """
        held = await self._store.operation(caller.client_service, taken.operation_id)
        if held is None or held.status is not OperationStatus.EXECUTION_FAILED or held.payload_purged:
            raise taken
        require_own(held, self._instance, self._store.shared)
        rows = await self._store.documents(held.id, held.created_at, caller=caller.client_service)
        if [row.content_bytes for row in rows] != [document.content_bytes for document in documents]:
            raise taken
        try:
            failed = await in_pool(
                self._pool.of(caller.client_service), lambda: self._failed_documents(held, rows, again)
            )
        except PayloadDamaged:
            raise taken from None
        if failed is None:
            raise taken
        if not failed:
            return held
        # Of several requests that come at once, one opens the operation again.
        holder = None if caller.token is None else self._instance
        row = await self._store.reopen(held, failed, evidence_record=evidence_record, token_holder=holder)
        if row is None:
            raise taken
        log.info("a failed operation was handed in again", operation=row.id, documents=len(failed))
        return row

    def _failed_documents(
        self, held: OperationRow, rows: Sequence[DocumentRow], again: PayloadRecord
    ) -> list[int] | None:
        """Blocking. The failed documents of `held` that can be tried again, or None where `again` holds other documents."""
        if held.mode is Mode.SYNC:  # perhaps it was given up before anybody was told of it
            self._payloads.make_durable(records_of(held.payloads)[0])
        first = OperationReader(self._payloads, records_of(held.payloads))
        second = OperationReader(self._payloads, [again])
        try:
            return failed_documents(first, second, rows)
        finally:
            first.close()
            second.close()


def failed_documents(first: PayloadReader, second: PayloadReader, rows: Sequence[DocumentRow]) -> list[int] | None:
    """Documents are compared by position and content. What was refused on arrival was never stored, so it is not compared."""
    in_first, in_second = first.ordinals(FrameKind.DOCUMENT), second.ordinals(FrameKind.DOCUMENT)
    for ordinal in in_first & in_second:
        if not same_document(first.checked(FrameKind.DOCUMENT, ordinal), second.checked(FrameKind.DOCUMENT, ordinal)):
            return None
    return [row.ordinal for row in rows if row.status is DocumentStatus.ERROR_SIGNING and row.ordinal in in_first]


def same_document(one: CheckedFrame, other: CheckedFrame) -> bool:
    """Whether two documents are the same, byte for byte. A large one is never whole in memory."""
    return one.total_bytes == other.total_bytes and all(
        one.read(at, at + COMPARED_BYTES) == other.read(at, at + COMPARED_BYTES)
        for at in range(0, one.total_bytes, COMPARED_BYTES)
    )
