"""A failed operation that is handed in again under its reference goes on as itself, with its unsigned documents only.

What a power cut took of these documents, or a disk does not give back, is stored again from the request that came: nothing was
signed of it, so the operation keeps nobody from having it signed.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

import structlog

from batchseal.errors import PayloadDamaged, ReferenceTaken
from batchseal.operation import Caller, Mode, OperationStatus
from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import OperationReader, record_bytes, records_of
from batchseal.store.rows import DocumentRow, NewDocument, OperationRow
from batchseal.store.store import Store
from batchseal.system.futures import in_pool
from batchseal.system.shared_pool import SharedPool
from batchseal.worker.elsewhere import Elsewhere
from batchseal.worker.lost_documents import Unsigned, named, store_again, unsigned_documents

log = structlog.get_logger("service")


@dataclass(frozen=True, slots=True)
class Resumed:
    """An operation that goes on. `stored_bytes` is what its documents take that were stored again."""

    row: OperationRow
    stored_bytes: int = 0


class Resubmission:
    def __init__(
        self, store: Store, payloads: Payloads, pool: SharedPool, instance: UUID, elsewhere: Elsewhere
    ) -> None:
        self._store = store
        self._payloads = payloads
        self._pool = pool
        self._instance = instance
        self._elsewhere = elsewhere

    async def resume(
        self,
        caller: Caller,
        taken: ReferenceTaken,
        again: PayloadRecord,
        documents: Sequence[NewDocument],
        *,
        evidence_record: bool = False,
    ) -> Resumed:
        """The failed operation that has the reference, open again where `again` holds the same documents.

        With `evidence_record` it gets one, even if it was not asked for before.

        Raises `taken` where it holds others, or where no such operation has failed. Raises PayloadUnavailable where the stored
        documents cannot be compared just now, or not by this instance; NoSpace where those that were lost cannot be stored.
        """
        held = await self._store.operation(caller.client_service, taken.operation_id)
        if held is None or held.status is not OperationStatus.EXECUTION_FAILED or held.payload_purged:
            raise taken
        await self._elsewhere.require(held)
        rows = await self._store.documents(held.id, held.created_at, caller=caller.client_service)
        if [row.content_bytes for row in rows] != [document.content_bytes for document in documents]:
            raise taken
        pool = self._pool.of(caller.client_service)
        try:
            unsigned = await in_pool(pool, lambda: self._unsigned(held, rows, again))
        except PayloadDamaged:
            raise taken from None
        if unsigned is None:
            raise taken
        if not unsigned.ordinals:
            return Resumed(held)
        # Of several requests that come at once, one opens the operation again.
        holder = None if caller.token is None else self._instance
        reopen = partial(
            self._store.reopen, held, unsigned.ordinals, evidence_record=evidence_record, token_holder=holder
        )
        stored_bytes = 0
        if unsigned.lost:
            upload = self._payloads.create(uuid4())
            copy = in_pool(pool, partial(store_again, self._payloads, held, again, unsigned.lost, upload))
            async with named(upload, copy) as outcome:
                record = await asyncio.shield(copy)
                outcome.may_be_named = True
                row = await reopen(stored_again=record_bytes(record), lost=unsigned.lost)
                outcome.may_be_named = row is not None
            stored_bytes = record.stored_bytes
        else:
            row = await reopen()
        if row is None:
            raise taken
        log.info(
            "a failed operation was handed in again",
            operation=row.id,
            documents=len(unsigned.ordinals),
            lost=len(unsigned.lost),
        )
        return Resumed(row, stored_bytes)

    def _unsigned(self, held: OperationRow, rows: Sequence[DocumentRow], again: PayloadRecord) -> Unsigned | None:
        """Blocking. The failed documents of `held` that can be tried again, or None where `again` holds other documents."""
        if held.mode is Mode.SYNC:  # perhaps it was given up before anybody was told of it
            self._payloads.make_durable(records_of(held.payloads)[0])
        with (
            closing(OperationReader(self._payloads, [again])) as second,
            closing(OperationReader(self._payloads, records_of(held.payloads))) as first,
        ):
            try:
                first.open()
            except PayloadDamaged:
                return unsigned_documents(None, second, rows)
            return unsigned_documents(first, second, rows)
