"""Takes a request in: from its documents, as they come, to an operation that is registered and on its way to the signer.

Nothing here knows of HTTP. Whoever has documents of a caller, in whatever way they came, calls `take_in`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from batchseal.admission.admission import Ticket
from batchseal.admission.growth import UploadMemory
from batchseal.audit.chain import documents_digest
from batchseal.document import Description, DocumentPart, ReceivedDocument, RequestFacts, ToSign
from batchseal.errors import DatabaseUnavailable, NoRoom, ReferenceTaken
from batchseal.formats.registry import Formats
from batchseal.operation import Caller, Mode
from batchseal.payloads.interface import Payloads
from batchseal.payloads.operation import record_bytes
from batchseal.pipeline.reception import Received, Reception
from batchseal.store.rows import NewOperation, OperationRow
from batchseal.store.store import Store
from batchseal.system.shared_pool import SharedPool
from batchseal.system.telemetry.context import REQUEST_ID, TRACE_PARENT
from batchseal.system.telemetry.tracing import span
from batchseal.worker.buffers import Buffers
from batchseal.worker.credentials import CredentialCache
from batchseal.worker.elsewhere import Elsewhere
from batchseal.worker.handover import Handover
from batchseal.worker.resubmission import Resubmission

if TYPE_CHECKING:
    from typing_extensions import Buffer

DATABASE_RETRY_SECONDS = 2
# So many small payloads of synchronous operations wait for the disk at once; those that wait for the same file share a sync.
SYNCS_AT_ONCE = 4

log = structlog.get_logger("service")


@dataclass(frozen=True, slots=True)
class Registered:
    """An operation that holds the documents of a request. `is_new`: it is not an earlier one that goes on."""

    row: OperationRow
    is_new: bool
    asked_at: float  # monotonic, before the registration was asked for
    stored_again_bytes: int = 0  # of documents of an earlier one that were lost


# What comes of a request: documents that are complete, or a part of one that is too large to be held.
Arriving = AsyncIterator[Sequence[ReceivedDocument] | DocumentPart]
# Finds the place of a visible signature in a document of a client service: see `placeholder/finder.py`.
LocateFor = Callable[[str, Description, "Buffer"], Awaitable[Description]]


class Acceptance:
    """`advertised` is the host and port that replies name; `window_bytes` is what a batch of documents may hold in memory.

    Documents are prepared in threads of `pool`. Those of `store_pool`, which may be the same, wait for the payload store.
    """

    def __init__(
        self,
        store: Store,
        payloads: Payloads,
        formats: Formats,
        credentials: CredentialCache,
        handover: Handover,
        pool: SharedPool,
        store_pool: SharedPool,
        *,
        instance: UUID,
        advertised: tuple[str, int],
        window_bytes: int,
        elsewhere: Elsewhere,
        locate: LocateFor | None = None,
    ) -> None:
        self._store = store
        self._payloads = payloads
        self._formats = formats
        self._credentials = credentials
        self._handover = handover
        self._pool = pool
        self._store_pool = store_pool
        self._instance = instance
        self._advertised = advertised
        self._window_bytes = window_bytes
        self._buffers = Buffers(window_bytes)
        self._locate = locate
        # They wait for the disk, while those of the pool work. They end with the process, or with the last sync after `close`.
        self._syncs = ThreadPoolExecutor(SYNCS_AT_ONCE, "sync")
        self._resubmission = Resubmission(store, payloads, store_pool, instance, elsewhere)
        # Told of each new operation: its client service, and how many of its documents have which media type.
        self.count_received: Callable[[str, Mapping[str, int]], None] = lambda client_service, documents: None

    def close(self) -> None:
        self._syncs.shutdown(wait=False)

    async def take_in(
        self,
        ticket: Ticket,
        memory: UploadMemory,
        caller: Caller,
        mode: Mode,
        facts: Callable[[], RequestFacts],
        documents: Arriving,
        *,
        expected_bytes: int | None = None,
        evidence_record: bool = False,
    ) -> OperationRow:
        """The operation of a request; it is acknowledged for good when this returns. Raises ApiError and leaves nothing behind.

        `facts` is asked after the last of the `documents`, since a body may name its reference at its end. `ticket` is what the
        request has reserved, `memory` what of it is for large documents, `expected_bytes` what the documents will have, as far as
        that is known. `evidence_record`: one is to be made of the operation.
        """
        # Nothing is said of a synchronous operation before its end. Its payload is made durable together with that.
        target = await self._credentials.of(caller)

        def announce(to_sign: list[ToSign], fingerprint: bytes) -> None:
            self._handover.announce_prepared(caller, reception.payload_id, to_sign, fingerprint)

        reception = Reception(
            self._payloads,
            self._formats,
            target.credential if target is not None else None,
            self._pool.of(caller.client_service),
            time_stamp_bytes=target.time_stamp_bytes if target is not None else None,
            durable=mode is not Mode.SYNC,
            expected_bytes=expected_bytes,
            syncs=self._syncs,
            when_prepared=announce if mode is Mode.SYNC else None,
            batch_bytes=self._window_bytes,
            when_stored=memory.stored,
            locate=partial(self._locate, caller.client_service) if self._locate is not None else None,
            commits=self._store_pool.of(caller.client_service) if self._store_pool is not self._pool else None,
        )
        with span("store"), self._buffers.upload():
            received = await self._store_documents(ticket, reception, facts, documents)
        if mode is Mode.SYNC and not reception.is_announced_early:
            self._handover.announce(caller, received)
        with span("register", documents=len(received.documents)):
            registered = await self._register(caller, mode, reception, received, evidence_record)
        self._settle(ticket, registered, received)
        if registered.is_new:
            types = Counter(one.other_type or one.content_type.media_type for one in received.documents)
            self.count_received(caller.client_service, types)
            self._handover.new(registered.row, caller, received, registered.asked_at)
        else:
            self._handover.wake(registered.row, caller)
        return registered.row

    async def _store_documents(
        self,
        ticket: Ticket,
        reception: Reception,
        facts: Callable[[], RequestFacts],
        documents: Arriving,
    ) -> Received:
        """Steps 2 and 3 of the pipeline, until the last document."""
        try:
            async for batch in documents:
                if isinstance(batch, DocumentPart):
                    ticket.wrote(reception.upload.stored_bytes, memoryview(batch.content).nbytes)
                    await reception.take_part(batch)
                    del batch
                    continue
                ticket.wrote(
                    reception.upload.stored_bytes, sum(memoryview(document.content).nbytes for document in batch)
                )
                await reception.take(batch)
                del batch  # a large document would stay in memory until the next one is complete
            received = await reception.finish(facts())
        except BaseException:
            await asyncio.shield(reception.abandon())
            raise
        if received.facts.preservation_asked:
            log.info("preservation is asked for, ignored: documents stay here", payload=str(reception.payload_id))
        return received

    async def _register(
        self, caller: Caller, mode: Mode, reception: Reception, received: Received, evidence_record: bool
    ) -> Registered:
        """Writes the operation into the database, or finds the failed one that goes on."""
        asked_at = time.monotonic()
        try:
            new = self._new_operation(caller, mode, received, evidence_record)
            row = await self._store.register(new, received.documents)
        except ReferenceTaken as taken:
            try:
                resumed = await self._resubmission.resume(
                    caller, taken, received.payload, received.documents, evidence_record=evidence_record
                )
                return Registered(resumed.row, False, asked_at, resumed.stored_bytes)
            finally:
                await asyncio.shield(reception.abandon())
        except (DatabaseUnavailable, asyncio.CancelledError) as unknown:
            # The commit may have happened. The sweep of the signer looks at the rows and decides.
            reception.release()
            if isinstance(unknown, asyncio.CancelledError):
                raise
            raise NoRoom("the database is away", retry_after_seconds=DATABASE_RETRY_SECONDS) from None
        except BaseException:
            await asyncio.shield(reception.abandon())
            raise
        reception.release()
        return Registered(row, True, asked_at)

    def _new_operation(self, caller: Caller, mode: Mode, received: Received, evidence_record: bool) -> NewOperation:
        facts = received.facts
        return NewOperation(
            payload_id=received.payload.id,
            client_service=caller.client_service,
            external_reference=facts.external_reference,
            description=facts.description,
            mode=mode,
            instance=self._instance,
            host=self._advertised[0],
            port=self._advertised[1],
            return_signed_content=facts.return_signed_content,
            documents_digest=documents_digest(received.document_digests),
            payload_record=record_bytes(received.payload),
            stored_bytes=received.payload.stored_bytes,
            payload_store=self._store.shared,
            evidence_record=evidence_record,
            token_holder=None if caller.token is None else self._instance,
            request_id=REQUEST_ID.get(),
            trace_parent=TRACE_PARENT.get(),
        )

    def _settle(self, ticket: Ticket, registered: Registered, received: Received) -> None:
        """Books what the operation takes from now on. The upload of one that goes on has been deleted."""
        row = registered.row
        if registered.is_new:
            ticket.settle(received.payload.stored_bytes, len(received.documents))
        else:
            stored_bytes = registered.stored_again_bytes
            ticket.settle(stored_bytes, row.documents_total - row.documents_signed - row.documents_failed)
