"""One run over a claimed operation: step 4 of the pipeline, and step 3 for what the worker could not prepare.

A run goes on wherever an earlier one stopped. A document whose signature is kept is not signed again. A document that was prepared
for the present certificate is signed with its stored digest. Every other document is prepared now, into a further payload. Once a
digest is signed, the format says what else the document needs, round by round (`SignatureFormat.next_need`).

A run that leaves documents open is followed by another one, until each document has had its tries.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from batchseal.document import Credential, DocumentOutcome, Evidence, Level, Prepared, Refusal, ToSign, to_sign
from batchseal.errors import CertificateRenewed, LeaseLost, PayloadDamaged, UpstreamError
from batchseal.formats.interface import Need, NeedKind, Original
from batchseal.formats.registry import Formats
from batchseal.operation import Caller, DocumentStatus, Mode
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Payloads, Upload
from batchseal.payloads.operation import OperationReader, record_bytes, records_of
from batchseal.pipeline.delivery import storage_refusal
from batchseal.pipeline.reception import BATCH_DOCUMENTS
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationEnd, OperationRow, SignatureRow
from batchseal.store.store import Store
from batchseal.system.crash_sites import crash_site
from batchseal.system.futures import in_pool, retrieve_failure
from batchseal.upstream.interface import Upstream

# So many operations sync their payload while their last statement runs. More would hold sessions of the database for the disk.
SYNCED_BESIDE_THE_DATABASE = 2

T = TypeVar("T")


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


class Work:
    """One claimed operation while it is worked on. `tries` counts the sign calls that each document was in."""

    def __init__(
        self, claimed: ClaimedOperation, caller: Caller, reader: OperationReader, pool: Executor, documents_left: int
    ) -> None:
        self.claimed = claimed
        self.caller = caller
        self.documents_left = documents_left
        self.progress = Progress()
        self.tries: dict[int, int] = {}
        self._reader = reader
        self._pool = pool
        self._reading: asyncio.Future[Any] | None = None
        self.upload: Upload | None = None  # a further payload that no row names yet

    @property
    def row(self) -> OperationRow:
        return self.claimed.row

    async def read(self, work: Callable[[OperationReader], T]) -> T:
        """Runs `work` on the stored payloads, in a thread. Calls follow each other, since the reader is for one thread."""
        self._reading = reading = in_pool(self._pool, partial(work, self._reader))
        return await asyncio.shield(reading)

    def payload_added(self, record: bytes, payloads: Payloads) -> None:
        """The row names the further payload by now: it is read from here on, and a sweep may look at it."""
        assert self.upload is not None
        row = replace(self.row, further_payloads=(*self.row.further_payloads, record))
        self.claimed = replace(self.claimed, row=row)
        self.progress.prepared_anew = True
        self.upload.release()
        self.upload = None
        self._reader.close()
        self._reader = OperationReader(payloads, records_of(row.payloads))

    async def close(self) -> None:
        """Closes the payloads once no thread uses them: cancelling a run does not stop its thread.

        A further payload that no row names is left behind where its row may have been written. A sweep asks the rows.
        """
        if self._reading is not None and not self._reading.done():
            await asyncio.wait([self._reading])
        self._reader.close()
        if self.upload is not None:
            self.upload.release()


class Signing:
    """Runs over claimed operations. `tries` is how many sign calls a document may be in, over all runs."""

    def __init__(
        self, store: Store, upstream: Upstream, payloads: Payloads, formats: Formats, pool: Executor, *, tries: int
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._payloads = payloads
        self._formats = formats
        self._pool = pool
        self._tries = tries
        self._syncing = 0

    async def run(self, claimed: ClaimedOperation, caller: Caller) -> Progress:
        """Signs what is open, as far as that goes now.

        Raises UpstreamError, PayloadDamaged, PayloadUnavailable, NoSpace, LeaseLost.
        """
        operation, rows = claimed.row, claimed.documents
        if rows is None:
            rows = await self._store.documents(operation.id, operation.created_at)
        open_rows = {row.ordinal: row for row in rows if row.status is DocumentStatus.RECEIVED}
        reader = OperationReader(self._payloads, records_of(operation.payloads))
        work = Work(claimed, caller, reader, self._pool, len(open_rows))
        work.progress.failed = sum(row.status is DocumentStatus.ERROR_SIGNING for row in rows)
        try:
            if not open_rows:
                await self._end(work, [], [])
                return work.progress
            credential = await self._upstream.credential(caller)
            plan = handed_plan(claimed, credential, open_rows) or await self._find(work, credential, open_rows)
            renewed = await self._pass(work, credential, open_rows, plan, may_renew=True)
            if renewed:
                # These documents name the certificate before this one, so they are prepared again, once.
                credential = await self._upstream.credential(caller)
                plan = Plan()
                await self._prepare(work, credential, [open_rows[ordinal] for ordinal in renewed], plan)
                await self._pass(work, credential, open_rows, plan, may_renew=False)
            if work.progress.open:
                tries = [SignatureRow(ordinal, tries=work.tries.get(ordinal, 0)) for ordinal in work.progress.open]
                await self._record(work, [], tries)
        finally:
            await work.close()
        return work.progress

    # --- what there is to do ------------------------------------------------------------------------------------------

    async def _find(self, work: Work, credential: Credential, rows: dict[int, DocumentRow]) -> Plan:
        """Looks at what is stored, and prepares what is not."""
        row = work.row
        kept = await self._store.evidence(row.id, row.created_at, min(rows), max(rows))
        plan, unprepared, old_tries = await work.read(partial(self._look, credential=credential, rows=rows, kept=kept))
        work.tries = {
            ordinal: kept[ordinal].tries if ordinal in kept else old_tries.get(ordinal, 0) for ordinal in rows
        }
        if unprepared:
            await self._prepare(work, credential, unprepared, plan)
        return plan

    def _look(
        self,
        reader: OperationReader,
        credential: Credential,
        rows: dict[int, DocumentRow],
        kept: dict[int, SignatureRow],
    ) -> tuple[Plan, list[DocumentRow], dict[int, int]]:
        """What to do, the documents that must be prepared first, and the tries that a payload of release 0.1 tells. Blocking."""
        plan, unprepared = Plan(), list[DocumentRow]()
        evidence = records.read_old_evidence(reader, list(rows))
        evidence |= {ordinal: one.evidence for ordinal, one in kept.items() if one.evidence is not None}
        have_prepared = reader.ordinals(FrameKind.PREPARED)
        for ordinal in sorted(rows):
            prepared = records.read_prepared(reader, ordinal) if ordinal in have_prepared else None
            if prepared is not None and ordinal in evidence:
                self._sort_signed(plan, prepared, evidence[ordinal])
            elif prepared is not None and prepared.fingerprint == credential.fingerprint:
                plan.to_sign.append(to_sign(prepared))
            else:
                unprepared.append(rows[ordinal])
        return plan, unprepared, records.read_old_tries(reader)

    def _sort_signed(self, plan: Plan, prepared: Prepared, evidence: Evidence) -> None:
        if prepared.level > Level.B and self._need(prepared, evidence) is not None:
            plan.to_complete.append((to_sign(prepared), evidence))
        else:
            plan.ended.append(DocumentOutcome(prepared.ordinal, prepared.additional_bytes))

    def _need(self, prepared: Prepared, evidence: Evidence) -> Need | None:
        return self._formats.named(prepared.format).next_need(prepared, evidence)

    async def _prepare(self, work: Work, credential: Credential, rows: Sequence[DocumentRow], plan: Plan) -> None:
        """3 prepare, into a further payload that the row of the operation names before anything in it is signed."""
        upload = work.upload = self._payloads.create(uuid4())
        record = await work.read(
            partial(self._prepare_stored, upload=upload, credential=credential, rows=rows, plan=plan)
        )
        if record is None:
            return
        if not await self._store.add_payload(work.row.id, work.claimed.fence, record_bytes(record)):
            raise _lost(work.row)
        work.payload_added(record_bytes(record), self._payloads)

    def _prepare_stored(
        self,
        reader: OperationReader,
        upload: Upload,
        credential: Credential,
        rows: Sequence[DocumentRow],
        plan: Plan,
    ) -> PayloadRecord | None:
        """Blocking. None where no document could be prepared."""
        asked = records.read_asked(reader)
        upload.begin()
        upload.append([records.credential_frame(credential)])
        any_prepared = False
        for first in range(0, len(rows), BATCH_DOCUMENTS):
            originals = self._originals(reader, rows[first : first + BATCH_DOCUMENTS], asked, plan)
            results = self._formats.prepare(originals, credential, datetime.now(UTC))
            prepared = [result for result in results if isinstance(result, Prepared)]
            for (ordinal, _, _), result in zip(originals, results, strict=True):
                if isinstance(result, Refusal):
                    plan.ended.append(DocumentOutcome(ordinal, refusal=result))
            plan.to_sign += map(to_sign, prepared)
            upload.append(map(records.prepared_frame, prepared))
            any_prepared = any_prepared or bool(prepared)
        record = upload.commit(durable=True) if any_prepared else None
        crash_site("further-payload-committed")
        return record

    def _originals(
        self,
        reader: OperationReader,
        rows: Sequence[DocumentRow],
        asked: dict[int, records.AskedDocument],
        plan: Plan,
    ) -> list[Original]:
        """Documents that are damaged in the payload end here."""
        originals: list[Original] = []
        for row in rows:
            try:
                if row.ordinal not in asked:
                    raise PayloadDamaged(f"what was asked for document {row.ordinal} is not stored")
                content = reader.read(FrameKind.DOCUMENT, row.ordinal)
                wanted = records.description(asked[row.ordinal], row.external_reference, row.name)
                originals.append((row.ordinal, wanted, content))
            except PayloadDamaged as problem:
                plan.ended.append(DocumentOutcome(row.ordinal, refusal=storage_refusal(problem)))
        return originals

    # --- 4 sign -------------------------------------------------------------------------------------------------------

    async def _pass(
        self, work: Work, credential: Credential, rows: dict[int, DocumentRow], plan: Plan, *, may_renew: bool
    ) -> list[int]:
        """Does what `plan` says. With `may_renew`, returns the documents whose certificate turned out to be renewed."""
        possible: list[ToSign] = []
        for item in plan.to_sign:
            refusal = self._formats.refusal_of_level(rows[item.ordinal].name, item.level)
            if refusal is None:
                possible.append(item)
            else:
                plan.ended.append(DocumentOutcome(item.ordinal, refusal=refusal))
        await self._record(work, plan.ended, [])
        await self._complete(work, plan.to_complete)
        renewed: list[int] = []
        async for signed, outcomes in self._sign(work, credential, possible, renewed if may_renew else None):
            kept = [SignatureRow(item.ordinal, evidence, work.tries.get(item.ordinal, 0)) for item, evidence in signed]
            complete = [item for item, _ in signed if item.level is Level.B]
            outcomes += [DocumentOutcome(item.ordinal, item.additional_bytes) for item in complete]
            await self._record(work, outcomes, kept)
            await self._complete(work, [(item, evidence) for item, evidence in signed if item.level > Level.B])
        return renewed

    async def _sign(
        self, work: Work, credential: Credential, items: list[ToSign], renewed: list[int] | None
    ) -> AsyncIterator[tuple[list[tuple[ToSign, Evidence]], list[DocumentOutcome]]]:
        """Signed documents, and those that ended without a signature, in parts, as the answers come.

        A document that is left open, or that is put into `renewed`, is in neither list.
        """
        digests = [item.digest for item in items]
        had = [work.tries.get(item.ordinal, 0) for item in items]
        budget = [max(1, self._tries - tries) for tries in had]
        given = list(budget)
        key = str(work.row.payload_id)
        async for answers in self._upstream.sign(work.caller, credential, digests, request_key=key, budget=budget):
            signed, outcomes = list[tuple[ToSign, Evidence]](), list[DocumentOutcome]()
            for index, answer in answers:
                item = items[index]
                work.tries[item.ordinal] = had[index] + given[index] - budget[index]
                if not isinstance(answer, UpstreamError):
                    signed.append((item, Evidence(answer)))
                elif renewed is not None and isinstance(answer, CertificateRenewed):
                    renewed.append(item.ordinal)
                elif answer.try_again and budget[index] > 0:
                    work.progress.open[item.ordinal] = answer
                else:
                    refusal = Refusal(answer.sign_error, answer.cause)
                    outcomes.append(DocumentOutcome(item.ordinal, refusal=refusal))
            yield signed, outcomes

    # --- what a level above B needs -----------------------------------------------------------------------------------

    async def _complete(self, work: Work, signed: Sequence[tuple[ToSign, Evidence]]) -> None:
        """Gets what signed documents still need, in rounds, until each one has it or failed. Each round is kept."""
        if not signed:
            return
        items = {item.ordinal: item for item, _ in signed}
        prepared = await work.read(partial(_read_prepared, ordinals=list(items)))
        going_on = {item.ordinal: evidence for item, evidence in signed}
        while going_on:
            needs = {
                ordinal: need
                for ordinal, evidence in going_on.items()
                if isinstance(one := prepared[ordinal], Prepared) and (need := self._need(one, evidence)) is not None
            }
            answers = dict(zip(needs, await self._meet(list(needs.values())), strict=True))
            outcomes, kept, next_round = list[DocumentOutcome](), list[SignatureRow](), dict[int, Evidence]()
            for ordinal, evidence in going_on.items():
                one, answer = prepared[ordinal], answers.get(ordinal)
                if not isinstance(one, Prepared):
                    outcomes.append(DocumentOutcome(ordinal, refusal=storage_refusal(one)))
                elif answer is None:
                    outcomes.append(DocumentOutcome(ordinal, one.additional_bytes))
                elif isinstance(answer, UpstreamError):
                    outcomes += self._unmet(work, items[ordinal], answer)
                else:
                    more = replace(evidence, time_stamps=(*evidence.time_stamps, answer))
                    kept.append(SignatureRow(ordinal, more, work.tries.get(ordinal, 0)))
                    if self._need(one, more) is None:
                        outcomes.append(DocumentOutcome(ordinal, one.additional_bytes))
                    else:
                        next_round[ordinal] = more
            await self._record(work, outcomes, kept)
            going_on = next_round

    async def _meet(self, needs: Sequence[Need]) -> list[bytes | UpstreamError]:
        """One answer for each need, in order."""
        if not needs:
            return []
        assert all(need.kind is NeedKind.TIME_STAMP for need in needs)
        return list(await self._upstream.stamp([need.data for need in needs]))

    def _unmet(self, work: Work, item: ToSign, problem: UpstreamError) -> list[DocumentOutcome]:
        """The document is tried again, or ends here."""
        work.tries[item.ordinal] = work.tries.get(item.ordinal, 0) + problem.asked
        if problem.try_again and work.tries[item.ordinal] < self._tries:
            work.progress.open[item.ordinal] = problem
            return []
        return [DocumentOutcome(item.ordinal, refusal=Refusal(problem.sign_error, problem.cause))]

    # --- what is kept -------------------------------------------------------------------------------------------------

    async def _record(self, work: Work, outcomes: Sequence[DocumentOutcome], kept: Sequence[SignatureRow]) -> None:
        """Writes how documents ended, and what is known of others. The last outcomes end the operation too. Raises LeaseLost."""
        progress = work.progress
        work.documents_left -= len(outcomes)
        progress.failed += sum(outcome.refusal is not None for outcome in outcomes)
        if work.claimed.documents is not None:
            progress.outcomes |= {outcome.ordinal: outcome for outcome in outcomes}
            progress.evidence |= {one.ordinal: one.evidence for one in kept if one.evidence is not None}
        if outcomes and work.documents_left == 0:
            await self._end(work, outcomes, kept)
        elif outcomes or kept:
            row, fence = work.row, work.claimed.fence
            if not await self._store.record_outcomes(row.id, row.created_at, fence, outcomes, kept):
                raise _lost(row)

    async def _end(self, work: Work, outcomes: Sequence[DocumentOutcome], kept: Sequence[SignatureRow]) -> None:
        """Ends the operation. Its payload is durable before the commit: that of an asynchronous one is since its registration."""
        row, fence = work.row, work.claimed.fence
        ends = partial(self._store.finish, row.id, row.created_at, fence, outcomes, kept)
        if row.mode is not Mode.SYNC:
            work.progress.ended = await ends()
        elif self._syncing >= SYNCED_BESIDE_THE_DATABASE:
            await self._make_durable(row)
            work.progress.ended = await ends()
        else:
            self._syncing += 1
            syncing = asyncio.ensure_future(self._make_durable(row))
            try:
                work.progress.ended = await ends(commit_after=syncing)
            finally:
                self._syncing -= 1
                await asyncio.wait([syncing])
                retrieve_failure(syncing)
        if work.progress.ended is None:
            raise _lost(row)

    async def _make_durable(self, row: OperationRow) -> None:
        first, *_ = records_of(row.payloads)
        await in_pool(self._pool, lambda: self._payloads.make_durable(first))


def handed_plan(claimed: ClaimedOperation, credential: Credential, rows: dict[int, DocumentRow]) -> Plan | None:
    """The plan of an operation that its worker handed over with all digests; None where they do not fit any more."""
    fits = claimed.fingerprint == credential.fingerprint
    if fits and {item.ordinal for item in claimed.to_sign} == rows.keys():
        return Plan(to_sign=list(claimed.to_sign))
    return None


def _read_prepared(reader: OperationReader, ordinals: Sequence[int]) -> dict[int, Prepared | PayloadDamaged]:
    """Blocking. A document whose record is damaged costs itself alone."""
    found: dict[int, Prepared | PayloadDamaged] = {}
    for ordinal in ordinals:
        try:
            found[ordinal] = records.read_prepared(reader, ordinal)
        except PayloadDamaged as problem:
            found[ordinal] = problem
    return found


def _lost(row: OperationRow) -> LeaseLost:
    return LeaseLost(f"operation {row.id} is worked on by somebody else")
