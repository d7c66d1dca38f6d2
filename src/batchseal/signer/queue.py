"""Which operations the signer works on, and when.

An operation comes by a call over the link, or by the regular look at the database: after a crash, or where the call was lost. All
calls for one credential go through this process, so that tokens, limits and retries live in one place.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from batchseal.document import DocumentOutcome, Refusal, storage_refusal
from batchseal.errors import (
    BatchsealError,
    DatabaseUnavailable,
    LeaseLost,
    NoSpace,
    PayloadDamaged,
    PayloadUnavailable,
    UpstreamError,
)
from batchseal.operation import Caller, DocumentStatus, Mode, SignError
from batchseal.payloads.interface import PayloadRecord
from batchseal.processes.link import Handler
from batchseal.signer.at_work import AtWork
from batchseal.signer.endings import Endings, Result, result_of
from batchseal.signer.lease import keep_leased
from batchseal.signer.pace import DEFAULT_PACE, Pace
from batchseal.signer.presence import Presence
from batchseal.signer.recording import Recording
from batchseal.signer.run import Signing
from batchseal.signer.telling import Webhooks, follow, tell_end, tell_lost, tell_outcomes
from batchseal.signer.work import Progress
from batchseal.store.rows import ClaimedOperation, OperationRow, Registration
from batchseal.store.store import Store
from batchseal.system.backoff import LONGEST_ASKED_SECONDS
from batchseal.system.futures import end_tasks
from batchseal.system.heap import IdleHeap
from batchseal.system.telemetry.meter import METER
from batchseal.system.telemetry.tracing import span
from batchseal.upstream.interface import Upstream

# How long the call waits that hands an operation over and asks for its end in one message.
WORK_SECONDS = 100.0
# For so long after its registration the payload of another instance's synchronous operation may still be on its way into the
# store that both read. That is longer than a caller waits for the end.
STORED_LATER_SECONDS = 600.0

# Why an operation ends whose caller signs with a token of its own: it is never stored, so no other process can have it.
HAND_IN_AGAIN = (
    "the caller's own token ended with the process that had it: hand the documents in again, under the same reference"
)

log = structlog.get_logger("signer")


class SigningQueue:
    """Leases operations and has `Signing` run over them.

    With a `presence` other instances may be there: an operation that another one can read too is worked on by the instance that
    has the lane of its credential.
    """

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        signing: Signing,
        *,
        pace: Pace = DEFAULT_PACE,
        is_alone: Callable[[], bool] = lambda: True,
        recording: Recording | None = None,
        presence: Presence | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:
        self._webhooks = webhooks
        self._presence = presence
        self._lanes = presence.lanes if presence is not None and store.shared is not None else None
        # The ID of each client service's credential, as far as operations have come.
        self._credentials: dict[str, str] = {}
        self._store, self._upstream = store, upstream
        self._signing, self._late = signing, signing.late
        self._late.when_ended = self.look
        if self._lanes is not None:
            self._lanes.leaves = lambda: bool(self._late.operations)
        self._pace = pace
        self._recording = recording
        self._endings = Endings(store.is_finished)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._at_work = AtWork(pace.operations, pace.documents, pace.share_percent, is_alone, IdleHeap())
        self._claiming = 0  # single operations that are being claimed
        self._tokens: dict[int, str] = {}  # of callers that sign with their own
        self._woken: set[int] = set()  # operations for which there was no room when they came
        self._look = asyncio.Event()
        self._more_waits = False  # in the database, than there was room for

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
        self,
        client_service: str,
        token: str | None,
        fingerprint: bytes,
        digests: list[bytes],
        payload: Any,
        request_key: str,
    ) -> None:
        """These digests will be signed if their operation can be registered.

        `payload` is the whole record of its payload where it is to be made durable, None where its worker does that.
        `request_key` is the id of the payload.
        """
        self._upstream.announce(Caller(client_service, token), fingerprint, digests, request_key=request_key)
        if payload is not None:
            record = msgspec.convert(payload, PayloadRecord)
            # The call goes out in this round of the event loop, before a thread of ours can delay it.
            asyncio.get_running_loop().call_soon(self._signing.durable_ahead.begin, client_service, record)

    async def wake(
        self, operation_id: int, token: str | None, registered: Any = None, client_service: str = ""
    ) -> None:
        """There is work. `registered` is a whole Registration, with which it can begin at once."""
        if token is not None:
            self._tokens[operation_id] = token
        if (at_work := self._tasks.get(operation_id)) is not None:
            await asyncio.wait([at_work])  # a failed operation was handed in again in the moment of its end
        handed = None if registered is None else msgspec.convert(registered, Registration)
        room = self._room(client_service if handed is None else handed.row.client_service)
        if room == 0 or operation_id in self._late.operations:
            self._woken.add(operation_id)
            self._look.set()
            return
        self._endings.begins(operation_id)
        claimed: ClaimedOperation | None = None
        try:
            if handed is not None:
                claimed = handed.claimed()
            if claimed is None:
                claimed = await self._claim_one(operation_id)
        finally:
            if claimed is not None:
                self._start(claimed)
            elif operation_id not in self._tasks:
                self._endings.pauses(operation_id)

    async def work(self, operation_id: int, token: str | None, registered: Any) -> Any:
        """`wake` and `wait` in one message."""
        await self.wake(operation_id, token, registered)
        return await self.wait(operation_id, WORK_SECONDS)

    async def wait(self, operation_id: int, seconds: float) -> Any:
        """See `Endings.wait`."""
        return await self._endings.wait(operation_id, seconds)

    async def credential(self, client_service: str, token: str | None) -> Any:
        """What a worker prepares documents for: the credential, and the room for a time stamp in bytes."""
        found = await self._upstream.credential(Caller(client_service, token))
        return msgspec.to_builtins((found, await self._signing.stamp_room.known()), builtin_types=(bytes,))

    async def ping(self) -> str:
        return "ok"

    async def upstream_state(self) -> Any:
        state = await self._upstream.state()
        for part in filter(None, (self._recording, self._webhooks)):
            remarks, numbers = part.remarks(), part.numbers()
            state = replace(state, remarks=[*remarks, *state.remarks], numbers=state.numbers | numbers)
        state = replace(state, numbers=METER.samples() | state.numbers)
        return msgspec.to_builtins(state)

    async def run(self) -> None:
        """Looks for work until cancelled."""
        while True:
            try:
                if await self._take_on():
                    continue
            except DatabaseUnavailable as problem:
                log.warning("the database is away", cause=problem.cause)
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    self._pace.shared_look_seconds if self._is_left_work() else self._pace.look_seconds
                ):
                    await self._look.wait()

    def look(self) -> None:
        """There may be work in the database."""
        self._look.set()

    def _is_left_work(self) -> bool:
        """Whether other instances may leave operations to this one."""
        return self._presence is not None and self._lanes is not None and self._presence.others() > 0

    async def stop(self, seconds: float) -> None:
        """Lets what is under way go on for `seconds`, then leaves it to the next start."""
        await end_tasks(self._tasks.values(), seconds)
        await self._late.close()

    async def _take_on(self) -> bool:
        """Claims what there is room for, first of those who have little at work. Returns whether to look again at once."""
        busy, woken = self._at_work.busy(), set(self._woken)
        found = await self._claim(self._room(""), busy) if busy else 0
        room = self._room(busy[0]) if busy else self._room("")
        more = await self._claim(room, []) if room else 0
        self._more_waits = more == room
        if not self._more_waits:  # what is left of them has ended, or is another instance's work
            self._woken -= woken
        return found > 0 or (room > 0 and self._more_waits)

    async def _claim(self, room: int, passed_over: Sequence[str]) -> int:
        """Claims and starts up to `room` operations, except those of some client services. Returns how many."""
        if room == 0:
            return 0
        lasts, left = self._pace.lease_seconds, self._signed_elsewhere()
        at_work = [*self._tasks, *self._late.operations]
        claimed = await self._store.claim(
            room, lasts, woken=self._woken, at_work=at_work, passed_over=passed_over, left_to_others=left
        )
        for operation in claimed:
            self._woken.discard(operation.row.id)
            self._start(operation)
        return len(claimed)

    def _signed_elsewhere(self) -> list[str]:
        """Client services whose operations are signed by another instance, which claims what it can read and sign of them."""
        elsewhere = self._lanes.elsewhere() if self._lanes is not None else set()
        return [name for name, credential in self._credentials.items() if credential in elsewhere] if elsewhere else []

    async def _claim_one(self, operation_id: int) -> ClaimedOperation | None:
        self._claiming += 1
        try:
            return await self._store.claim_one(operation_id, self._pace.lease_seconds)
        finally:
            self._claiming -= 1

    def _room(self, client_service: str) -> int:
        """Operations of this client service that may be claimed now. With "": of one that has nothing at work.

        An instance whose payload store does not answer leaves them to those for which it does.
        """
        if self._late.operations and self._is_left_work():
            return 0
        claimed = self._pace.shared_claimed if self._is_left_work() else self._pace.claimed
        return min(claimed, self._at_work.room(client_service, self._claiming))

    def _start(self, claimed: ClaimedOperation) -> None:
        operation_id = claimed.row.id
        if operation_id in self._tasks:
            return
        self._endings.begins(operation_id)
        task = self._tasks[operation_id] = asyncio.create_task(self._work(claimed))
        self._at_work.begins(operation_id, claimed.row.client_service, claimed.row.documents_total)
        task.add_done_callback(lambda _: self._done(operation_id))

    def _done(self, operation_id: int) -> None:
        del self._tasks[operation_id]
        self._at_work.ended(operation_id)
        self._endings.pauses(operation_id)
        if self._more_waits or self._woken:
            self._look.set()

    async def _work(self, claimed: ClaimedOperation) -> None:
        follow(claimed.row, self._store.instance)
        with span("sign operation", operation=claimed.row.id, documents=claimed.row.documents_total):
            await self._work_on(claimed)

    async def _work_on(self, claimed: ClaimedOperation) -> None:
        row = claimed.row
        began = time.monotonic()
        keep_leased(self._store, claimed, self._tasks[row.id], self._pace.lease_seconds)
        try:
            caller = Caller(row.client_service, self._tokens.get(row.id))
            if row.token_holder is not None and caller.token is None:
                await self._give_up(claimed, Refusal(SignError.INVALID_CERT_SERVICE_CREDS, HAND_IN_AGAIN))
                return
            if not await self._is_signed_here(row, caller):
                if row.instance == self._store.instance:  # its new holder reads it in the store
                    await self._signing.make_durable(claimed, caller)
                await self._store.give_back(row.id, claimed.fence)
                return
            progress = await self._signing.run(claimed, caller)
            if progress.open:
                await self._leave_open(claimed, progress)
            else:
                self._finished(row, progress.failed, time.monotonic() - began, result_of(claimed, progress))
        except LeaseLost as problem:
            tell_lost(row, problem)
        except UpstreamError as problem:
            if problem.waits_for_operator or (problem.try_again and self._is_patient(row)):
                await self._postpone(claimed, problem.retry_after_seconds or 0.0, problem.cause)
            else:
                await self._give_up(claimed, Refusal(problem.sign_error, problem.cause))
        except (PayloadUnavailable, NoSpace) as problem:
            if self._is_patient(row):
                await self._postpone(claimed, 0.0, problem.cause)
            else:
                await self._give_up(claimed, Refusal(SignError.STORAGE_SERVICE_GLOBAL_ERROR, problem.cause))
        except PayloadDamaged as problem:
            if self._is_stored_later(row):
                await self._postpone(claimed, 0.0, problem.cause)
            else:
                await self._give_up(claimed, storage_refusal(problem))
        except DatabaseUnavailable as problem:
            log.warning("an operation waits for the database", operation=row.id, cause=problem.cause)
        except Exception:
            log.exception("signing stopped unexpectedly", operation=row.id)
            cause = f"an unexpected condition, operation {row.id} in the log"
            if claimed.tries + 1 < self._pace.unexpected_failures:
                await self._postpone(claimed, 0.0, cause)
            else:
                await self._give_up(claimed, Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR, cause))

    async def _is_signed_here(self, row: OperationRow, caller: Caller) -> bool:
        """Whether to go on with an operation. If not, it is left to the instance that makes the calls of its credential.

        Raises UpstreamError, DatabaseUnavailable.
        """
        others_read_it = row.payload_store is not None and row.token_holder is None
        is_open = row.documents_signed + row.documents_failed < row.documents_total
        if self._lanes is None or not others_read_it or not is_open:
            return True
        credential = (await self._upstream.credential(caller)).credential_id
        self._credentials[row.client_service] = credential
        return await self._lanes.is_here(credential)

    def _finished(self, row: OperationRow, failed: int, seconds: float, result: Result | None = None) -> None:
        tell_end(row, failed, seconds, age_seconds(row))
        self._tokens.pop(row.id, None)
        self._endings.finished(row.id, result)
        if row.evidence_record and self._recording is not None:
            self._recording.wake()
        if self._webhooks is not None:
            self._webhooks.wake()

    def _is_patient(self, row: OperationRow) -> bool:
        return age_seconds(row) < self._pace.patience_seconds

    def _is_stored_later(self, row: OperationRow) -> bool:
        """Whether the instance that took the operation in may still have its payload on its own disk alone.

        Nobody is told of a synchronous operation before its end, so its payload is put into the store while it is signed.
        """
        is_of_another = row.mode is Mode.SYNC and row.instance != self._store.instance
        return is_of_another and age_seconds(row) < STORED_LATER_SECONDS

    async def _leave_open(self, claimed: ClaimedOperation, progress: Progress) -> None:
        """Some documents have tries left: another run follows, unless this has been going on for too long."""
        problem = next((one for one in progress.open.values() if one.waits_for_operator), None)
        problem = problem or next(iter(progress.open.values()))
        if problem.waits_for_operator or self._is_patient(claimed.row):
            await self._postpone(claimed, progress.pause_seconds, f"{len(progress.open)} documents: {problem.cause}")
        else:
            await self._give_up(claimed, Refusal(problem.sign_error, problem.cause))

    async def _postpone(self, claimed: ClaimedOperation, asked_seconds: float, cause: str) -> None:
        """EXECUTION_ERROR until the next run. Nobody can ask for a pause that outlasts our patience."""
        left = self._pace.patience_seconds - age_seconds(claimed.row)
        pause = self._pace.between_tries.pause_seconds(claimed.tries + 1)
        pause = max(pause, min(asked_seconds, LONGEST_ASKED_SECONDS, left))
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
                tell_outcomes(row, outcomes)
                self._finished(row, ended.failed, 0)
        except BatchsealError as problem:
            log.warning("an operation stays as it is", operation=row.id, cause=problem.cause)


def age_seconds(row: OperationRow) -> float:
    """How long ago it was registered, or opened again, or resumed after a restore."""
    return (datetime.now(UTC) - (row.reopened_at or row.created_at)).total_seconds()
