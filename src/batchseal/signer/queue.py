"""The signer process: the only one of an instance that talks upstream. It leases operations and signs them.

An operation comes by a wake-up over the link, or by the regular look at the database (after a crash, or where the wake-up was
lost). Calls for one credential go through here alone: tokens, limits and retries live in one place.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog

from batchseal import errors
from batchseal.document import DocumentOutcome, Refusal
from batchseal.errors import BatchsealError, DatabaseUnavailable, LeaseLost, UpstreamError
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.sweep import sweep
from batchseal.pipeline import storage_refusal
from batchseal.processes.link import Handler
from batchseal.signer.lease import LEASE_SECONDS, keep_leased
from batchseal.signer.run import Run, Signing
from batchseal.store.columns import as_ended
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationRow, Registration
from batchseal.store.store import Store
from batchseal.system.backoff import Backoff
from batchseal.upstream.interface import Upstream

LOOK_SECONDS, POLL_SECONDS, WORK_SECONDS = 2.0, 0.2, 100.0
# Operations at work: many, so that small ones share sign calls, but no more documents than memory should see.
OPERATIONS_AT_ONCE, DOCUMENTS_AT_ONCE, CLAIMED_AT_ONCE = 256, 20_000, 8
SWEEP_SECONDS = 600
# Pauses after a try of an operation that failed as a whole: 1, 2, 4 ... seconds.
POSTPONING, LONGEST_ASKED_SECONDS = Backoff(1.0, 60.0), 3600.0
PATIENCE_SECONDS = 86_400.0  # with an upstream that is away, before its documents are given up untried
MAX_DEFECTS = 5
RESULTS_KEPT = 256

Result = tuple[OperationRow, list[DocumentRow]]

log = structlog.get_logger("signer")


class Signer:
    """Leases operations of this instance and drives `Signing` over them."""

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        folder: Path,
        pool: Executor,
        *,
        instance: UUID,
        tries: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._folder = folder
        self._pool = pool
        self._instance = instance
        self._signing = Signing(store, upstream, folder, pool, tries=tries)
        self._patience_seconds = patience_seconds
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._documents: dict[int, int] = {}
        self._tokens: dict[int, str] = {}
        self._claiming: dict[int, asyncio.Future[ClaimedOperation | None]] = {}
        self._woken: set[int] = set()  # that found no room
        self._lately_finished: deque[int] = deque(maxlen=1024)
        self._results: dict[int, Result] = {}
        self._look = asyncio.Event()
        self._more_waits = False  # than there was room for

    def handlers(self) -> Mapping[str, Handler]:
        """What workers may call over the link."""
        return {
            "announce": self.announce,
            "wake": self.wake,
            "work": self.work,
            "wait": self.wait,
            "credential": self.credential,
            "probe": self._upstream.probe,
            "ping": self.ping,
            "upstream": self.upstream_state,
        }

    async def announce(
        self, client_service: str, token: str | None, fingerprint: bytes, digests: list[bytes], key: str
    ) -> None:
        """These digests are going to be signed, if their operation can be registered."""
        self._upstream.announce(Caller(client_service, token), fingerprint, digests, request_key=key)

    async def wake(self, operation_id: int, token: str | None, registered: Any = None) -> None:
        """There is work; `registered` is the whole of it (a Registration), which can be begun at once."""
        with contextlib.suppress(ValueError):
            self._lately_finished.remove(operation_id)  # a failed one that was handed in again
        if token is not None:
            self._tokens[operation_id] = token
        if self._room() == 0:
            self._woken.add(operation_id)
            self._look.set()
            return
        if registered is not None and (claimed := msgspec.convert(registered, Registration).claimed()):
            self._start(claimed)
            return
        claiming = asyncio.ensure_future(self._store.claim_one(operation_id, LEASE_SECONDS))
        self._claiming[operation_id] = claiming
        try:
            if (claimed := await claiming) is not None:
                self._start(claimed)
        finally:
            del self._claiming[operation_id]

    async def work(self, operation_id: int, token: str | None, registered: Any) -> Any:
        """`wake` and `wait` in one."""
        await self.wake(operation_id, token, registered)
        return await self.wait(operation_id, WORK_SECONDS)

    async def wait(self, operation_id: int, seconds: float) -> Any:
        """True once the operation is finished, False after `seconds`. Whoever waits for a small synchronous one gets its row
        and those of its documents instead, once.
        """
        ends = time.monotonic() + seconds
        while True:
            for under_way in (self._claiming, self._tasks):
                if work := under_way.get(operation_id):
                    await asyncio.wait([work], timeout=max(0.0, ends - time.monotonic()))
            if result := self._results.pop(operation_id, None):
                return result
            if operation_id in self._lately_finished or await self._store.is_finished(operation_id):
                return True
            if (left := ends - time.monotonic()) <= 0:
                return False
            await asyncio.sleep(min(left, POLL_SECONDS))

    async def credential(self, client_service: str, token: str | None) -> Any:
        return msgspec.to_builtins(
            await self._upstream.credential(Caller(client_service, token)), builtin_types=(bytes,)
        )

    async def ping(self) -> str:
        return "ok"

    async def upstream_state(self) -> Any:
        return msgspec.to_builtins(await self._upstream.state())

    async def sweep(self) -> None:
        """Removes payloads that no row knows: uploads that a crash cut off."""
        await sweep(self._folder, self._pool, partial(self._store.live_payloads, self._instance))

    async def run(self) -> None:
        """Looks for work until cancelled."""
        next_sweep = time.monotonic() + SWEEP_SECONDS
        while True:
            try:
                if time.monotonic() > next_sweep:
                    next_sweep = time.monotonic() + SWEEP_SECONDS
                    await self.sweep()
                room = self._room()
                claimed = await self._claim(room) if room > 0 else []
                for operation in claimed:
                    self._woken.discard(operation.row.id)
                    self._start(operation)
                self._more_waits = len(claimed) == room
                if room and self._more_waits:
                    continue
            except DatabaseUnavailable as problem:
                log.warning("the database is away", cause=problem.cause)
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()

    async def stop(self, seconds: float) -> None:
        """Lets what is under way go on for `seconds`, then leaves it to the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _claim(self, room: int) -> list[ClaimedOperation]:
        return await self._store.claim(room, LEASE_SECONDS, woken=self._woken, at_work=self._tasks)

    def _room(self) -> int:
        """Operations that may be claimed now."""
        if sum(self._documents.values()) >= DOCUMENTS_AT_ONCE:
            return 0
        return min(CLAIMED_AT_ONCE, OPERATIONS_AT_ONCE - len(self._tasks))

    def _start(self, claimed: ClaimedOperation) -> None:
        operation_id = claimed.row.id
        if operation_id in self._tasks:
            return
        task = self._tasks[operation_id] = asyncio.create_task(self._work(claimed))
        self._documents[operation_id] = claimed.row.documents_total
        task.add_done_callback(lambda _: self._ended(operation_id))

    def _ended(self, operation_id: int) -> None:
        del self._tasks[operation_id], self._documents[operation_id]
        if self._more_waits or self._woken:
            self._look.set()

    async def _work(self, claimed: ClaimedOperation) -> None:
        row = claimed.row
        began = time.monotonic()
        keep_leased(self._store, claimed, self._tasks[row.id])
        try:
            caller = Caller(row.client_service, self._tokens.get(row.id))
            run = await self._signing.run(claimed, caller)
            if run.open:
                await self._leave_open(claimed, run)
            else:
                self._finished(claimed, run.failed, time.monotonic() - began)
                self._keep_result(claimed, run)
        except LeaseLost as problem:
            log.warning("gave an operation up to its new holder", operation=row.id, cause=problem.cause)
        except UpstreamError as problem:
            if problem.try_again and self._is_patient(row):
                await self._postpone(claimed, problem.retry_after_seconds or 0.0, problem.cause)
            else:
                await self._give_up(claimed, Refusal(problem.sign_error, problem.cause))
        except (errors.SpillDamaged, errors.PayloadUnavailable) as problem:
            if isinstance(problem, errors.PayloadUnavailable) and self._is_patient(row):
                await self._postpone(claimed, 0.0, problem.cause)
            else:
                await self._give_up(claimed, storage_refusal(problem))
        except DatabaseUnavailable as problem:
            log.warning("an operation waits for the database", operation=row.id, cause=problem.cause)
        except Exception:
            log.exception("signing stopped unexpectedly", operation=row.id)
            cause = f"an unexpected condition, operation {row.id} in the log"
            if claimed.tries + 1 < MAX_DEFECTS:
                await self._postpone(claimed, 0.0, cause)
            else:
                await self._give_up(claimed, Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR, cause))

    def _finished(self, claimed: ClaimedOperation, failed: int, seconds: float) -> None:
        status = OperationStatus.EXECUTION_FAILED if failed else OperationStatus.EXECUTED
        log.info(
            "operation finished",
            operation=claimed.row.id,
            status=status.name,
            documents=claimed.row.documents_total,
            failed=failed,
            seconds=round(seconds, 3),
        )
        self._tokens.pop(claimed.row.id, None)
        self._lately_finished.append(claimed.row.id)

    def _keep_result(self, claimed: ClaimedOperation, run: Run) -> None:
        """For the worker that waits for it."""
        if claimed.row.mode is Mode.SYNC and claimed.documents is not None and run.ended is not None:
            self._results[claimed.row.id] = as_ended(claimed.row, claimed.documents, run.outcomes, run.ended)
            while len(self._results) > RESULTS_KEPT:
                del self._results[next(iter(self._results))]

    def _is_patient(self, row: OperationRow) -> bool:
        return (datetime.now(UTC) - row.created_at).total_seconds() < self._patience_seconds

    async def _leave_open(self, claimed: ClaimedOperation, run: Run) -> None:
        """Some documents have tries left: another run, unless it has been going on for too long."""
        problem = next(iter(run.open.values()))
        if self._is_patient(claimed.row):
            await self._postpone(claimed, run.pause_seconds, f"{len(run.open)} documents: {problem.cause}")
        else:
            await self._give_up(claimed, Refusal(problem.sign_error, problem.cause))

    async def _postpone(self, claimed: ClaimedOperation, asked_seconds: float, cause: str) -> None:
        """EXECUTION_ERROR until the next run."""
        pause = POSTPONING.pause_seconds(claimed.tries + 1)
        pause = min(max(pause, asked_seconds), LONGEST_ASKED_SECONDS)
        log.warning("an operation is tried again", operation=claimed.row.id, cause=cause, pause_seconds=pause)
        with contextlib.suppress(DatabaseUnavailable):
            await self._store.postpone(claimed.row.id, claimed.fence, pause)
            asyncio.get_running_loop().call_later(pause, self._look.set)

    async def _give_up(self, claimed: ClaimedOperation, refusal: Refusal) -> None:
        """Ends every open document. What is signed is delivered all the same."""
        row = claimed.row
        try:
            rows = await self._store.documents(row.id, row.created_at)
            outcomes = [
                DocumentOutcome(r.ordinal, refusal=refusal) for r in rows if r.status is DocumentStatus.RECEIVED
            ]
            ended = await self._store.finish(row.id, row.created_at, claimed.fence, outcomes)
            if ended is not None:
                self._finished(claimed, ended.failed, 0)
        except BatchsealError as problem:
            log.warning("an operation stays as it is", operation=row.id, cause=problem.cause)
