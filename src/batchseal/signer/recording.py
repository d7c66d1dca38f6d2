"""Makes the evidence records of finished operations (RFC 4998): one time stamp for all signed documents of an operation.

    1 claim    the row that the end of the operation has left (`store/evidence_records.py`)
    2 digest   the signed documents as they will be delivered, mostly without their originals; kept in the row
    3 stamp    the root of the tree of these digests
    4 end      the row keeps the time stamp; from it and the digests, the record of each document is made when it is asked for

Results are delivered meanwhile: a record that is late follows. While no authority gives a time stamp the record is tried again,
and is given up once its operation has been over for as long as operations are waited for. A kill between 3 and 4 costs one more
time stamp, and nothing else costs any.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from batchseal.audit.chain import Event
from batchseal.document import Evidence, Stretch
from batchseal.errors import (
    BatchsealError,
    DatabaseUnavailable,
    ItemRejected,
    NoRoom,
    NoSpace,
    PayloadDamaged,
    PayloadUnavailable,
    TimestampFailed,
    UpstreamError,
)
from batchseal.formats.registry import Formats
from batchseal.operation import DocumentStatus
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import CheckedFrame, Payloads
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.store.evidence_records import ClaimedRecord, EvidenceTable, RecordState
from batchseal.store.store import Store
from batchseal.system.backoff import LONGEST_ASKED_SECONDS, Backoff
from batchseal.system.crash_sites import crash_site
from batchseal.system.futures import end_tasks, in_pool
from batchseal.system.shared_pool import SharedPool
from batchseal.upstream.interface import Upstream

# Signatures are read from the database, and documents put together, for so many documents at a time.
DIGESTED_AT_ONCE = 500
# How long operators are told of a record that was given up.
TOLD_SECONDS = 86_400.0

log = structlog.get_logger("recording")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPace:
    """How many records are made at once, and how long is waited. An authority takes few requests at a time."""

    records: int = 8
    look_seconds: float = 30.0  # between two looks, where nobody says that there is work
    claim_seconds: float = (
        300.0  # nobody else claims a record for so long; a new start of the signer does not wait for it
    )
    between_tries: Backoff = Backoff(1.0, 60.0)
    patience_seconds: float = 86_400.0  # after the end of the operation
    unexpected_failures: int = 5


DEFAULT_PACE = RecordingPace()


class Recording:
    """One for each signer process."""

    def __init__(
        self,
        table: EvidenceTable,
        store: Store,
        payloads: Payloads,
        formats: Formats,
        upstream: Upstream,
        pool: SharedPool,
        pace: RecordingPace = DEFAULT_PACE,
    ) -> None:
        self._table = table
        self._store = store
        self._payloads = payloads
        self._formats = formats
        self._upstream = upstream
        self._pool = pool
        self._pace = pace
        self._look = asyncio.Event()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._made = self._given_up = 0
        self._late: dict[int, str] = {}  # why a record is tried again, by operation
        self._told: deque[tuple[float, int]] = deque(maxlen=100)  # when a record was given up, and of which operation

    def wake(self) -> None:
        """An operation has ended that is to have a record."""
        self._look.set()

    async def run(self) -> None:
        """Until cancelled. Records that the process before this one was making are made first."""
        taken_back = False
        while True:
            self._look.clear()
            try:
                if not taken_back:
                    await self._table.take_back()
                    taken_back = True
                await self._take_on()
            except DatabaseUnavailable as problem:
                log.warning("the database is away", cause=problem.cause)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.look_seconds):
                    await self._look.wait()

    async def stop(self, seconds: float) -> None:
        """Lets what is under way go on for `seconds`, since a time stamp may be on its way, then leaves it to the next start."""
        await end_tasks(self._tasks.values(), seconds)

    def numbers(self) -> dict[str, float]:
        """By the names of their metrics."""
        return {
            "batchseal_evidence_records_made_total": self._made,
            "batchseal_evidence_records_given_up_total": self._given_up,
            "batchseal_evidence_records_late": len(self._late),
        }

    def remarks(self) -> list[str]:
        """What an operator should look at."""
        while self._told and time.monotonic() - self._told[0][0] > TOLD_SECONDS:
            self._told.popleft()
        remarks = []
        if self._told:
            named = ", ".join(str(operation_id) for _, operation_id in list(self._told)[-3:])
            remarks.append(f"{len(self._told)} evidence records were given up, the last of operation {named}")
        if self._late:
            cause = next(iter(self._late.values()))
            remarks.append(f"{len(self._late)} evidence records wait for a time stamp: {cause}")
        return remarks

    async def _take_on(self) -> None:
        """Claims as many records as there is room for, and begins to make them."""
        if self._late and not await self._table.to_make():
            self._late.clear()  # their operations were erased
        if room := self._pace.records - len(self._tasks):
            claimed = await self._table.claim(room, self._pace.claim_seconds, at_work=self._tasks)
            for one in claimed:
                self._begin(one)

    def _begin(self, claimed: ClaimedRecord) -> None:
        operation_id = claimed.operation.id
        task = self._tasks[operation_id] = asyncio.create_task(self._make(claimed))

        def done(_: asyncio.Task[None]) -> None:
            del self._tasks[operation_id]
            self._look.set()  # there is room for another one

        task.add_done_callback(done)

    async def _make(self, claimed: ClaimedRecord) -> None:
        row = claimed.operation
        try:
            await self._try_while_claimed(claimed)
        except (UpstreamError, PayloadUnavailable, NoSpace, NoRoom) as problem:
            asked_seconds = getattr(problem, "retry_after_seconds", None) or 0.0
            await self._failed(claimed, problem.cause, asked_seconds)
        except PayloadDamaged as problem:
            await self._give_up(claimed, problem.cause)
        except DatabaseUnavailable as problem:
            log.warning("an evidence record waits for the database", operation=row.id, cause=problem.cause)
        except Exception:
            log.exception("making an evidence record stopped unexpectedly", operation=row.id)
            if claimed.tries + 1 < self._pace.unexpected_failures:
                await self._failed(claimed, "an unexpected condition, in the log", 0.0)
            else:
                await self._give_up(claimed, "an unexpected condition, in the log")

    async def _try_while_claimed(self, claimed: ClaimedRecord) -> None:
        """`_try`, beside which the claim is renewed: the documents of a large operation take longer than a claim lasts."""

        async def renew() -> None:
            is_ours = True
            while is_ours:
                await asyncio.sleep(self._pace.claim_seconds / 3)
                with suppress(DatabaseUnavailable):
                    is_ours = await self._table.renew(claimed, self._pace.claim_seconds)

        renewing = asyncio.create_task(renew())
        try:
            await self._try(claimed)
        finally:
            await end_tasks([renewing], 0)

    async def _try(self, claimed: ClaimedRecord) -> None:
        row, ordinals, joined = claimed.operation, claimed.ordinals, claimed.digests
        if not ordinals:
            found = await self.digests(claimed)
            ordinals, joined = list(found), b"".join(found.values())
            if ordinals and not await self._table.keep_digests(claimed, ordinals, joined):
                return self._overtaken(claimed)
            crash_site("record-digested")
        if not ordinals:
            return await self._end(claimed, b"", b"", 0)
        root = await in_pool(self._pool.of(row.client_service), lambda: self._root(joined))
        if not self._upstream.stamps:
            raise TimestampFailed("time stamps are not set up any more (--timestamp-urls)", asked=False)
        (answer,) = await self._upstream.stamp([root])
        crash_site("record-stamped")
        if isinstance(answer, UpstreamError):
            raise answer
        await self._end(claimed, answer, root, len(ordinals))

    def _root(self, joined: bytes) -> bytes:
        """Blocking. The tree is gone again when its root is known: a worker that needs it makes it anew. Raises NoRoom."""
        from batchseal.formats.evidence_record import DIGEST_BYTES, DigestTree, split, tree_bytes

        with self._formats.memory(tree_bytes(len(joined) // DIGEST_BYTES)):
            return DigestTree(split(joined)).root

    # --- 2 digest -----------------------------------------------------------------------------------------------------

    async def digests(self, claimed: ClaimedRecord) -> dict[int, bytes]:
        """The digests of the signed documents by ordinal, in order."""
        row, found = claimed.operation, dict[int, bytes]()
        rows = await self._store.documents(row.id, row.created_at)
        signed = [one.ordinal for one in rows if one.status is DocumentStatus.SIGNED]
        lengths = {one.ordinal: one.content_bytes for one in rows}
        pool = self._pool.of(row.client_service)
        reader = OperationReader(self._payloads, records_of(row.payloads))
        working: asyncio.Future[dict[int, bytes]] | None = None
        try:
            for first in range(0, len(signed), DIGESTED_AT_ONCE):
                some = signed[first : first + DIGESTED_AT_ONCE]
                kept = await self._store.evidence(row.id, row.created_at, some)
                evidence = {ordinal: one.evidence for ordinal, one in kept.items() if one.evidence is not None}
                working = in_pool(pool, partial(self._digest_some, reader, some, lengths, evidence))
                found |= await asyncio.shield(working)
        finally:
            if working is not None and not working.done():
                await asyncio.wait([working])
            reader.close()
        if missing := len(signed) - len(found):
            log.warning("documents are damaged and not in the evidence record", operation=row.id, documents=missing)
        return found

    def _digest_some(
        self, reader: OperationReader, ordinals: Sequence[int], lengths: dict[int, int], evidence: dict[int, Evidence]
    ) -> dict[int, bytes]:
        """Blocking. A document that is damaged is left out: nobody can deliver it either. Raises NoRoom."""
        with reader.booked(self._formats.memory):
            return self._digests_of(reader, ordinals, lengths, evidence)

    def _digests_of(
        self, reader: OperationReader, ordinals: Sequence[int], lengths: dict[int, int], evidence: dict[int, Evidence]
    ) -> dict[int, bytes]:
        from batchseal.formats.digests import signed_digest
        from batchseal.pipeline.packaging import Packaging

        packaging, found = Packaging(reader, self._formats), dict[int, bytes]()
        for ordinal in ordinals:
            length = lengths[ordinal]
            try:
                signed, prepared = packaging.with_plan(ordinal, Stretch(0, length), evidence)
                original = StoredOriginal(reader, ordinal)
                found[ordinal] = signed_digest(signed, prepared.begun, length, original.read)
            except (PayloadDamaged, ItemRejected) as problem:
                log.warning("a document is not in the evidence record", document=ordinal, cause=problem.cause)
        return found

    # --- 4 end --------------------------------------------------------------------------------------------------------

    async def _end(self, claimed: ClaimedRecord, token: bytes, root: bytes, documents: int) -> None:
        """A time stamp was paid for, so its commit is tried until the database is back or this process ends."""
        failures = 0
        while True:
            try:
                ended = await self._table.end(claimed, RecordState.MADE, token, root, Event.RECORDED)
                break
            except DatabaseUnavailable as problem:
                failures += 1
                log.info(
                    "an evidence record waits for the database", operation=claimed.operation.id, cause=problem.cause
                )
            await asyncio.sleep(self._pace.between_tries.pause_seconds(failures))
        if not ended:
            return self._overtaken(claimed)
        crash_site("record-ended")
        self._made += 1
        self._late.pop(claimed.operation.id, None)
        log.info("evidence record made", operation=claimed.operation.id, documents=documents)

    def _overtaken(self, claimed: ClaimedRecord) -> None:
        log.info("an evidence record is made anew", operation=claimed.operation.id)

    async def _failed(self, claimed: ClaimedRecord, cause: str, asked_seconds: float) -> None:
        """Another try follows, unless this has been going on for too long."""
        left = self._pace.patience_seconds - claimed.age_seconds
        if left <= 0:
            return await self._give_up(claimed, cause)
        pause = self._pace.between_tries.pause_seconds(claimed.tries + 1)
        pause = max(pause, min(asked_seconds, LONGEST_ASKED_SECONDS, left))
        operation_id = claimed.operation.id
        self._late[operation_id] = cause
        log.warning("an evidence record is tried again", operation=operation_id, cause=cause, pause_seconds=pause)
        with suppress(DatabaseUnavailable):
            await self._table.postpone(claimed, pause)
            asyncio.get_running_loop().call_later(pause, self._look.set)

    async def _give_up(self, claimed: ClaimedRecord, cause: str) -> None:
        """Nobody tries again. The alarm is a line of the log, a counter and a remark."""
        operation_id = claimed.operation.id
        try:
            if not await self._table.end(claimed, RecordState.GIVEN_UP, b"", b"", Event.RECORD_GIVEN_UP):
                return self._overtaken(claimed)
        except BatchsealError as problem:
            log.warning("an evidence record stays as it is", operation=operation_id, cause=problem.cause)
            return
        self._given_up += 1
        self._late.pop(operation_id, None)
        self._told.append((time.monotonic(), operation_id))
        log.error("an evidence record was given up", operation=operation_id, cause=cause)


class StoredOriginal:
    """The bytes of one stored document, read only where they are asked for. Checked as a whole before the first of them."""

    def __init__(self, reader: OperationReader, ordinal: int) -> None:
        self._reader = reader
        self._ordinal = ordinal
        self._checked: CheckedFrame | None = None

    def read(self, start: int, stop: int) -> bytes:
        """Raises PayloadDamaged, PayloadUnavailable."""
        if self._checked is None:
            self._checked = self._reader.checked(FrameKind.DOCUMENT, self._ordinal)
        return self._checked.read(start, stop)
