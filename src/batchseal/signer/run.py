"""One run over a claimed operation: step 4 of the pipeline, and step 3 for what the worker could not prepare.

A run goes on wherever an earlier one stopped. A document whose signature is kept is not signed again. A document that was
prepared for the present certificate is signed with its stored digest. Every other document is prepared now, into a further
payload. Once a digest is signed, the format says what else the document needs, round by round (`SignatureFormat.next_need`).

A run that leaves documents open is followed by another one, until each document has had its tries.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from batchseal.audit.known import KnownFacts
from batchseal.document import Credential, DocumentOutcome, Evidence, Prepared, Refusal, ToSign, storage_refusal
from batchseal.errors import (
    CertificateRenewed,
    CertificateRevoked,
    ItemRejected,
    MaterialImpossible,
    NoSpace,
    PayloadDamaged,
    PayloadUnavailable,
    UpstreamError,
)
from batchseal.formats.interface import Need, NeedKind
from batchseal.formats.material import Materials, encoded
from batchseal.formats.registry import Formats
from batchseal.operation import Caller, DocumentStatus, SignError
from batchseal.payloads.interface import Payloads
from batchseal.signature import Level
from batchseal.signer.call_log import CallLog
from batchseal.signer.durable_ahead import DurableAhead
from batchseal.signer.evidence import read_prepared, with_answer
from batchseal.signer.late import PATIENCE_SECONDS, Late, patience_seconds
from batchseal.signer.preparation import Locate, Preparation, handed_plan
from batchseal.signer.stamp_room import StampRoom
from batchseal.signer.telling import tell_outcomes
from batchseal.signer.work import Anew, Plan, Progress, Reserve, Work, lease_lost, unbounded
from batchseal.signer.writing import written
from batchseal.store.rows import ClaimedOperation, SignatureRow
from batchseal.store.store import Store
from batchseal.system.futures import retrieve_failure
from batchseal.system.shared_pool import SharedPool
from batchseal.system.telemetry.tracing import NOTHING, span
from batchseal.upstream.interface import Upstream

# So many operations sync their payload while their last statement runs. More would hold sessions of the database for the disk.
SYNCED_BESIDE_THE_DATABASE = 2
# So many signed documents are completed at once. An authority takes fewer requests at a time than that.
COMPLETED_AT_ONCE = 64


class Signing:
    """Runs over claimed operations. `tries` is how many sign calls a document may be in, over all runs.

    `reserve` holds the memory of what is read and prepared here. Without `materials`, levels above T are refused. With
    `check_revocation`, the certificate of every signer is checked before it signs, and not only that of documents above T.
    `calls` keeps what calls were made, and `known` what the audit trail will say of operations that were signed here. A run does
    not wait longer than `store_seconds` for the payload store, beside the time that many bytes take.
    """

    def __init__(
        self,
        store: Store,
        upstream: Upstream,
        payloads: Payloads,
        formats: Formats,
        stamp_room: StampRoom,
        pool: SharedPool,
        *,
        tries: int,
        reserve: Reserve = unbounded,
        materials: Materials | None = None,
        check_revocation: bool = False,
        locate: Locate | None = None,
        calls: CallLog | None = None,
        known: KnownFacts | None = None,
        store_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.late = Late()
        self._store_seconds = store_seconds
        self._known = known
        self._calls = calls
        self._materials = materials
        self._check_revocation = check_revocation
        self.stamp_room = stamp_room
        self.durable_ahead = DurableAhead(payloads, pool)
        self._store = store
        self._upstream = upstream
        self._payloads = payloads
        self._formats = formats
        self._pool = pool
        self._tries = tries
        self._reserve = reserve
        self._preparation = Preparation(store, payloads, formats, stamp_room, locate)
        self._syncing = 0

    async def run(self, claimed: ClaimedOperation, caller: Caller) -> Progress:
        """Signs what is open, as far as that goes now.

        Raises UpstreamError, PayloadDamaged, PayloadUnavailable, NoSpace, LeaseLost.
        """
        operation, rows = claimed.row, claimed.documents
        if rows is None:
            rows = await self._store.documents(operation.id, operation.created_at)
        open_rows = {row.ordinal: row for row in rows if row.status is DocumentStatus.RECEIVED}
        pool = self._pool.of(operation.client_service)
        open_bytes = sum(row.content_bytes for row in open_rows.values())
        patience = patience_seconds(open_bytes, claimed.tries, self._store_seconds)
        work = Work(claimed, caller, self._payloads, pool, len(open_rows), self._reserve, patience)
        work.progress.failed = sum(row.status is DocumentStatus.ERROR_SIGNING for row in rows)
        try:
            if not open_rows:
                await self._end(work, [], [])
                return work.progress
            work.begin_durable(self._payloads, self.durable_ahead.take(operation.payload_id))
            credential = await self._upstream.credential(caller)
            if (plan := handed_plan(claimed, credential, open_rows, self.stamp_room)) is None:
                with span("prepare", documents=len(open_rows)):
                    plan = await self._preparation.find(work, credential, open_rows)
            await self._pass(work, credential, plan)
            while anew := work.take_anew():
                # They name another certificate, or leave too little room. They are prepared again, once for each reason.
                credential = await self._upstream.credential(caller)
                plan = Plan()
                await self._preparation.prepare(work, credential, [open_rows[ordinal] for ordinal in anew], plan)
                await self._pass(work, credential, plan)
            if work.progress.open:
                tries = [SignatureRow(ordinal, tries=work.tries.get(ordinal, 0)) for ordinal in work.progress.open]
                await self._record(work, [], tries)
            if work.not_durable is not None:
                raise work.not_durable
        finally:
            await self._close(work)
        return work.progress

    async def _close(self, work: Work) -> None:
        """A run does not wait for a thread of its own that is late."""
        if work.late is not None:
            self.late.keep(work.row.id, work.close())
        else:
            await work.close()

    async def make_durable(self, claimed: ClaimedOperation, caller: Caller) -> None:
        """Returns once whoever claims the operation next finds its payload in the store. Raises PayloadUnavailable, NoSpace."""
        row = claimed.row
        work = Work(claimed, caller, self._payloads, self._pool.of(row.client_service), 0)  # nothing is read
        work.begin_durable(self._payloads, self.durable_ahead.take(row.payload_id))
        try:
            await work.make_durable(self._payloads)
        finally:
            await self._close(work)

    # --- 4 sign -------------------------------------------------------------------------------------------------------

    async def _pass(self, work: Work, credential: Credential, plan: Plan) -> None:
        """Does what `plan` says. `work` holds the documents that turned out to need another preparation."""
        work.credentials[credential.fingerprint] = credential
        refusals = {
            item.ordinal: refusal
            for item in (*plan.to_sign, *(item for item, _ in plan.to_complete))
            if (refusal := self._formats.refusal_of_level(item.level)) is not None
        }
        plan.ended += [DocumentOutcome(ordinal, refusal=refusal) for ordinal, refusal in refusals.items()]
        possible = [item for item in plan.to_sign if item.ordinal not in refusals]
        await self._record(work, plan.ended, [])
        await self._complete(work, [one for one in plan.to_complete if one[0].ordinal not in refusals])
        allowed = await self._allowed(work, credential, possible)
        with span("upstream", documents=len(allowed)) if allowed else NOTHING:
            await self._sign_and_record(work, credential, allowed)

    async def _sign_and_record(self, work: Work, credential: Credential, allowed: list[ToSign]) -> None:
        async for signed, outcomes in self._sign(work, credential, allowed):
            kept = [SignatureRow(item.ordinal, evidence, work.tries.get(item.ordinal, 0)) for item, evidence in signed]
            complete = [item for item, _ in signed if item.ends_with_signature]
            outcomes += [DocumentOutcome(item.ordinal, item.additional_bytes, level=item.level) for item in complete]
            await self._record(work, outcomes, kept)
            await self._complete(work, [one for one in signed if not one[0].ends_with_signature])

    async def _allowed(self, work: Work, credential: Credential, items: list[ToSign]) -> list[ToSign]:
        """Those that may be signed: where it must be known that the certificate was not revoked, it is.

        A certificate that was revoked signs nothing, whatever the level.
        """
        checked = [item for item in items if self._check_revocation or item.level > Level.T]
        if not checked or self._materials is None:
            return items
        try:
            await self._materials.check(credential.chain)
        except UpstreamError as problem:
            if isinstance(problem, CertificateRevoked):
                checked = items
            outcomes = [outcome for item in checked for outcome in self._unmet(work, item, problem)]
            await self._record(work, outcomes, [])
            refused = {item.ordinal for item in checked}
            return [item for item in items if item.ordinal not in refused]
        return items

    async def _sign(
        self, work: Work, credential: Credential, items: list[ToSign]
    ) -> AsyncIterator[tuple[list[tuple[ToSign, Evidence]], list[DocumentOutcome]]]:
        """Signed documents, and those that ended without a signature, in parts, as the answers come.

        A document that is left open, or that must be prepared again, is in neither list.
        """
        digests = [item.digest for item in items]
        had = [work.tries.get(item.ordinal, 0) for item in items]
        budget = [max(1, self._tries - tries) for tries in had]
        given = list(budget)
        key, began = str(work.row.payload_id), time.monotonic()
        async for answers in self._upstream.sign(work.caller, credential, digests, request_key=key, budget=budget):
            if self._calls is not None:
                self._calls.note(work.row, time.monotonic() - began, (answer for _, answer in answers))
            signed, outcomes = list[tuple[ToSign, Evidence]](), list[DocumentOutcome]()
            for index, answer in answers:
                item = items[index]
                work.tries[item.ordinal] = had[index] + given[index] - budget[index]
                if not isinstance(answer, UpstreamError):
                    signed.append((item, Evidence(answer)))
                elif isinstance(answer, CertificateRenewed) and work.ask_anew(item.ordinal, Anew.RENEWED):
                    continue
                elif answer.try_again and budget[index] > 0:
                    work.progress.open[item.ordinal] = answer
                else:
                    refusal = Refusal(answer.sign_error, answer.cause)
                    outcomes.append(DocumentOutcome(item.ordinal, refusal=refusal))
            yield signed, outcomes

    # --- what a document needs after its signature ---------------------------------------------------------------------

    async def _complete(self, work: Work, signed: Sequence[tuple[ToSign, Evidence]]) -> None:
        """Gets what signed documents still need, a few documents at a time, since what was prepared of them may be large."""
        with span("time stamps", documents=len(signed)) if signed else NOTHING:
            for first in range(0, len(signed), COMPLETED_AT_ONCE):
                await self._complete_some(work, signed[first : first + COMPLETED_AT_ONCE])

    async def _complete_some(self, work: Work, signed: Sequence[tuple[ToSign, Evidence]]) -> None:
        """In rounds, until each document has what it needs or failed. Each round is kept."""
        items = {item.ordinal: item for item, _ in signed}
        prepared = await work.read(partial(read_prepared, ordinals=list(items), credentials=work.credentials))
        going_on = {item.ordinal: evidence for item, evidence in signed if not self._is_too_short(work, item)}
        wants = {
            ordinal: self._need(*one, evidence)
            for ordinal, evidence in going_on.items()
            if not isinstance(one := prepared[ordinal], PayloadDamaged)
        }
        while going_on:
            needs = {ordinal: need for ordinal, need in wants.items() if isinstance(need, Need)}
            answers: dict[int, bytes | UpstreamError] = {
                ordinal: need for ordinal, need in wants.items() if isinstance(need, UpstreamError)
            }
            answers |= zip(needs, await self._meet(list(needs.values())), strict=True)
            outcomes, kept, next_round = list[DocumentOutcome](), list[SignatureRow](), dict[int, Evidence]()
            for ordinal, evidence in going_on.items():
                one, answer = prepared[ordinal], answers.get(ordinal)
                if isinstance(one, PayloadDamaged):
                    outcomes.append(DocumentOutcome(ordinal, refusal=storage_refusal(one)))
                elif answer is None:
                    outcomes.append(self._signed(*one, evidence))
                elif isinstance(answer, UpstreamError):
                    outcomes += self._unmet(work, items[ordinal], answer)
                elif needs[ordinal].kind is not NeedKind.VALIDATION_MATERIAL and len(answer) > one[0].time_stamp_bytes:
                    outcomes += self._outgrown(work, one[0], len(answer))
                else:
                    more = with_answer(evidence, needs[ordinal].kind, answer)
                    kept.append(SignatureRow(ordinal, more, work.tries.get(ordinal, 0)))
                    # The digest that an archive time stamp is about takes long enough to be made once.
                    wants[ordinal] = self._need(*one, more)
                    if wants[ordinal] is None:
                        outcomes.append(self._signed(*one, more))
                    else:
                        next_round[ordinal] = more
            await self._record(work, outcomes, kept)
            going_on, wants = next_round, {ordinal: wants[ordinal] for ordinal in next_round}

    def _need(self, prepared: Prepared, credential: Credential, evidence: Evidence) -> Need | ItemRejected | None:
        try:
            return self._formats.named(prepared.format).next_need(prepared, evidence, credential)
        except ItemRejected as problem:
            return problem

    def _signed(self, prepared: Prepared, credential: Credential, evidence: Evidence) -> DocumentOutcome:
        added_bytes = self._formats.named(prepared.format).added_bytes(prepared, evidence, credential)
        return DocumentOutcome(prepared.ordinal, added_bytes, level=prepared.level)

    async def _meet(self, needs: Sequence[Need]) -> list[bytes | UpstreamError]:
        """One answer for each need, in order: a token, or material as evidence holds it."""
        answers: dict[int, bytes | UpstreamError] = {}
        stamped = [at for at, need in enumerate(needs) if need.kind is not NeedKind.VALIDATION_MATERIAL]
        if stamped:
            answers |= zip(stamped, await self._upstream.stamp([needs[at].imprint for at in stamped]), strict=True)
            await self.stamp_room.learn()
        # Documents of one credential and one authority share their material.
        shared: dict[Need, bytes | UpstreamError] = {}
        for at, need in enumerate(needs):
            if at not in answers:
                if need not in shared:
                    shared[need] = await self._material(need)
                answers[at] = shared[need]
        return [answers[at] for at in range(len(needs))]

    async def _material(self, need: Need) -> bytes | UpstreamError:
        """The material that is needed. The first of its chains stands in the signature already."""
        if self._materials is None:
            return MaterialImpossible("validation material is not set up here")
        try:
            found = await self._materials.material(need.chains)
        except UpstreamError as problem:
            return problem
        if not found.ocsp_responses and not found.crls:
            return MaterialImpossible("there is no revocation data about any of its certificates")
        # A list that is embedded may be long enough for its compression to be noticed.
        return await asyncio.to_thread(encoded, found, need.chains[0], deflates=need.deflates)

    def _is_too_short(self, work: Work, item: ToSign) -> bool:
        """Whether the document goes the way of others whose time stamp was too long. Then no time stamp is spent on it."""
        return item.time_stamp_bytes < work.longest_stamp_bytes and work.ask_anew(item.ordinal, Anew.OUTGROWN)

    def _outgrown(self, work: Work, prepared: Prepared, token_bytes: int) -> list[DocumentOutcome]:
        """The document is prepared again with more room. It is not if that has just been done."""
        work.longest_stamp_bytes = max(work.longest_stamp_bytes, token_bytes)
        if work.ask_anew(prepared.ordinal, Anew.OUTGROWN):
            return []
        room = f"the room of {prepared.time_stamp_bytes} bytes that was made for it after an earlier one"
        refusal = Refusal(SignError.TIMESTAMP_SIGN_ERROR, f"the time stamp takes {token_bytes} bytes, more than {room}")
        return [DocumentOutcome(prepared.ordinal, refusal=refusal)]

    def _unmet(self, work: Work, item: ToSign, problem: UpstreamError) -> list[DocumentOutcome]:
        """The document is tried again, or ends here."""
        work.tries[item.ordinal] = work.tries.get(item.ordinal, 0) + problem.asked
        if problem.try_again and (not problem.asked or work.tries[item.ordinal] < self._tries):
            work.progress.open[item.ordinal] = problem
            return []
        return [DocumentOutcome(item.ordinal, refusal=Refusal(problem.sign_error, problem.cause))]

    # --- what is kept -------------------------------------------------------------------------------------------------

    async def _record(self, work: Work, outcomes: Sequence[DocumentOutcome], kept: Sequence[SignatureRow]) -> None:
        """Writes how documents ended, and what is known of others. The last outcomes end the operation too. Raises LeaseLost."""
        progress = work.progress
        work.ends(outcomes)
        if work.claimed.documents is not None:
            progress.outcomes |= {outcome.ordinal: outcome for outcome in outcomes}
            progress.evidence |= {one.ordinal: one.evidence for one in kept if one.evidence is not None}
        try:
            if outcomes and work.documents_left == 0:
                with span("end"):
                    await self._end(work, outcomes, kept)
                return tell_outcomes(work.row, outcomes)
            if any(outcome.refusal is None for outcome in outcomes):
                # A power cut must not leave a row that says SIGNED of a document that is lost.
                await work.make_durable(self._payloads)
        except (PayloadUnavailable, NoSpace) as problem:
            # The signatures were paid for, so they are kept. The next run says that their documents are signed.
            work.not_durable = problem
            refused = [outcome for outcome in outcomes if outcome.refusal is not None]
            work.documents_left += len(outcomes) - len(refused)
            outcomes = refused
        if outcomes or kept:
            row, fence = work.row, work.claimed.fence
            work.is_recorded = True
            write = partial(self._store.record_outcomes, row.id, row.created_at, fence, outcomes, kept)
            if not await written(write, kept):
                raise lease_lost(row)
            tell_outcomes(row, outcomes)

    async def _end(self, work: Work, outcomes: Sequence[DocumentOutcome], kept: Sequence[SignatureRow]) -> None:
        """Ends the operation. Its payload is durable before the commit."""
        row, fence = work.row, work.claimed.fence
        ends = partial(self._store.finish, row.id, row.created_at, fence, outcomes, kept, untouched=work.untouched)
        if work.is_durable:
            work.progress.ended = await written(ends, kept)
        elif self._syncing >= SYNCED_BESIDE_THE_DATABASE:
            await work.make_durable(self._payloads)
            work.progress.ended = await written(ends, kept)
        else:
            self._syncing += 1
            syncing = asyncio.ensure_future(work.make_durable(self._payloads))
            try:
                work.progress.ended = await written(partial(ends, commit_after=syncing), kept)
            finally:
                self._syncing -= 1
                await asyncio.wait([syncing])
                retrieve_failure(syncing)
        if work.progress.ended is None:
            # An earlier commit may have ended the operation although its answer was lost with the connection.
            work.progress.ended = await written(partial(self._store.end_under, row.id, fence), kept)
        if work.progress.ended is None:
            raise lease_lost(row)
        if self._known is not None and work.is_signed_as_handed:
            self._known.keep(row.id, work.claimed.documents_digest, work.claimed.fingerprint)
