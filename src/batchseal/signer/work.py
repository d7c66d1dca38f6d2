"""One claimed operation while it is worked on, and how far a run over it came."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, TypeVar

import structlog

from batchseal.document import Credential, DocumentOutcome, Evidence, ToSign
from batchseal.errors import BatchsealError, LeaseLost, NoRoom, NoSpace, PayloadUnavailable, UpstreamError
from batchseal.operation import Caller, Mode
from batchseal.payloads.interface import Payloads, Upload
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.signer.late import PATIENCE_SECONDS
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationEnd, OperationRow
from batchseal.system.futures import in_pool, retrieve_failure

T = TypeVar("T")

log = structlog.get_logger("signer")

# Holds memory for a client service during a block: see `Admission.reserved`.
Reserve = Callable[[str, int], AbstractAsyncContextManager[None]]


def unbounded(client: str, memory_bytes: int) -> AbstractAsyncContextManager[None]:
    """A `Reserve` where nobody counts memory."""
    return nullcontext()


@dataclass(slots=True)
class Progress:
    """How far a run came.

    `failed` counts the documents that were given up, in earlier runs too. `open` holds the documents that are tried again, each
    with why it failed this time. `outcomes` and `evidence` are filled for operations whose rows were handed over.
    """

    failed: int = 0
    open: dict[int, UpstreamError] = field(default_factory=dict)
    outcomes: dict[int, DocumentOutcome] = field(default_factory=dict)
    evidence: dict[int, Evidence] = field(default_factory=dict)
    ended: OperationEnd | None = None
    prepared_anew: bool = False

    @property
    def pause_seconds(self) -> float:
        """The longest pause that the signing service asked for."""
        return max((problem.retry_after_seconds or 0.0 for problem in self.open.values()), default=0.0)


@dataclass(slots=True)
class Plan:
    """What there is to do: documents that have ended already, documents to be signed, and documents that are signed but still
    need something (each with its evidence so far).
    """

    ended: list[DocumentOutcome] = field(default_factory=list)
    to_sign: list[ToSign] = field(default_factory=list)
    to_complete: list[tuple[ToSign, Evidence]] = field(default_factory=list)


class Anew(Enum):
    """Why a document that was prepared must be prepared again: what it was prepared for is not what it gets."""

    RENEWED = "the certificate was renewed"
    OUTGROWN = "its time stamp is longer than its room"


class Work:
    """One claimed operation while it is worked on. `tries` counts the sign calls that each document was in.

    `longest_stamp_bytes` is the length of the longest time stamp for which a document had no room.
    """

    def __init__(
        self,
        claimed: ClaimedOperation,
        caller: Caller,
        payloads: Payloads,
        pool: Executor,
        documents_left: int,
        reserve: Reserve = unbounded,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`patience_seconds`: how long a thread may wait for the payload store before the operation is put off without it."""
        self.claimed = claimed
        self.late: asyncio.Future[Any] | None = None  # what a thread does that has not come back in this time
        self._patience_seconds = patience_seconds
        self._kept = AsyncExitStack()  # the memory of that
        self.caller = caller
        self.documents_left = documents_left
        self.progress = Progress()
        self.tries: dict[int, int] = {}
        self.longest_stamp_bytes = 0
        self.credentials: dict[bytes, Credential] = {}  # by fingerprint, as far as they are known
        self._anew: dict[int, Anew] = {}
        self._had_anew: set[Anew] = set()
        self._reader = OperationReader(payloads, records_of(claimed.row.payloads))
        self._reserve = reserve
        self._has_memory = False  # within `memory`
        self._pool = pool
        self._reading: asyncio.Future[Any] | None = None
        self.upload: Upload | None = None  # a further payload while it is written
        self.upload_may_be_named = False  # the row may name it by now
        # The payload of an asynchronous operation is durable since its registration, and that of a small one by its worker.
        self._is_durable = claimed.is_durable or claimed.row.mode is not Mode.SYNC
        self._durable: asyncio.Future[None] | None = None  # ends when it is durable, once that has begun
        self.is_recorded = False  # whether this run has written outcomes or signatures, or may have
        self.not_durable: PayloadUnavailable | NoSpace | None = None  # why it could not be made durable in this run

    @property
    def row(self) -> OperationRow:
        return self.claimed.row

    @property
    def is_signed_as_handed(self) -> bool:
        """Whether every document was signed as its worker had prepared it and handed it over."""
        claimed, progress = self.claimed, self.progress
        is_handed_whole = len(claimed.to_sign) == claimed.row.documents_total and bool(claimed.documents_digest)
        return is_handed_whole and not progress.failed and not progress.prepared_anew

    @property
    def untouched(self) -> DocumentRow | None:
        """The only document of an operation of which nothing was written since its registration. None for any other one."""
        documents = self.claimed.documents
        is_new = not self.is_recorded and not self.progress.prepared_anew and not self.upload_may_be_named
        return documents[0] if documents is not None and len(documents) == 1 and is_new else None

    def ends(self, outcomes: Sequence[DocumentOutcome]) -> None:
        """These documents have ended in this run."""
        self.documents_left -= len(outcomes)
        self.progress.failed += sum(outcome.refusal is not None for outcome in outcomes)

    def ask_anew(self, ordinal: int, reason: Anew) -> bool:
        """Notes that the document must be prepared again. False if that was done in this run for the same reason."""
        if reason in self._had_anew:
            return False
        self._anew[ordinal] = reason
        return True

    def take_anew(self) -> list[int]:
        """The documents that must be prepared again, in order. The same reasons do not count a second time."""
        anew, self._anew = self._anew, {}
        self._had_anew |= set(anew.values())
        return sorted(anew)

    async def read(self, work: Callable[[OperationReader], T]) -> T:
        """Runs `work` on the stored payloads, in a thread. Calls follow each other, since the reader is for one thread.

        Raises PayloadUnavailable, also where others have the memory that this takes: the operation is tried again later.
        """
        if not self._has_memory:
            async with self.memory(0):
                return await self.read(work)
        self._reading = reading = in_pool(self._pool, partial(work, self._reader))
        return await self._answer(reading)

    async def _answer(self, working: "asyncio.Future[T]") -> T:
        """What a thread returns. Cancelling the wait does not cancel it.

        Raises PayloadUnavailable where it does not come back: it is `late` then, and whoever has the operation ends its run.
        """
        await asyncio.wait([working], timeout=self._patience_seconds)
        if not working.done():
            working.add_done_callback(retrieve_failure)
            self.late = working
            raise PayloadUnavailable(f"the payload store has not answered for {self._patience_seconds:g} s")
        return working.result()

    @asynccontextmanager
    async def memory(self, content_bytes: int) -> AsyncIterator[None]:
        """Books what the block reads of the payloads at once, and what their readers hold until its end.

        Then the readers that hold memory are closed. Otherwise a signer that has claimed hundreds of operations of other
        instances would hold windows of each of them, while all wait for the signing service.
        """
        held_bytes = self._reader.held_bytes
        wanted_bytes = content_bytes + held_bytes
        async with AsyncExitStack() as booked:
            if wanted_bytes:
                try:
                    await booked.enter_async_context(self._reserve(self.row.client_service, wanted_bytes))
                except NoRoom as problem:
                    raise PayloadUnavailable(f"stored documents cannot be read just now: {problem.cause}") from None
            self._has_memory = True
            try:
                yield
            finally:
                self._has_memory = False
                await self._end_reading()
                if self.late is not None:
                    self._kept = booked.pop_all()
                elif held_bytes:
                    self._reader.close()

    async def _end_reading(self) -> None:
        """Returns once no thread uses the payloads: cancelling a run does not stop its thread. One that is late is left alone."""
        if self._reading is not None and not self._reading.done() and self.late is None:
            await asyncio.wait([self._reading])

    @property
    def is_durable(self) -> bool:
        """Whether a power cut can no longer take the payload."""
        ahead = self._durable
        return self._is_durable or (ahead is not None and ahead.done() and ahead.exception() is None)

    def begin_durable(self, payloads: Payloads, ahead: asyncio.Future[None] | None) -> None:
        """Begins to make the payload durable. It is not written any more, so the disk can work while the upstream signs.

        `ahead`: what was begun before the operation was handed over.
        """
        if not self._is_durable:
            self._durable = ahead or self._durable_in_thread(payloads)
            self._durable.add_done_callback(retrieve_failure)

    async def make_durable(self, payloads: Payloads) -> None:
        """Returns once the payload is durable. What failed ahead, while the upstream signed, is tried once more.

        Raises PayloadUnavailable, NoSpace.
        """
        if (ahead := self._durable) is not None:
            if self.late is None:
                with suppress(Exception):
                    await self._answer(ahead)
            if not ahead.done():
                raise PayloadUnavailable("the payload store does not answer")
            self._durable = None
            self._is_durable = self._is_durable or ahead.exception() is None
        if not self._is_durable:
            await self._answer(self._durable_in_thread(payloads))
            self._is_durable = True

    def _durable_in_thread(self, payloads: Payloads) -> asyncio.Future[None]:
        first, *_ = records_of(self.row.payloads)
        return in_pool(self._pool, partial(payloads.make_durable, first))

    def payload_added(self, record: bytes, payloads: Payloads) -> None:
        """The row names the further payload by now: it is read from here on, and a sweep may look at it."""
        assert self.upload is not None
        row = replace(self.row, further_payloads=(*self.row.further_payloads, record))
        self.claimed = replace(self.claimed, row=row)
        self.progress.prepared_anew = True
        self.upload.release()
        self.upload, self.upload_may_be_named = None, False
        self._reader.close()
        self._reader = OperationReader(payloads, records_of(row.payloads))

    async def drop_upload(self) -> None:
        """Gives a further payload up. It is deleted, unless a row may name it: then a sweep asks the rows and decides."""
        upload, self.upload = self.upload, None
        if upload is not None and self.upload_may_be_named:
            upload.release()
        elif upload is not None:
            try:
                await asyncio.shield(in_pool(self._pool, upload.abandon))
            except (OSError, BatchsealError) as problem:
                log.info("a further payload is left to the sweep", payload=str(upload.payload_id), cause=str(problem))

    async def close(self) -> None:
        """Closes the payloads, once no thread uses them any more."""
        if self.late is not None:
            await asyncio.wait([self.late])
            self.late = None
        async with self._kept:
            await self._end_reading()
            self._reader.close()
            await self.drop_upload()


def lease_lost(row: OperationRow) -> LeaseLost:
    return LeaseLost(f"operation {row.id} is worked on by somebody else")
