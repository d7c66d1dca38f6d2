"""What a worker process offers to the API: take a request in, say where it stands, give its result back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog

from batchseal.admission.admission import Admission, Ticket
from batchseal.audit.chain import documents_digest
from batchseal.errors import (
    BatchsealError,
    DatabaseUnavailable,
    InvalidRequest,
    NoRoom,
    NotFinished,
    NotFound,
    ReferenceTaken,
    ResultExpired,
)
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.intake.schema import Limits
from batchseal.operation import Caller, Form, Mode, OperationStatus
from batchseal.payloads.writer import sync_file
from batchseal.pipeline import HANDED_DOCUMENTS, Delivery, Reception, require_own
from batchseal.pipeline.encode import Delivered, Encoding
from batchseal.processes.link import Link
from batchseal.store.columns import registered_document
from batchseal.store.rows import DocumentRow, NewOperation, OperationRow, Registration
from batchseal.store.store import Store
from batchseal.system.futures import in_pool
from batchseal.worker.credentials import Templates
from batchseal.worker.fetched import FetchedNotes
from batchseal.worker.readiness import Readiness
from batchseal.worker.resubmission import Intake, resumed, unless_taken

RETRY_SECONDS = 2

log = structlog.get_logger("service")


class Service:
    """One per worker process; holds no truth: operations live in the database, payloads in the spill."""

    def __init__(
        self,
        store: Store,
        link: Link,
        pool: Executor,
        *,
        folder: Path,
        limits: Limits,
        instance: UUID,
        advertised: tuple[str, int],
        admission: Admission,
    ) -> None:
        self._store = store
        self._link = link
        self._pool = pool
        self._folder = folder
        self._limits = limits
        self._instance = instance
        self._advertised = advertised
        self._admission = admission
        self._delivery = Delivery(folder, pool)
        self._readiness = Readiness(store, link)
        self._fetched = FetchedNotes(store)
        self._templates = Templates(link)
        self._endings: dict[int, asyncio.Future[Any]] = {}  # by operation, where the signer was asked for it already

    async def close(self) -> None:
        await self._fetched.close()

    async def receive(
        self,
        caller: Caller,
        mode: Mode,
        *,
        form: Form,
        media_type: str,
        body_bytes: int | None,
        chunks: AsyncIterator[bytes],
    ) -> OperationRow:
        """Takes a request in; it is acknowledged for good when this returns. Raises ApiError and leaves nothing behind.

        `body_bytes` is what the request says of its body, None where it says nothing.
        """
        decoded_bytes = body_bytes * 3 // 4 if form == "json" and body_bytes is not None else body_bytes
        ticket = await self._admission.admit(decoded_bytes)
        try:
            intake = JsonIntake(self._limits) if form == "json" else MultipartIntake(self._limits, media_type)
            chunks = unless_taken(self._store, caller, intake, body_bytes, chunks)
            return await self._receive(ticket, caller, mode, intake, chunks)
        finally:
            ticket.release()

    async def _receive(
        self, ticket: Ticket, caller: Caller, mode: Mode, intake: Intake, chunks: AsyncIterator[bytes]
    ) -> OperationRow:
        window = self._admission.budgets.window_bytes
        reception = Reception(self._folder, await self._templates.of(caller), self._pool, window)
        handed: Registration | None = None
        try:
            await self._read(ticket, reception, intake, chunks)
            facts = intake.finish()
            # Nothing is said of a synchronous operation before its end, whose signatures are synced with all before them.
            documents = await reception.finish(facts, synced=mode is Mode.ASYNC)
        except BaseException:
            await asyncio.shield(reception.abort())
            raise
        if facts.preservation_asked:
            log.info("preservation is asked for, ignored: documents stay here", payload=str(reception.payload_id))
        if mode is Mode.SYNC and reception.to_sign:
            self._announce(caller, reception)
        asked_at = time.monotonic()
        try:
            row = await self._store.register(
                NewOperation(
                    payload_id=reception.payload_id,
                    client_service=caller.client_service,
                    external_reference=facts.external_reference,
                    description=facts.description,
                    mode=mode,
                    instance=self._instance,
                    host=self._advertised[0],
                    port=self._advertised[1],
                    return_signed_content=facts.return_signed_content,
                    documents_digest=documents_digest(reception.digests[document.ordinal] for document in documents),
                ),
                documents,
            )
        except ReferenceTaken as taken:
            try:
                again = reception.payload_id, documents, taken, self._instance
                row = await resumed(self._store, self._folder, self._pool, caller, *again)
            finally:
                await asyncio.shield(reception.abort())
            # What was uploaded is gone again; the documents that are open wait in the queue.
            stored_bytes, queued = 0, row.documents_total - row.documents_signed - row.documents_failed
        except (DatabaseUnavailable, asyncio.CancelledError) as unknown:
            # The commit may have happened: the signer's sweep decides by the rows.
            reception.close()
            if isinstance(unknown, asyncio.CancelledError):
                raise
            raise NoRoom("the database is away", retry_after_seconds=RETRY_SECONDS) from None
        except BaseException:
            await asyncio.shield(reception.abort())
            raise
        else:
            stored_bytes, queued = reception.writer.offset, len(documents)
            if len(documents) <= HANDED_DOCUMENTS:
                rows = [registered_document(document) for document in documents]
                handed = Registration(row, rows, reception.to_sign, reception.fingerprint, asked_at)
        ticket.settle(stored_bytes, queued)
        reception.close()
        self._wake(row, caller, handed)
        await reception.named()
        return row

    async def _read(self, ticket: Ticket, reception: Reception, intake: Intake, chunks: AsyncIterator[bytes]) -> None:
        """1 receive, until the body ends."""
        budgets, growing_bytes = self._admission.budgets, 0
        async for chunk in chunks:
            growing_bytes += len(chunk)
            if growing_bytes > budgets.window_bytes:
                await ticket.hold(budgets.upload_bytes + growing_bytes)
            if documents := intake.feed(chunk):
                growing_bytes = 0
                ticket.wrote(reception.writer.offset, sum(document.content_bytes for document in documents))
                await reception.take(documents)

    def _announce(self, caller: Caller, reception: Reception) -> None:
        """While the operation is registered, the upstream may be asked for leave to sign: nothing is signed by that."""
        digests = [item.attributes_digest for item in reception.to_sign]
        what = caller.client_service, caller.token, reception.fingerprint, digests, str(reception.payload_id)
        if len(digests) <= HANDED_DOCUMENTS:
            with suppress(BatchsealError):
                self._link.tell("announce", *what)

    def _wake(self, row: OperationRow, caller: Caller, handed: Registration | None) -> None:
        """Saves the signer's look at the database. Without it the operation is found there all the same."""
        try:
            if handed is not None and row.mode is Mode.SYNC:
                if ending := self._link.ask("work", row.id, caller.token, handed):
                    self._endings[row.id] = ending
                    ending.add_done_callback(lambda _: self._endings.pop(row.id, None))
                    return
            elif self._link.tell("wake", row.id, caller.token, handed):
                return
            self._link.tell("wake", row.id, caller.token)  # a caller's description may have any length
        except BatchsealError:
            log.info("the signer was not woken and will find the operation itself", operation=row.id)

    async def wait(self, operation_id: int, seconds: float) -> bool:
        """True once the operation is finished, False after `seconds`."""
        return await self._ending(operation_id, seconds) is not None

    async def finished_within(
        self, caller: Caller, received: OperationRow, seconds: float
    ) -> tuple[OperationRow, list[DocumentRow]] | None:
        """Like `finished_operation`, for the caller who waits; None after `seconds`."""
        waiting, ended = asyncio.ensure_future(self._ending(received.id, seconds)), None
        asyncio.get_running_loop().call_soon(self._delivery.open_ahead, received)
        ending = await waiting
        if ending is True:
            ended = await self.finished_operation(caller, operation_id=received.id)
        elif ending is not None:
            ended = msgspec.convert(ending, tuple[OperationRow, list[DocumentRow]])
        if ended is None or ended[0].status is not OperationStatus.EXECUTED:
            # It is going to be spoken of, and no signature may have come that was synced.
            await in_pool(self._pool, lambda: sync_file(self._folder, received.payload_id))
        return ended

    async def _ending(self, operation_id: int, seconds: float) -> Any:
        """What the signer's `wait` returns, None after `seconds`."""
        ends, asked = time.monotonic() + seconds, self._endings.pop(operation_id, None)
        while (left := ends - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    if ending := await (asked or self._link.call("wait", operation_id, left, timeout_seconds=left)):
                        return ending
            except TimeoutError:
                return None
            except BatchsealError:
                await asyncio.sleep(min(left, 0.5))
            asked = None
        return None

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

    async def admit_delivery(self, result_bytes: int) -> Callable[[], None]:
        """Before the first byte of a result goes out; returns what ends the reservation. Raises NoRoom."""
        return await self._admission.admit_delivery(result_bytes)

    def deliver(
        self, operation: OperationRow, documents: Sequence[DocumentRow], *, encoding: Encoding
    ) -> AsyncIterator[Delivered]:
        """Raises PayloadUnavailable, here or before the first document."""
        require_own(operation, self._instance)
        return self._delivery.documents(operation, documents, encoding)

    async def probe(self, token: str) -> str | None:
        """The client id of a token that the upstream takes, None for one that it doesn't."""
        answer: str | None = await self._link.call("probe", token, timeout_seconds=15)
        return answer

    async def ready(self) -> dict[str, str]:
        return await self._readiness.ready()

    async def numbers(self) -> dict[str, float]:
        return await self._readiness.numbers()
