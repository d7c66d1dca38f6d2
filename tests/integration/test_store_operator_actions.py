"""Retry, cancel and purge: what becomes of an operation in each state, and what the audit trail says of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.operators import AWAY, WHO, chained, ended, operators, registered

from batchseal.audit.chain import Event, Verifier, as_line, of_line
from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import ValueNotAllowed
from batchseal.operation import DocumentStatus, OperationStatus
from batchseal.store import OperationRow, Store
from batchseal.store.backups import HeldOperations
from batchseal.store.evidence_records import EvidenceTable, RecordState
from batchseal.store.operator import Done, OperationFilter, OperatorStore, Who
from batchseal.store.rows import SignatureRow
from batchseal.store.trail import AuditTrail
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]


@dataclass
class House:
    store: Store
    me: UUID
    operators: OperatorStore

    async def now(self, row: OperationRow) -> OperationRow:
        found = await self.store.operation(row.client_service, row.id)
        assert found is not None
        return found

    async def statuses(self, row: OperationRow) -> list[DocumentStatus]:
        return [one.status for one in await self.store.documents(row.id, row.created_at)]

    async def events(self, row: OperationRow) -> list[tuple[str, str, str]]:
        detail = await self.operators.operation(row.id)
        assert detail is not None
        return [(event.name, event.actor, event.origin) for event in detail.events if event.name.isupper()]


@pytest.fixture
async def house(connect_store: Connect, database_url: str) -> AsyncIterator[House]:
    me = uuid4()
    store = await connect_store(me)
    async with operators(database_url) as operator:
        yield House(store, me, operator)


def done(row: OperationRow, result: str, documents: int = 0) -> list[Done]:
    return [Done(row.id, result, documents)]


# --- cancel -----------------------------------------------------------------------------------------------------------


async def test_cancel_of_what_nobody_has_begun(house: House) -> None:
    row = await registered(house.store, house.me)
    assert await house.operators.cancel(WHO, [row.id, row.id]) == done(row, "done", 4)
    now = await house.now(row)
    assert (now.status, now.documents_failed) == (OperationStatus.EXECUTION_FAILED, 4)
    documents = await house.store.documents(row.id, row.created_at)
    assert {one.cause for one in documents} == {"cancelled by an operator"}
    assert await house.store.claim_one(row.id, 30) is None
    # The reference stays taken, and its caller may hand the documents in again.
    assert await house.store.reference_holder("A", row.external_reference) == row.id
    assert await house.store.reference_holder("A", row.external_reference, for_good=True) is None
    assert ("CANCELLED", WHO.name, WHO.origin) in await house.events(row)


async def test_cancel_takes_the_work_from_a_signer(house: House) -> None:
    """What was recorded stays; what the signer writes later changes nothing."""
    row = await registered(house.store, house.me)
    claimed = await house.store.claim_one(row.id, 30)
    assert claimed is not None
    kept = [SignatureRow(0, Evidence(b"signature"), 1)]
    assert await house.store.record_outcomes(row.id, row.created_at, claimed.fence, [DocumentOutcome(0, 9)], kept)
    assert await house.operators.cancel(WHO, [row.id]) == done(row, "done", 3)
    assert not await house.store.renew(row.id, claimed.fence, 30)
    late = [DocumentOutcome(n, 9) for n in (1, 2, 3)]
    assert not await house.store.record_outcomes(row.id, row.created_at, claimed.fence, late[:1])
    assert await house.store.finish(row.id, row.created_at, claimed.fence, late) is None
    assert not await house.store.postpone(row.id, claimed.fence, 1)
    assert await house.statuses(row) == [DocumentStatus.SIGNED] + [DocumentStatus.ERROR_SIGNING] * 3
    now = await house.now(row)
    assert (now.documents_signed, now.documents_failed) == (1, 3)


async def test_cancel_of_what_waits_for_its_next_try(house: House) -> None:
    row = await registered(house.store, house.me, evidence_record=True)
    claimed = await house.store.claim_one(row.id, 30)
    assert claimed is not None
    assert await house.store.postpone(row.id, claimed.fence, 600)
    assert await house.operators.cancel(WHO, [row.id]) == done(row, "done", 4)
    assert (await house.now(row)).status is OperationStatus.EXECUTION_FAILED
    record = await EvidenceTable(house.store.database, house.me).state(row.id, row.created_at, caller="A")
    assert record is not None and record.state is RecordState.TO_MAKE


async def test_cancel_leaves_what_has_ended(house: House) -> None:
    signed, half = await registered(house.store, house.me), await registered(house.store, house.me)
    await ended(house.store, signed)
    claimed = await house.store.claim_one(half.id, 30)
    assert claimed is not None
    outcomes = [DocumentOutcome(n, 9) for n in range(4)]
    assert await house.store.record_outcomes(half.id, half.created_at, claimed.fence, outcomes)
    results = await house.operators.cancel(WHO, [signed.id, half.id, half.id + 99, 0, -1, 1 << 70])
    assert [(one.operation_id, one.result) for one in results] == [
        (signed.id, "finished"),
        (half.id, "ending"),
        (half.id + 99, "unknown"),
    ]
    assert (await house.store.finish(half.id, half.created_at, claimed.fence)) is not None
    assert (await house.now(half)).status is OperationStatus.EXECUTED


async def test_what_was_cancelled_goes_on_when_it_is_handed_in_again(house: House) -> None:
    row = await registered(house.store, house.me)
    await house.operators.cancel(WHO, [row.id])
    again = await house.store.reopen(await house.now(row), [0, 1, 2, 3])
    assert again is not None and again.id == row.id
    await ended(house.store, again)
    assert (await house.now(row)).status is OperationStatus.EXECUTED


# --- retry ------------------------------------------------------------------------------------------------------------


async def test_retry_opens_what_failed_and_only_that(house: House) -> None:
    row = await registered(house.store, house.me)
    await ended(house.store, row, failed=[1, 3])
    assert await house.operators.retry(WHO, [row.id]) == done(row, "done", 2)
    now = await house.now(row)
    assert (now.status, now.documents_signed, now.documents_failed) == (OperationStatus.PENDING_EXECUTION, 2, 0)
    assert await house.statuses(row) == [
        *(DocumentStatus.SIGNED, DocumentStatus.RECEIVED, DocumentStatus.SIGNED, DocumentStatus.RECEIVED)
    ]
    tries = await house.store.evidence(row.id, row.created_at, range(4))
    assert (tries[0].tries, tries[1].tries) == (1, 0)
    await ended(house.store, now, ordinals=[1, 3])
    after = await house.now(row)
    assert (after.status, after.documents_signed) == (OperationStatus.EXECUTED, 4)
    documents = await house.store.documents(row.id, row.created_at)
    assert all(one.sign_error is None and one.cause is None for one in documents)
    names = [name for name, *_ in await house.events(row)]
    assert names[:4] == ["REGISTERED", "FINISHED", "RETRIED", "FINISHED"]


async def test_a_fetched_result_needs_a_confirmation_and_is_fetched_anew(house: House) -> None:
    row = await registered(house.store, house.me)
    await ended(house.store, row, failed=[0])
    await house.store.mark_fetched("A", [row.id])
    assert await house.operators.retry(WHO, [row.id]) == done(row, "fetched")
    assert (await house.now(row)).status is OperationStatus.EXECUTION_FAILED
    assert await house.operators.retry(WHO, [row.id], also_fetched=True) == done(row, "done", 1)
    detail = await house.operators.operation(row.id)
    assert detail is not None and detail.line.fetched_at is None
    assert detail.events[-1].detail == "its result had been fetched"


async def test_documents_at_fault_themselves_are_left_out(house: House) -> None:
    row = await registered(house.store, house.me, refused=[2])
    await ended(house.store, row, failed=[0], ordinals=[0, 1, 3])
    bad = await registered(house.store, house.me, count=1, refused=[0])
    await ended(house.store, bad, ordinals=[])
    results = await house.operators.retry(WHO, [row.id, bad.id])
    assert results == [Done(row.id, "done", 1), Done(bad.id, "nothing to retry", 0)]
    assert (await house.now(bad)).status is OperationStatus.EXECUTION_FAILED
    assert await house.operators.retry(WHO, [bad.id], everything=True) == done(bad, "done", 1)
    # Why it was refused stays in the row: it was never stored, and the signer says it again.
    (document,) = await house.store.documents(bad.id, bad.created_at)
    assert (document.status, document.cause) == (DocumentStatus.RECEIVED, "not a PDF")


async def test_retry_of_one_group_of_failures(house: House) -> None:
    row = await registered(house.store, house.me)
    await ended(house.store, row, failed=[0, 1])
    group = int(AWAY.sign_error), "another cause"
    assert await house.operators.retry(WHO, [row.id], group=group) == done(row, "nothing to retry")
    group = int(AWAY.sign_error), AWAY.cause
    assert await house.operators.retry(WHO, [row.id], group=group) == done(row, "done", 2)


async def test_retry_refuses_what_cannot_be_signed_again(house: House, sees_all_rows: asyncpg.Connection) -> None:
    signed = await registered(house.store, house.me)
    await ended(house.store, signed)
    pending = await registered(house.store, house.me)
    tokens = await registered(house.store, house.me, token_holder=house.me)
    await ended(house.store, tokens, failed=[0])
    purged = await registered(house.store, house.me)
    await ended(house.store, purged, failed=[0])
    assert await house.operators.purge(WHO, [purged.id]) == done(purged, "done", 4)
    results = await house.operators.retry(WHO, [signed.id, pending.id, tokens.id, purged.id])
    assert [one.result for one in results] == ["signed", "unfinished", "callers token", "purged"]


# --- purge, whole filters, the trail ----------------------------------------------------------------------------------


async def test_purge_is_asked_for_and_done_by_the_instance_that_has_the_payload(house: House) -> None:
    row, pending = await registered(house.store, house.me), await registered(house.store, house.me)
    await ended(house.store, row)
    results = await house.operators.purge(WHO, [row.id, pending.id])
    assert [one.result for one in results] == ["done", "unfinished"]
    assert (await house.operators.purge(WHO, [row.id]))[0].result == "purged"
    upkeep = Upkeep(house.store.database, house.me)
    assert await upkeep.purge_asked() == {}, "the audit entry of the end is computed from the payload"
    await chained(AuditTrail(house.store.database, house.me))
    assert list(await upkeep.purge_asked()) == [row.id]
    await upkeep.mark_purged([row.id])
    names = [(name, actor) for name, actor, _ in await house.events(row)]
    assert names[-2:] == [("PURGE_ASKED", WHO.name), ("PURGED", "")]


async def test_a_whole_filter_is_more_than_a_page(house: House) -> None:
    rows = [await registered(house.store, house.me, count=1, client_service="AB"[n % 2]) for n in range(130)]
    for row in rows[:120]:
        await ended(house.store, row, failed=[0])
    wanted = OperationFilter(client_service="A", has_failures=True)
    assert (await house.operators.count(wanted)).operations == 60
    results = [one async for some in house.operators.retry_all(WHO, wanted) for one in some]
    assert len(results) == 60 and {one.result for one in results} == {"done"}
    unfinished = OperationFilter(client_service="A")
    cancelled = [one async for some in house.operators.cancel_all(WHO, unfinished) for one in some]
    assert len(cancelled) == 65 and {one.result for one in cancelled} == {"done"}
    assert {(await house.now(row)).status for row in rows[121::2]} == {OperationStatus.PENDING_EXECUTION}


async def test_the_trail_tells_who_acted_and_from_where(house: House) -> None:
    row = await registered(house.store, house.me)
    await house.operators.cancel(WHO, [row.id])
    await house.operators.note(WHO, "credential one renewed")
    trail = AuditTrail(house.store.database, house.me)
    await chained(trail)
    entries = [entry async for entry in trail.read()]
    acted = {Event(entry.event).name: entry for entry in entries if entry.actor}
    assert {name: (entry.actor, entry.origin) for name, entry in acted.items()} == {
        "CANCELLED": (WHO.name, WHO.origin),
        "ACTED": (WHO.name, WHO.origin),
    }
    assert acted["ACTED"].detail == "credential one renewed"
    verifier = Verifier()
    verifier.take_lines([as_line(entry) for entry in entries], "export")
    assert (verifier.problems, verifier.entries) == ([], len(entries))
    forged = as_line(acted["ACTED"]).replace(b"maria", b"pedro")
    assert of_line(forged).actor == "pedro"
    other = Verifier(acted["ACTED"].position - 1, entries[acted["ACTED"].position - 2].link)
    other.take_lines([forged], "export")
    assert other.problems, "the link is about who acted too"
    state = await house.operators.audit_state()
    assert (state.last_position, state.waiting) == (len(entries), 0)
    page = await house.operators.audit(limit=2)
    assert [line.event for line in page.rows] == [Event(entry.event).name for entry in entries[:-3:-1]]
    assert page.next is not None
    rest = await house.operators.audit(page.next, limit=100)
    assert len(rest.rows) == len(entries) - 2 and rest.next is None


@pytest.mark.parametrize("who", [Who("", "x"), Who("a\0", "x"), Who("a", "\ud800")])
async def test_an_action_needs_a_name(house: House, who: Who) -> None:
    row = await registered(house.store, house.me)
    with pytest.raises(ValueNotAllowed):
        await house.operators.cancel(who, [row.id])
    assert (await house.now(row)).status is OperationStatus.PENDING_EXECUTION


# --- what is held after a restore -------------------------------------------------------------------------------------


async def held(house: House, *, done: int = 0) -> OperationRow:
    """An operation with a lease and `done` signed documents in the backup, which is held by the restore."""
    row = await registered(house.store, house.me)
    claimed = await house.store.claim_one(row.id, 30)
    assert claimed is not None
    outcomes = [DocumentOutcome(n, 9) for n in range(done)]
    kept = [SignatureRow(n, Evidence(b"signature"), 1) for n in range(done)]
    if outcomes:
        assert await house.store.record_outcomes(row.id, row.created_at, claimed.fence, outcomes, kept)
    assert await HeldOperations(house.store).hold() >= 1
    assert await house.store.claim_one(row.id, 30) is None
    return row


async def test_what_is_held_is_found_and_signed_once_somebody_resumes_it(house: House) -> None:
    other = await registered(house.store, house.me)
    await ended(house.store, other)
    row = await held(house, done=1)
    (line,) = (await house.operators.operations(OperationFilter(is_held=True))).rows
    assert (line.id, line.is_held) == (row.id, True)
    overview = await house.operators.overview()
    assert (overview.held_operations, overview.held_documents, overview.queue_operations) == (1, 3, 0)
    assert [alarm.kind for alarm in await house.operators.alarms()] == ["held"]
    results = await house.operators.resume(WHO, [row.id, other.id, row.id + 99])
    assert [(one.result, one.documents) for one in results] == [("finished", 0), ("done", 3), ("unknown", 0)]
    assert (await house.now(row)).reopened_at is not None, "the patience with it begins anew, however long it was held"
    assert await house.operators.resume(WHO, [row.id]) == done(row, "not held")
    assert ("RESUMED", WHO.name, WHO.origin) in await house.events(row)
    assert (await house.operators.operations(OperationFilter(is_held=True))).rows == ()
    await ended(house.store, row, ordinals=(1, 2, 3))
    assert (await house.now(row)).status is OperationStatus.EXECUTED


async def test_what_was_held_and_cancelled_is_signed_when_it_is_retried(house: House) -> None:
    """It is not held a second time: nobody would find it in the queue then."""
    row = await held(house, done=2)
    assert [part async for part in house.operators.cancel_all(WHO, OperationFilter(is_held=True))] == [
        done(row, "done", 2)
    ]
    assert (await house.now(row)).status is OperationStatus.EXECUTION_FAILED
    assert ("CANCELLED", WHO.name, WHO.origin) in await house.events(row)
    assert await house.operators.retry(WHO, [row.id], everything=True) == done(row, "done", 2)
    await ended(house.store, row, ordinals=(2, 3))
    assert (await house.now(row)).status is OperationStatus.EXECUTED


async def test_what_is_held_with_all_its_documents_ended_ends_by_a_cancel(house: House) -> None:
    row = await held(house, done=4)
    assert await house.operators.cancel(WHO, [row.id]) == done(row, "done")
    assert (await house.now(row)).status is OperationStatus.EXECUTED


async def test_everything_that_is_held_is_resumed_at_once(house: House) -> None:
    rows = [await held(house) for _ in range(3)]
    resumed = [one async for part in house.operators.resume_all(WHO, OperationFilter()) for one in part]
    assert {(one.operation_id, one.result) for one in resumed} == {(row.id, "done") for row in rows}
    for row in rows:
        assert await house.store.claim_one(row.id, 30) is not None
