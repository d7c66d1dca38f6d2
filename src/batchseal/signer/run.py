"""The middle of the pipeline, in the signer process: step 3 (what reception left) and step 4 of one claimed operation.

Goes on wherever an earlier run stopped: what has a signature in the spill needs none, what has a prepared digest is signed
with that digest. A run that leaves documents open is followed by another one, until each has had its tries.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from batchseal.document import DocumentOutcome, Refusal, SignatureValue, ToSign, to_sign
from batchseal.errors import CertificateRenewed, LeaseLost, SpillDamaged, UpstreamError
from batchseal.formats.cms import CmsTemplate
from batchseal.formats.pades.prepare import prepare
from batchseal.operation import Caller, DocumentStatus, Mode, SignError
from batchseal.payloads import records
from batchseal.payloads.files import Files
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.writer import Frame
from batchseal.pipeline import BATCH_DOCUMENTS, storage_refusal
from batchseal.store.rows import ClaimedOperation, DocumentRow, Ended, OperationRow
from batchseal.store.store import Store
from batchseal.system.futures import in_pool, retrieve_failure
from batchseal.upstream.interface import Upstream

Signed = tuple[ToSign, bytes]  # with its signature value
SIDE_BY_SIDE = 2  # operations that end on the disk and in the database at once

T = TypeVar("T")


@dataclass(slots=True)
class Found:
    """What a run finds to do: ended already (signed before a crash, or refused), to be signed, only to be time-stamped."""

    ended: list[DocumentOutcome] = field(default_factory=list)
    to_sign: list[ToSign] = field(default_factory=list)
    to_stamp: list[Signed] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """How far one run came: documents given up in all, and those to be tried again with why they failed this time."""

    failed: int = 0
    open: dict[int, UpstreamError] = field(default_factory=dict)
    outcomes: dict[int, DocumentOutcome] = field(default_factory=dict)
    ended: Ended | None = None  # the operation has

    @property
    def pause_seconds(self) -> float:
        """That the upstream asked for."""
        return max((problem.retry_after_seconds or 0.0 for problem in self.open.values()), default=0.0)


@dataclass(slots=True)
class Work:
    """One operation while it is worked on. `tries`: sign calls by ordinal."""

    claimed: ClaimedOperation
    caller: Caller
    pool: Executor
    files: asyncio.Future[Files]
    left: int  # documents that have not ended
    run: Run
    tries: dict[int, int] = field(default_factory=dict)
    last_use: asyncio.Future[Any] | None = None

    async def use(self, work: Callable[[Files], T]) -> T:
        """`work` in a thread, one after the other. Raises SpillDamaged or PayloadUnavailable where the files
        cannot be opened.
        """
        files = await asyncio.shield(self.files)
        self.last_use = used = in_pool(self.pool, partial(work, files))
        return await asyncio.shield(used)

    async def append_synced(self, frames: Sequence[Frame]) -> None:
        await self.use(lambda files: files.writer.append_synced(frames))

    async def close(self) -> None:
        """Closes the files once no thread uses them. Until then a run that is cut off stays, and no other one can append."""
        last = self.last_use or self.files
        if not last.done():
            await asyncio.wait([last])
        if not self.files.cancelled() and self.files.exception() is None:
            self.files.result().close()


class Signing:
    """`tries` is the budget of sign calls of a document, over all runs."""

    def __init__(self, store: Store, upstream: Upstream, folder: Path, pool: Executor, *, tries: int) -> None:
        self._store = store
        self._upstream = upstream
        self._folder = folder
        self._pool = pool
        self._tries = tries
        self._finishing = 0

    async def run(self, claimed: ClaimedOperation, caller: Caller) -> Run:
        """Signs what is open, as far as that goes now. Raises UpstreamError, SpillDamaged, PayloadUnavailable,
        LeaseLost.
        """
        operation = claimed.row
        rows = claimed.documents
        if rows is None:
            rows = await self._store.documents(operation.id, operation.created_at)
        open_rows = {row.ordinal: row for row in rows if row.status is DocumentStatus.RECEIVED}
        run = Run(failed=sum(row.status is DocumentStatus.ERROR_SIGNING for row in rows))
        if not open_rows:
            run.ended = await self._store.finish(operation.id, operation.created_at, claimed.fence)
            if run.ended is None:
                raise _lost(operation)
            return run
        template = CmsTemplate.cached(await self._upstream.credential(caller))
        # While the upstream is asked, where that can be done at once.
        unsynced = operation.mode is Mode.SYNC and claimed.documents is not None  # small, and just come
        files = in_pool(self._pool, partial(Files.open, self._folder, operation.payload_id, unsynced=unsynced))
        work = Work(claimed, caller, self._pool, files, len(open_rows), run)
        try:
            known = claimed.fingerprint == template.credential.fingerprint
            if known and {item.ordinal for item in claimed.to_sign} == open_rows.keys():
                found = Found(to_sign=list(claimed.to_sign))
            else:
                work.tries, found = await work.use(lambda files: self._find(files, template, open_rows))
            renewed = await self._pass(work, template, open_rows, found, again=True)
            if renewed:
                # Their attributes name the old certificate: prepared once more for the new one, and only once.
                template = CmsTemplate.cached(await self._upstream.credential(caller))
                anew = {ordinal: open_rows[ordinal] for ordinal in renewed}
                found = await work.use(partial(self._digest, template=template, rows=anew))
                await self._pass(work, template, anew, found, again=False)
            if run.open:
                tries = {ordinal: work.tries.get(ordinal, 0) for ordinal in run.open}
                await work.append_synced([records.tries_frame(tries)])
        finally:
            await work.close()
        return run

    def _find(self, files: Files, template: CmsTemplate, rows: dict[int, DocumentRow]) -> tuple[dict[int, int], Found]:
        """All that is done before anything is signed. Blocking."""
        return records.read_tries(files.reader), self._digest(files, template, rows)

    async def _pass(
        self, work: Work, template: CmsTemplate, rows: dict[int, DocumentRow], found: Found, *, again: bool
    ) -> list[int]:
        """Signs `rows`; returns those whose certificate turned out to be renewed, if they may come `again`."""
        if not self._upstream.stamps:
            asking = [rows[item.ordinal] for item in found.to_sign if item.timestamp]
            found.ended += [DocumentOutcome(row.ordinal, refusal=_no_time_stamps(row)) for row in asking]
            found.to_sign = [item for item in found.to_sign if not item.timestamp]
        await self._record(work, found.ended)
        await self._record(work, await self._stamp(work, found.to_stamp))
        renewed: list[int] = []
        async for outcomes, frames in self._sign(work, template, found.to_sign, renewed if again else None):
            await self._record(work, outcomes, frames)
        return renewed

    def _digest(self, files: Files, template: CmsTemplate, rows: dict[int, DocumentRow]) -> Found:
        reader, writer = files.reader, files.writer
        found, unprepared = Found(), list[DocumentRow]()
        have_signature, have_digest = reader.ordinals(FrameKind.SIGNATURE), reader.ordinals(FrameKind.PREPARED)
        have_timestamp = reader.ordinals(FrameKind.TIMESTAMP)
        for ordinal in sorted(rows):
            prepared = records.read_prepared(reader, ordinal) if ordinal in have_digest else None
            if prepared is not None and ordinal in have_signature:
                if prepared.timestamp and ordinal not in have_timestamp:
                    found.to_stamp.append((to_sign(prepared), records.read_signature(reader, ordinal).value))
                else:
                    found.ended.append(DocumentOutcome(ordinal, prepared.additional_bytes))
            elif prepared is not None and prepared.fingerprint == template.credential.fingerprint:
                found.to_sign.append(to_sign(prepared))
            else:
                unprepared.append(rows[ordinal])
        if not records.has_credential(reader, template.credential.fingerprint):
            # Before any digest that was prepared for it: a crash in between leaves none that cannot be packaged.
            writer.append([records.credential_frame(template.credential)])
        asked = records.read_asked(reader) if unprepared else {}
        for first in range(0, len(unprepared), BATCH_DOCUMENTS):
            originals = []
            for row in unprepared[first : first + BATCH_DOCUMENTS]:
                try:
                    content = reader.read(FrameKind.DOCUMENT, row.ordinal)
                    originals.append((row.ordinal, records.description(row, asked), content))
                except SpillDamaged as problem:
                    found.ended.append(DocumentOutcome(row.ordinal, refusal=storage_refusal(problem)))
            results = prepare(originals, template, datetime.now(UTC))
            found.ended += [DocumentOutcome(n, refusal=r) for n, r in results if isinstance(r, Refusal)]
            prepared_now = [r for _, r in results if not isinstance(r, Refusal)]
            found.to_sign += map(to_sign, prepared_now)
            writer.append(records.prepared_frame(p) for p in prepared_now)
        if unprepared:
            writer.sync_data()
        return found

    async def _sign(
        self, work: Work, template: CmsTemplate, items: list[ToSign], renewed: list[int] | None
    ) -> AsyncIterator[tuple[list[DocumentOutcome], list[Frame]]]:
        """4 sign: outcomes, and the frames that must be on the disk before they are recorded. What is left open or `renewed`
        has no outcome.
        """
        digests = [item.attributes_digest for item in items]
        had = [work.tries.get(item.ordinal, 0) for item in items]
        budget = [max(1, self._tries - tries) for tries in had]
        given = list(budget)
        key = str(work.claimed.row.payload_id)
        async for answers in self._upstream.sign(
            work.caller, template.credential, digests, request_key=key, budget=budget
        ):
            outcomes, frames, to_stamp = [], [], []
            for index, answer in answers:
                item = items[index]
                work.tries[item.ordinal] = had[index] + given[index] - budget[index]
                if not isinstance(answer, UpstreamError):
                    frames.append(records.signature_frame(SignatureValue(item.ordinal, answer)))
                    if item.timestamp:
                        to_stamp.append((item, answer))
                    else:
                        outcomes.append(DocumentOutcome(item.ordinal, item.additional_bytes))
                elif renewed is not None and isinstance(answer, CertificateRenewed):
                    renewed.append(item.ordinal)
                elif answer.try_again and budget[index] > 0:
                    work.run.open[item.ordinal] = answer
                else:
                    refusal = Refusal(answer.sign_error, answer.cause)
                    outcomes.append(DocumentOutcome(item.ordinal, refusal=refusal))
            if to_stamp:
                await work.append_synced(frames)
                outcomes, frames = outcomes + await self._stamp(work, to_stamp), []
            yield outcomes, frames

    async def _stamp(self, work: Work, signed: list[Signed]) -> list[DocumentOutcome]:
        """4 sign, the time stamp: a document that asks for one ends with it, or not at all."""
        outcomes, frames = [], []
        answers = await self._upstream.stamp([value for _, value in signed]) if signed else []
        for (item, _), answer in zip(signed, answers, strict=True):
            if isinstance(answer, bytes):
                frames.append(records.timestamp_frame(item.ordinal, answer))
                outcomes.append(DocumentOutcome(item.ordinal, item.additional_bytes))
                continue
            work.tries[item.ordinal] = work.tries.get(item.ordinal, 0) + answer.asked
            if answer.try_again and work.tries[item.ordinal] < self._tries:
                work.run.open[item.ordinal] = answer
            else:
                outcomes.append(DocumentOutcome(item.ordinal, refusal=Refusal(answer.sign_error, answer.cause)))
        if frames:
            await work.append_synced(frames)
        return outcomes

    async def _record(self, work: Work, outcomes: Sequence[DocumentOutcome], frames: Sequence[Frame] = ()) -> None:
        """Signatures (`frames`) are on the disk before their rows say so. The last outcomes end the operation too."""
        row, fence = work.claimed.row, work.claimed.fence
        work.left -= len(outcomes)
        work.run.failed += sum(outcome.refusal is not None for outcome in outcomes)
        if work.claimed.documents is not None:
            work.run.outcomes |= {outcome.ordinal: outcome for outcome in outcomes}
        if outcomes and work.left == 0:
            work.run.ended = await self._finish(work, outcomes, frames)
            held = work.run.ended is not None
        else:
            if frames:
                await work.append_synced(frames)
            held = not outcomes or await self._store.record_outcomes(row.id, row.created_at, fence, outcomes)
        if not held:
            raise _lost(row)

    async def _finish(self, work: Work, outcomes: Sequence[DocumentOutcome], frames: Sequence[Frame]) -> Ended | None:
        """The disk and the database at the same time: only the commit waits for the disk. With many at once, one after the
        other: a session of the database is not for waiting.
        """
        row, fence = work.claimed.row, work.claimed.fence
        if not frames or self._finishing >= SIDE_BY_SIDE:
            if frames:
                await work.append_synced(frames)
            return await self._store.finish(row.id, row.created_at, fence, outcomes)
        self._finishing += 1
        synced = asyncio.ensure_future(work.append_synced(frames))
        try:
            return await self._store.finish(row.id, row.created_at, fence, outcomes, once=synced)
        finally:
            self._finishing -= 1
            await asyncio.wait([synced])  # before the file is closed
            retrieve_failure(synced)


def _lost(row: OperationRow) -> LeaseLost:
    return LeaseLost(f"operation {row.id} is worked on by somebody else")


def _no_time_stamps(row: DocumentRow) -> Refusal:
    return Refusal(SignError.CONFIGURATION_SIGN_ERROR, f"{row.name}: time stamps are not set up (--timestamp-urls)")
