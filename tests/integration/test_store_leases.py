"""Leases and fences: one worker at a time, a stale one writes nothing, an instance takes back what was its own."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.document import DocumentOutcome, Refusal
from batchseal.errors import NoSpace
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.queries import QUERIES

Connect = Callable[..., Awaitable[Store]]
REFUSED = Refusal(SignError.CERT_SERVICE_GLOBAL_ERROR, "refused\0 upstream \ud800" + "x" * 10_000)


async def register(store: Store, instance: UUID, count: int = 4) -> OperationRow:
    documents = [NewDocument(i, f"d{i}", f"{i}.pdf", ContentType.PDF, 9) for i in range(count)]
    return await store.register(NewOperation(uuid4(), "A", str(uuid4()), "", Mode.ASYNC, instance, "h", 1), documents)


async def statuses(store: Store, row: OperationRow) -> list[DocumentStatus]:
    return [document.status for document in await store.documents(row.id, row.created_at)]


async def test_the_way_of_an_operation(connect_store: Connect) -> None:
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    claimed = await store.claim_one(row.id, 30)
    assert claimed is not None
    assert (claimed.row.id, claimed.fence, claimed.tries) == (row.id, 2, 0)
    assert await store.claim_one(row.id, 30) is None
    assert await store.renew(row.id, 2, 60)
    outcomes = [DocumentOutcome(1, 9_000), DocumentOutcome(0, 8_000), DocumentOutcome(3, refusal=REFUSED)]
    assert await store.record_outcomes(row.id, row.created_at, 2, outcomes)
    assert not await store.is_finished(row.id)
    assert (await store.finish(row.id, row.created_at, 2, [DocumentOutcome(2, 7_000)])).failed == 1  # type: ignore[union-attr]
    assert await store.is_finished(row.id)
    ended = await store.operation("A", row.id)
    assert ended is not None
    assert (ended.status, ended.documents_signed, ended.documents_failed) == (OperationStatus.EXECUTION_FAILED, 3, 1)
    assert ended.finished_at is not None
    assert ended.finished_at >= ended.created_at
    documents = await store.documents(row.id, row.created_at)
    assert [document.additional_bytes for document in documents] == [8_000, 9_000, 7_000, 0]
    assert documents[3].sign_error is SignError.CERT_SERVICE_GLOBAL_ERROR
    assert documents[3].cause is not None
    assert documents[3].cause.startswith("refused upstream")
    assert len(documents[3].cause) == 500
    assert not await store.renew(row.id, 2, 60)
    assert await store.claim(10, 30) == []


async def test_a_stale_fence_changes_nothing(connect_store: Connect) -> None:
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    assert await store.claim_one(row.id, 0) is not None  # runs out at once
    taken = await store.claim_one(row.id, 30)
    assert taken is not None
    assert taken.fence == 3
    assert not await store.record_outcomes(row.id, row.created_at, 2, [DocumentOutcome(0, 5)])
    assert not await store.renew(row.id, 2, 30)
    assert not await store.postpone(row.id, 2, 0)
    assert await store.finish(row.id, row.created_at, 2, [DocumentOutcome(i, 5) for i in range(4)]) is None
    assert await statuses(store, row) == [DocumentStatus.RECEIVED] * 4
    now = await store.operation("A", row.id)
    assert now is not None
    assert (now.status, now.documents_signed) == (OperationStatus.PENDING_EXECUTION, 0)


async def test_who_ended_an_operation_can_hear_so_again(connect_store: Connect) -> None:
    """The answer to a commit may be lost with its connection."""
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me, 2)
    assert (await store.claim_one(row.id, 30)) is not None
    assert await store.end_under(row.id, 2) is None  # it has not ended yet
    outcomes = [DocumentOutcome(0, 8_000), DocumentOutcome(1, refusal=REFUSED)]
    ended = await store.finish(row.id, row.created_at, 2, outcomes)
    assert ended is not None
    assert await store.finish(row.id, row.created_at, 2, outcomes) is None
    assert await store.end_under(row.id, 2) == ended
    assert await store.end_under(row.id, 1) is None  # the holder before


async def test_a_document_ends_once(connect_store: Connect) -> None:
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    assert await store.claim_one(row.id, 30) is not None
    for outcome in (DocumentOutcome(0, 5), DocumentOutcome(0, refusal=REFUSED), DocumentOutcome(0, 6)):
        assert await store.record_outcomes(row.id, row.created_at, 2, [outcome])
    (first, *_) = await store.documents(row.id, row.created_at)
    assert (first.status, first.additional_bytes) == (DocumentStatus.SIGNED, 5)
    now = await store.operation("A", row.id)
    assert now is not None
    assert (now.documents_signed, now.documents_failed) == (1, 0)


async def test_finished_needs_every_document_ended(connect_store: Connect) -> None:
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    assert await store.claim_one(row.id, 30) is not None
    with pytest.raises(asyncpg.CheckViolationError):
        await store.finish(row.id, row.created_at, 2, [DocumentOutcome(i, 1) for i in range(3)])
    assert await statuses(store, row) == [DocumentStatus.RECEIVED] * 4  # all of it or nothing
    await store.record_outcomes(row.id, row.created_at, 2, [DocumentOutcome(i, 1) for i in range(3)])
    with pytest.raises(asyncpg.CheckViolationError):
        await store.finish(row.id, row.created_at, 2)
    await store.record_outcomes(row.id, row.created_at, 2, [DocumentOutcome(3, 1)])
    assert (await store.finish(row.id, row.created_at, 2)).failed == 0  # type: ignore[union-attr]
    ended = await store.operation("A", row.id)
    assert ended is not None
    assert ended.status is OperationStatus.EXECUTED
    assert await store.finish(row.id, row.created_at, 2) is None


async def test_the_commit_of_the_end_waits_for_the_disk_and_fails_with_it(
    connect_store: Connect, database_url: str
) -> None:
    me, loop = uuid4(), asyncio.get_running_loop()
    store = await connect_store(me)
    row = await register(store, me, 1)
    assert await store.claim_one(row.id, 30) is not None
    failed, synced = loop.create_future(), loop.create_future()
    failed.set_exception(NoSpace("the disk is full"))
    with pytest.raises(NoSpace):
        await store.finish(row.id, row.created_at, 2, [DocumentOutcome(0, 1)], commit_after=failed)
    assert await statuses(store, row) == [DocumentStatus.RECEIVED]
    ending = asyncio.create_task(store.finish(row.id, row.created_at, 2, [DocumentOutcome(0, 1)], commit_after=synced))
    connection = await asyncpg.connect(database_url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query ILIKE '%documents%'"
    async with asyncio.timeout(120):
        while not await connection.fetchval(waiting):  # noqa: ASYNC110 (the database is asked, it does not tell)
            await asyncio.sleep(0.01)
    await connection.close()
    assert not await store.is_finished(row.id)
    synced.set_result(None)
    assert (await ending).failed == 0  # type: ignore[union-attr]
    assert await store.is_finished(row.id)


async def test_a_failed_try_waits_and_counts(connect_store: Connect) -> None:
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    for tries in range(3):
        claimed = await store.claim_one(row.id, 30)  # at once, due or not
        assert claimed is not None
        assert claimed.tries == tries
        assert await store.postpone(row.id, claimed.fence, 60)
        assert await store.claim(10, 30) == []
        # Given up: the same fence writes no more, though nobody else has claimed.
        assert not await store.record_outcomes(row.id, row.created_at, claimed.fence, [DocumentOutcome(0, 1)])
    claimed = await store.claim_one(row.id, 30)
    assert claimed is not None
    assert await store.postpone(row.id, claimed.fence, 0)
    (due,) = await store.claim(10, 30)
    assert (due.row.status, due.tries) == (OperationStatus.EXECUTION_ERROR, 4)


async def test_claim_leaves_a_new_operation_to_its_worker_for_a_moment(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """The moment lasts for 1 s. One of ten tries takes less, although the machine is busy."""
    me = uuid4()
    store = await connect_store(me)
    for _ in range(10):
        await sees_all_rows.execute("UPDATE operations SET fence = 2, lease_until = now() + interval '1 day'")
        first, second = await register(store, me), await register(store, me)
        began = time.monotonic()
        await sees_all_rows.execute(
            "UPDATE operations SET created_at = now() WHERE id = ANY ($1)", [first.id, second.id]
        )
        claimed = await store.claim(10, 3600)
        woken = await store.claim(10, 3600, woken=[second.id, 999_999])
        if time.monotonic() - began < 1:
            break
    assert claimed == []
    assert [one.row.id for one in woken] == [second.id]
    await sees_all_rows.execute(
        "UPDATE operations SET created_at = now() - interval '1.1 seconds' WHERE id = $1", first.id
    )
    (late,) = await store.claim(10, 3600)
    assert late.row.id == first.id


async def test_a_lease_that_ran_out_at_work_is_not_claimed_from_it(connect_store: Connect) -> None:
    """As after an outage of the database: the work goes on under its fence, and renews it."""
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    held = await store.claim_one(row.id, 0)  # runs out at once
    assert held is not None
    assert await store.claim(10, 30, at_work=[row.id]) == []
    assert await store.renew(row.id, held.fence, 30)
    assert await store.claim(10, 30) == []


async def test_another_instance_gets_nothing(connect_store: Connect) -> None:
    me = uuid4()
    store, stranger = await connect_store(me), await connect_store()
    row = await register(store, me)
    assert await stranger.claim_one(row.id, 30) is None
    assert await stranger.claim(10, 30, woken=[row.id]) == []
    assert await stranger.take_back_own_leases() == 0
    assert await store.claim_one(row.id, 30) is not None


async def test_a_restart_takes_its_own_leases_back_at_once(connect_store: Connect) -> None:
    me = uuid4()
    before, after, stranger = await connect_store(me), await connect_store(me), await connect_store()
    held, fresh, done = [await register(before, me) for _ in range(3)]
    assert await before.claim_one(held.id, 3600) is not None
    assert await before.claim_one(done.id, 3600) is not None
    await before.record_outcomes(done.id, done.created_at, 2, [DocumentOutcome(i, 1) for i in range(4)])
    assert (await before.finish(done.id, done.created_at, 2)).failed == 0  # type: ignore[union-attr]
    assert await stranger.take_back_own_leases() == 0
    assert await after.take_back_own_leases() == 2
    # The process before this one may still run: its fence is stale before anybody has claimed.
    assert not await before.record_outcomes(held.id, held.created_at, 2, [DocumentOutcome(0, 1)])
    claimed = await after.claim(10, 30)
    assert [operation.row.id for operation in claimed] == sorted([held.id, fresh.id])


async def test_claims_side_by_side_never_share(connect_store: Connect) -> None:
    me = uuid4()
    stores = [await connect_store(me) for _ in range(3)]
    rows = [await register(stores[0], me, 1) for _ in range(60)]
    await stores[0].take_back_own_leases()
    batches = await asyncio.gather(*(stores[i % 3].claim(7, 30) for i in range(12)))
    ids = [operation.row.id for batch in batches for operation in batch]
    assert len(ids) == len(set(ids))
    ids += [operation.row.id for operation in await stores[0].claim(100, 30)]
    assert sorted(ids) == [row.id for row in rows]


async def test_a_claim_during_a_write_waits_for_it(connect_store: Connect, database_url: str) -> None:
    """The row lock of record_outcomes is what makes a fence hold: no claim gets in between check and commit."""
    me = uuid4()
    store = await connect_store(me)
    row = await register(store, me)
    assert await store.claim_one(row.id, 0) is not None
    connection = await asyncpg.connect(database_url, server_settings={"batchseal.scope": "*"})
    async with connection.transaction():
        await connection.execute("SELECT id FROM operations WHERE id = $1 FOR UPDATE", row.id)
        assert await store.claim(10, 30) == []  # skipped, not waited for
        write = asyncio.create_task(store.record_outcomes(row.id, row.created_at, 2, [DocumentOutcome(0, 1)]))
        await asyncio.sleep(0.1)
        await connection.execute("UPDATE operations SET fence = 3 WHERE id = $1", row.id)
    assert not await write
    assert await statuses(store, row) == [DocumentStatus.RECEIVED] * 4
    await connection.close()


@pytest.mark.parametrize("mode", ["auto", "force_generic_plan"])
async def test_the_outcomes_of_many_documents_find_their_rows_without_statistics(
    connect_store: Connect, sees_all_rows: asyncpg.Connection, mode: str
) -> None:
    """A new partition has no statistics, and a connection that has used a statement often plans it without its arguments.

    The embedded database is forced to plan so. Comparing every row with every outcome would take seconds for a large operation.
    """
    me, count = uuid4(), 2_000
    store = await connect_store(me)
    row = await register(store, me, count)
    around = "SELECT make_partition((now() + n * interval '1 month')::date) FROM generate_series(-2, 2) n"
    await sees_all_rows.execute(around)
    claimed = await store.claim_one(row.id, 30)
    assert claimed is not None
    day, ordinals = row.created_at.date(), ",".join(map(str, range(count)))
    places = ",".join(map(str, range(1, count + 1)))

    def each(value: object) -> str:
        return "'{" + ",".join([str(value)] * count) + "}'"

    columns = f"'{{{ordinals}}}', {each(2)}, {each(0)}, {each('x')}, {each(9_000)}"
    month, rest = day.replace(day=1), f"'{day}', '{{}}', '{{}}', '{{}}', '{{}}', false"
    nothing = f"{row.id}, '{month}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', {claimed.fence}, false, {rest}, '{{}}', '{{}}', 0"
    asked = f"{row.id}, '{month}', {columns}, {claimed.fence}, true, {rest}, {each(1)}, '{{{places}}}', -1"
    async with store.database.connection() as connection:
        await connection.execute(f"SET plan_cache_mode = {mode}")
        await connection.execute(f"PREPARE outcomes AS {QUERIES['record_outcomes']}")
        for _ in range(10):
            await connection.execute(f"EXECUTE outcomes({nothing})")
        plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE outcomes({asked})"))
        await connection.execute("RESET plan_cache_mode")
    assert await store.is_finished(row.id)
    compared = re.findall(r'"Rows Removed by (?:Join )?Filter": (\d+)', json.dumps(plan))
    assert sum(map(int, compared)) < count, json.dumps(plan)
    assert (
        await sees_all_rows.fetchval("SELECT count(*) FROM documents WHERE status = 2 AND additional_bytes = 9000")
        == count
    )
