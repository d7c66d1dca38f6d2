"""What a worker process offers to the API: take a request in, say where it stands, give its result back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from batchseal.admission.admission import Admission
from batchseal.admission.growth import UploadMemory
from batchseal.admission.standing import StandingMemory
from batchseal.document import DocumentPart, ReceivedDocument, RequestFacts
from batchseal.errors import (
    BatchsealError,
    DatabaseUnavailable,
    InvalidRequest,
    NotConfigured,
    NotFinished,
    NotFound,
    ResultExpired,
)
from batchseal.formats.registry import Formats
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.schema import Limits
from batchseal.operation import Caller, Form, Mode, OperationStatus
from batchseal.payloads.interface import Payloads
from batchseal.payloads.operation import records_of
from batchseal.pipeline.delivery import Delivery
from batchseal.pipeline.encode import Delivered, Encoding
from batchseal.processes.link import Link
from batchseal.signature import NO_DEFAULTS, SignatureDefaults
from batchseal.store.database import Database
from batchseal.store.evidence_records import EvidenceTable
from batchseal.store.fellows import Fellows
from batchseal.store.rows import DocumentRow, OperationRow
from batchseal.store.store import Store
from batchseal.system.futures import in_pool
from batchseal.system.shared_pool import SharedPool
from batchseal.worker.acceptance import Acceptance, LocateFor
from batchseal.worker.credentials import CredentialCache
from batchseal.worker.elsewhere import Elsewhere
from batchseal.worker.evidence import EvidenceRecords, OperationRecords
from batchseal.worker.feeding import Feeding, Turns
from batchseal.worker.fetched import FetchedNotes
from batchseal.worker.handover import Handover
from batchseal.worker.readiness import Readiness
from batchseal.worker.taken_references import Intake, unless_taken

RETRY_SECONDS = 2
# How long a process that is to stop asks whether there are other instances.
OTHERS_SECONDS = 2.0
# So long before a request would be cut it is answered that its operation goes on.
ANSWER_SECONDS = 3.0
# How long an operator waits for what the signer asks the signing service.
OPERATOR_SECONDS = 45.0


class Service:
    """One for each worker process. It holds no truth: operations live in the database, payloads in their store.

    `signature_defaults` gives what the configuration says of the signatures of a client service. `locate` finds the places of
    visible signatures in documents. Threads of `pool` prepare documents, and those of `store_pool` wait for the payload store.
    """

    def __init__(
        self,
        store: Store,
        link: Link,
        payloads: Payloads,
        formats: Formats,
        pool: SharedPool,
        *,
        limits: Limits,
        instance: UUID,
        advertised: tuple[str, int],
        admission: Admission,
        signature_defaults: Callable[[str], SignatureDefaults] = lambda client_service: NO_DEFAULTS,
        locate: LocateFor | None = None,
        drain_seconds: float = 0.0,
        store_pool: SharedPool | None = None,
    ) -> None:
        self._store = store
        self._link = link
        self._payloads = payloads
        self._store_pool = store_pool = store_pool or pool
        self._has_time_stamps = formats.has_time_stamps
        memory = StandingMemory(admission.ledger, admission.budgets.memory_bytes)
        self._evidence = EvidenceRecords(EvidenceTable(store.database, instance), memory)
        self._limits = limits
        self._admission = admission
        self._signature_defaults = signature_defaults
        self._handover = Handover(link)
        self._fellows = Fellows(store.database, instance)
        self._elsewhere = Elsewhere(self._fellows, instance, store.shared)
        self._drain_seconds = drain_seconds
        self._acceptance = Acceptance(
            store,
            payloads,
            formats,
            CredentialCache(link),
            self._handover,
            pool,
            store_pool,
            instance=instance,
            advertised=advertised,
            window_bytes=admission.budgets.window_bytes,
            elsewhere=self._elsewhere,
            locate=locate,
        )
        self._delivery = Delivery(
            payloads, formats, store, store_pool, batch_bytes=admission.budgets.delivered_batch_bytes
        )
        self._readiness = Readiness(store, link, payloads)
        self._fetched = FetchedNotes(store)
        self._turns = Turns()

    @property
    def database(self) -> Database:
        """The connections of this worker, which see only the rows of the client service that a statement is made for."""
        return self._store.database

    def count_received(self, count: Callable[[str, Mapping[str, int]], None]) -> None:
        """`count` is told of each new operation: its client service, and how many documents have which media type."""
        self._acceptance.count_received = count

    async def close(self) -> None:
        self._acceptance.close()
        await self._fetched.close()

    # --- stopping -----------------------------------------------------------------------------------------------------

    async def retire(self) -> float:
        """This process is to stop: from now on it is not ready. Returns for how many seconds it should still take requests.

        That is the time in which a load balancer finds out. A service without other instances has no load balancer to wait for.
        """
        self._readiness.is_stopping = True
        if not self._drain_seconds:
            return 0.0
        try:
            async with asyncio.timeout(OTHERS_SECONDS):
                return self._drain_seconds if await self._fellows.alive() else 0.0
        except (DatabaseUnavailable, TimeoutError):
            return self._drain_seconds  # there may be others

    def leave(self, grace_seconds: float) -> None:
        """No further request comes. Those that wait for an end are answered before they would be cut."""
        self._handover.leave(max(0.0, grace_seconds - ANSWER_SECONDS))

    # --- taking in ----------------------------------------------------------------------------------------------------

    async def receive(
        self,
        caller: Caller,
        mode: Mode,
        *,
        form: Form,
        media_type: str,
        body_bytes: int | None,
        chunks: AsyncIterator[bytes],
        evidence_record: bool = False,
    ) -> OperationRow:
        """Takes a request in; it is acknowledged for good when this returns. Raises ApiError and leaves nothing behind.

        `body_bytes` is what the request says of the length of its body, None where it says nothing. `evidence_record`: the
        request asks for one, whatever the configuration says.
        """
        defaults = self._signature_defaults(caller.client_service)
        defaults = replace(defaults, evidence_record=defaults.evidence_record or evidence_record)
        if defaults.evidence_record and not self._has_time_stamps:
            raise NotConfigured("an evidence record needs a time stamp authority (--timestamp-urls)")
        decoded_bytes = body_bytes * 3 // 4 if form == "json" and body_bytes is not None else body_bytes
        ticket = await self._admission.admit_in_turn(decoded_bytes, caller.client_service)
        memory = UploadMemory(
            self._admission,
            ticket,
            decoded_bytes=decoded_bytes,
            max_document_bytes=self._limits.max_document_bytes,
            in_parts=self._payloads.takes_parts,
        )
        try:
            intake = (
                JsonIntake(self._limits, defaults)
                if form == "json"
                else MultipartIntake(self._limits, media_type, defaults)
            )
            chunks = unless_taken(self._store, caller, intake, body_bytes, chunks)
            feeding = self._turns.feeding(caller.client_service, intake)
            encoded = form == "json"
            async with aclosing(self._documents(memory, intake, feeding, chunks, encoded)) as documents:
                return await self._acceptance.take_in(
                    *(ticket, memory, caller, mode, intake.finish, documents),
                    expected_bytes=decoded_bytes,
                    evidence_record=defaults.evidence_record,
                )
        finally:
            ticket.release()

    async def take_in(
        self,
        caller: Caller,
        mode: Mode,
        facts: RequestFacts,
        documents: Callable[[UploadMemory], AsyncGenerator[Sequence[ReceivedDocument] | DocumentPart, None]],
        *,
        documents_bytes: int,
    ) -> OperationRow:
        """Takes documents in that come in another way than in a body. Otherwise like `receive`.

        `documents` is given the memory that it may use, and tells it of each document as `_documents` does.
        """
        evidence_record = self._signature_defaults(caller.client_service).evidence_record
        if evidence_record and not self._has_time_stamps:
            raise NotConfigured("an evidence record needs a time stamp authority (--timestamp-urls)")
        ticket = await self._admission.admit_in_turn(documents_bytes, caller.client_service)
        largest = self._limits.max_document_bytes
        memory = UploadMemory(
            self._admission,
            ticket,
            decoded_bytes=documents_bytes,
            max_document_bytes=largest,
            in_parts=self._payloads.takes_parts,
        )
        try:
            async with aclosing(documents(memory)) as coming:
                return await self._acceptance.take_in(
                    *(ticket, memory, caller, mode, lambda: facts, coming),
                    expected_bytes=documents_bytes,
                    evidence_record=evidence_record,
                )
        finally:
            ticket.release()

    async def _documents(
        self, memory: UploadMemory, intake: Intake, feeding: Feeding, chunks: AsyncIterator[bytes], encoded: bool
    ) -> AsyncGenerator[Sequence[ReceivedDocument] | DocumentPart, None]:
        """1 receive, until the body ends. With `encoded`, the body has its documents in base64."""
        window_bytes = self._admission.budgets.window_bytes
        async for chunk in chunks:
            for piece in feeding.pieces(chunk):
                length = memoryview(piece).nbytes
                await memory.grows(length * 3 // 4 if encoded else length)
                if documents := await feeding.feed(piece):
                    memory.complete([document.content_bytes for document in documents])
                    yield documents
                    del documents  # a large one would stay in memory until the next one is complete
                if self._payloads.takes_parts and (part := intake.part(window_bytes)) is not None:
                    yield part
                    del part

    # --- the end of an operation --------------------------------------------------------------------------------------

    async def wait(self, operation_id: int, seconds: float, caller: Caller | None = None) -> bool:
        """True once the operation is finished, False after `seconds`, or before if this process is to end.

        With `caller`, whose operation it is, the database is asked while the signer is away.
        """
        asks = partial(self._is_finished, caller, operation_id)
        return await self._handover.end_of(operation_id, seconds, asks, polls=True) is not False

    async def _is_finished(self, caller: Caller | None, operation_id: int) -> bool:
        return caller is not None and (await self.status_by_id(caller, operation_id)).status.finished

    async def finished_within(
        self, caller: Caller, received: OperationRow, seconds: float
    ) -> tuple[OperationRow, list[DocumentRow]] | None:
        """Like `finished_operation`, for the caller that waits; None after `seconds`."""
        asks = partial(self._is_finished, caller, received.id)
        asyncio.get_running_loop().call_soon(self._delivery.open_ahead, received)
        ending = await self._handover.end_of(received.id, seconds, asks)
        ended: tuple[OperationRow, list[DocumentRow]] | None
        if ending is True:
            ended = await self.finished_operation(caller, operation_id=received.id)
        else:
            ended = ending or None
        if ended is None or ended[0].status is not OperationStatus.EXECUTED:
            # The reply will mention this operation before its end made the payload durable.
            first, *_ = records_of(received.payloads)
            await in_pool(self._store_pool.of(caller.client_service), lambda: self._payloads.make_durable(first))
        return ended

    async def status(self, caller: Caller, reference: str) -> list[OperationRow]:
        """Newest first. Raises NotFound."""
        rows = await self._store.operations_with_reference(caller.client_service, reference)
        if not rows:
            raise NotFound("no operation has this external reference")
        return rows

    async def status_by_id(self, caller: Caller, operation_id: int) -> OperationRow:
        row = await self._store.operation(caller.client_service, operation_id)
        if row is None:
            raise NotFound("no operation has this id")
        return row

    async def finished_operation(
        self, caller: Caller, *, reference: str | None = None, operation_id: int | None = None
    ) -> tuple[OperationRow, list[DocumentRow]]:
        """Raises NotFound, NotFinished, ResultExpired."""
        if reference is not None:
            row = (await self.status(caller, reference))[0]
        elif operation_id is not None:
            row = await self.status_by_id(caller, operation_id)
        else:
            raise InvalidRequest("neither a reference nor an id is given")
        if not row.status.finished:
            raise NotFinished(f"operation {row.id} is {row.status.name}", retry_after_seconds=RETRY_SECONDS)
        if row.payload_purged:
            raise ResultExpired(f"the result of operation {row.id} is no longer kept")
        return row, await self._store.documents(row.id, row.created_at, caller=caller.client_service)

    async def fetched(self, caller: Caller, operation_id: int) -> None:
        """The caller has the whole result: its payload may go after a while."""
        self._fetched.note(caller.client_service, operation_id)

    async def operation_of_document(self, caller: Caller, reference: str) -> int:
        operation_id = await self._store.operation_of_document(caller.client_service, reference)
        if operation_id is None:
            raise NotFound("no document has this external reference")
        return operation_id

    async def admit_delivery(
        self, caller: Caller, operation: OperationRow, documents: Sequence[DocumentRow]
    ) -> Callable[[], None]:
        """Before the first byte of a result goes out; returns what ends the reservation. Raises NoRoom."""
        memory = self._delivery.held_bytes(operation, documents)
        return await self._admission.admit_delivery(caller.client_service, memory)

    def deliver(
        self, operation: OperationRow, documents: Sequence[DocumentRow], *, encoding: Encoding
    ) -> AsyncIterator[Delivered]:
        """Raises PayloadUnavailable, here or before the first document."""
        if self._elsewhere.is_readable(operation):
            return self._delivery.documents(operation, documents, encoding)
        return self._kept_elsewhere(operation)

    async def _kept_elsewhere(self, operation: OperationRow) -> AsyncIterator[Delivered]:
        """Yields nothing. Raises PayloadUnavailable."""
        await self._elsewhere.require(operation)
        for delivered in tuple[Delivered, ...]():
            yield delivered

    async def evidence_records(self, operation: OperationRow) -> OperationRecords:
        """The evidence records of a finished operation. Raises NotFound, RecordPending, RecordGivenUp."""
        return await self._evidence.of(operation)

    def standing_memory(self) -> StandingMemory:
        """A reservation of memory for something that belongs to no request of a caller."""
        return StandingMemory(self._admission.ledger, self._admission.budgets.memory_bytes)

    def budgets(self) -> dict[str, tuple[float, float]]:
        """Of each budget of this instance how much is in use, and the whole: in bytes, or in documents."""
        budgets = self._admission.budgets
        with self._admission.ledger.booked() as booked:
            return {
                "space": (booked.stored_bytes + booked.temp_bytes, budgets.temp_bytes),
                "memory": (booked.memory_bytes, budgets.memory_bytes),
                "queue": (booked.queued_documents, budgets.queued_documents),
                "rows": (booked.document_rows, budgets.document_rows),
            }

    async def ask_signer(self, name: str, *arguments: str) -> Any:
        """The answer of the signer of this instance to a question of an operator."""
        return await self._link.call(name, *arguments, timeout_seconds=OPERATOR_SECONDS)

    def book_headers(self, memory_bytes: int) -> bool:
        """Reserves so much memory in all for requests whose headers are not complete. False if there is no room."""
        return self._admission.for_headers.hold(memory_bytes)

    @property
    def largest_document_bytes(self) -> int:
        """The largest document that can be taken in, by the limits, the memory and the temporary space."""
        most = min(self._limits.max_document_bytes, self.largest_batch_bytes)
        if self._payloads.takes_parts:
            return most
        fits = self._admission.most_memory_bytes - self._admission.upload_bytes
        return min(most, max(fits, self._admission.budgets.window_bytes))

    @property
    def largest_batch_bytes(self) -> int:
        """What the documents of an operation can have together, by the temporary space."""
        return self._admission.most_documents_bytes

    def tell_numbers(self, of: str, numbers: dict[str, float]) -> None:
        """Tells the signer process numbers for the metrics. Does nothing while it is away."""
        with suppress(BatchsealError):
            self._link.tell(of, numbers)

    async def probe(self, token: str) -> str | None:
        """The client id of a token that the upstream takes, None for one that it doesn't."""
        answer: str | None = await self._link.call("probe", token, timeout_seconds=15)
        return answer

    async def ready(self) -> dict[str, str]:
        return await self._readiness.ready()

    async def numbers(self) -> dict[str, float]:
        return await self._readiness.numbers()
