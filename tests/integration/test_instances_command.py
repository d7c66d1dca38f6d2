"""`batchseal instances`: what a lost instance has left ends, so that nobody asks for it for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.audit.chain import Event, Verifier, make_link
from batchseal.commands import instances
from batchseal.document import DocumentOutcome, Evidence
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.evidence_records import EvidenceTable, RecordState
from batchseal.store.forgetting import Forgetting
from batchseal.store.instances import InstanceTable
from batchseal.store.rows import SignatureRow
from batchseal.store.trail import AuditTrail
from batchseal.store.turns import Turns

Connect = Callable[..., Awaitable[Store]]
SHARED = "shared:/volume"


async def register(
    store: Store, instance: UUID, payload_store: str | None = None, *, evidence_record: bool = False
) -> OperationRow:
    new = NewOperation(
        *(uuid4(), "A", str(uuid4()), "", Mode.ASYNC, instance, "h", 1),
        payload_store=payload_store,
        evidence_record=evidence_record,
    )
    return await store.register(new, [NewDocument(n, f"d{n}", "d.pdf", ContentType.PDF, 9) for n in range(2)])


async def sign(store: Store, row: OperationRow, ordinals: list[int], *, last: bool) -> None:
    outcomes = [DocumentOutcome(ordinal, 9) for ordinal in ordinals]
    kept = [SignatureRow(ordinal, Evidence(b"signature"), 1) for ordinal in ordinals]
    if last:
        await store.finish(row.id, row.created_at, 1, outcomes, kept)
    else:
        await store.record_outcomes(row.id, row.created_at, 1, outcomes, kept)


async def test_what_a_lost_instance_has_left_ends(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    lost, other = uuid4(), uuid4()
    store, survivor = await connect_store(lost), await connect_store(other)
    await InstanceTable(store.database, lost).arrive("h:1", "1", "local")
    await InstanceTable(survivor.database, other).arrive("h:2", "1", "local")
    half, ended = await register(store, lost), await register(store, lost, evidence_record=True)
    waiting, movable = await register(store, lost), await register(store, lost, SHARED)
    theirs = await register(survivor, other)
    await sign(store, half, [0], last=False)
    await sign(store, ended, [0, 1], last=True)
    assert await store.postpone(waiting.id, 1, 60)
    assert (await Turns(store.database, lost).take_lane("c", want=False)).mine

    done = await Forgetting(survivor.database, lost, make_link, Event.RECORD_GIVEN_UP).forget()
    assert (done.ended, done.lost_results) == (2, 3)
    for row, signed in ((half, 1), (waiting, 0)):
        now = await survivor.operation("A", row.id)
        assert now is not None
        assert (now.status, now.documents_signed, now.payload_purged) == (
            OperationStatus.EXECUTION_FAILED,
            signed,
            True,
        )
        documents = await survivor.documents(row.id, row.created_at)
        failed = [one for one in documents if one.status is DocumentStatus.ERROR_SIGNING]
        assert len(failed) == 2 - signed
        assert all(one.cause and "hand the document in again" in one.cause for one in failed)
    record = await EvidenceTable(survivor.database, other).state(ended.id, ended.created_at, caller="A")
    assert record is not None
    assert record.state is RecordState.GIVEN_UP
    # What others can read, or have themselves, goes on.
    for row in (movable, theirs):
        now = await survivor.operation("A", row.id)
        assert now is not None
        assert (now.status, now.payload_purged) == (OperationStatus.PENDING_EXECUTION, False)
    assert await sees_all_rows.fetchval("SELECT lease_holder FROM operations WHERE id = $1", movable.id) is None
    assert (await Turns(survivor.database, other).take_lane("c", want=False)).mine
    # The trail is whole, and waits for nothing of the lost one but what others have to chain.
    left = await sees_all_rows.fetch("SELECT DISTINCT operation_id FROM audit_pending")
    assert {record["operation_id"] for record in left} == {movable.id, theirs.id}
    verifier = Verifier()
    await verifier.take_all(AuditTrail(survivor.database, other).read())
    assert (verifier.problems, verifier.entries > 0) == ([], True)
    # A second time there is nothing to do.
    assert (await Forgetting(survivor.database, lost, make_link, Event.RECORD_GIVEN_UP).forget()).ended == 0
    assert [one.id for one in await InstanceTable(survivor.database, other).all()] == [other]


async def test_an_evidence_record_that_others_can_make_is_not_given_up(connect_store: Connect) -> None:
    lost, other = uuid4(), uuid4()
    store, survivor = await connect_store(lost), await connect_store(other)
    movable = await register(store, lost, SHARED, evidence_record=True)
    await sign(store, movable, [0, 1], last=True)
    assert await EvidenceTable(store.database, lost).claim(5, 60.0) == []
    await Forgetting(survivor.database, lost, make_link, Event.RECORD_GIVEN_UP).forget()
    (record,) = await EvidenceTable(survivor.database, other, SHARED).claim(5, 60.0)
    assert record.operation.id == movable.id


async def test_what_is_held_after_a_restore_ends_too(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    """Whatever an operator decides, nobody can sign it."""
    lost = uuid4()
    store, survivor = await connect_store(lost), await connect_store()
    held = await register(store, lost)
    await sees_all_rows.execute("UPDATE operations SET held_at = now() WHERE id = $1", held.id)
    done = await Forgetting(survivor.database, lost, make_link, Event.RECORD_GIVEN_UP).forget()
    assert (done.ended, done.lost_results) == (1, 1)
    now = await survivor.operation("A", held.id)
    assert now is not None and now.status is OperationStatus.EXECUTION_FAILED


def test_one_that_was_seen_a_moment_ago_is_forgotten_by_force_alone(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = uuid4()

    async def arrive() -> None:
        store = await Store.connect(database_url, instance=lost)
        await InstanceTable(store.database, lost).arrive("h:1", "1", "local")
        await register(store, lost)
        await store.close()

    asyncio.run(arrive())
    flag = f"--database-url={database_url}"
    assert instances.run(["forget", str(lost), flag]) == 1
    assert "stop it first" in capsys.readouterr().err
    assert instances.run(["forget", str(uuid4()), flag]) == 1
    assert instances.run(["list", flag]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "ID" and head.endswith("WAITING  ITS OWN")
    assert line.split()[0] == str(lost) and line.split()[-2:] == ["1", "1"]
    assert instances.run(["forget", str(lost), "--force", flag]) == 0
    assert "1 operations ended" in capsys.readouterr().out
    assert instances.run(["list", flag]) == 0
    assert capsys.readouterr().out == "No instance has used this database.\n"
    with pytest.raises(SystemExit):
        instances.run(["forget", "nobody", flag])
