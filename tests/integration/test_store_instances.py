"""Several instances on one database: who may take over what, and when. Time passes by setting rows back, never by waiting."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.integration.test_store_signatures import NOTE_COMMITS

from batchseal.app.signer import require_store
from batchseal.errors import ConfigurationError
from batchseal.operation import ContentType, Mode, OperationStatus
from batchseal.settings.load import Settings
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.instances import LEASE_SECONDS, InstanceTable, LeftBehind
from batchseal.store.turns import Turns
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]
SHARED = "shared:/volume"
# A lease that does not run out while a test waits for the disk.
FOR_LONG_SECONDS = 3600.0


@pytest.fixture
def connect(database_url: str) -> Connect:
    async def connect(instance: UUID, shared: str | None = SHARED) -> Store:
        store = await Store.connect(database_url, instance=instance, shared=shared)
        await InstanceTable(store.database, instance).arrive("h:1", "1", shared or "local")
        return store

    return connect


async def register(store: Store, instance: UUID, **values: object) -> OperationRow:
    new = NewOperation(uuid4(), "A", str(uuid4()), "", Mode.ASYNC, instance, "h", 1, payload_store=store.shared)
    for name, value in values.items():
        object.__setattr__(new, name, value)
    return await store.register(new, [NewDocument(0, "d", "d.pdf", ContentType.PDF, 9)])


async def run_out(rows: asyncpg.Connection, instance: UUID | None = None) -> None:
    """All leases of operations have run out; `instance` was last seen longer ago than a lease lasts."""
    await rows.execute("UPDATE operations SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL")
    if instance:
        await rows.execute("UPDATE instances SET seen_at = now() - interval '1 min' WHERE instance = $1", instance)


async def in_contact(rows: asyncpg.Connection, instance: UUID, seconds: float = LEASE_SECONDS + 1) -> None:
    """`instance` has been in contact with the database for so long."""
    await rows.execute(
        "UPDATE instances SET in_contact_since = now() - $2 * interval '1 s', seen_at = now() WHERE instance = $1",
        instance,
        seconds,
    )


async def test_whoever_reads_the_payload_takes_over_what_ran_out(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    one, other = uuid4(), uuid4()
    store, second = await connect(one), await connect(other)
    row = await register(store, one)
    held = await store.claim_one(row.id, FOR_LONG_SECONDS)
    assert held is not None
    await in_contact(sees_all_rows, other)
    assert await second.claim(10, LEASE_SECONDS) == []
    await run_out(sees_all_rows)
    (taken,) = await second.claim(10, LEASE_SECONDS)
    assert (taken.row.id, taken.fence) == (row.id, held.fence + 1)
    # The late one changes nothing.
    assert not await store.renew(row.id, held.fence, LEASE_SECONDS)
    assert not await store.postpone(row.id, held.fence, 1)
    assert not await store.give_back(row.id, held.fence)
    assert await second.renew(row.id, taken.fence, LEASE_SECONDS)
    for each in (store, second):
        await each.close()


async def test_what_no_other_instance_can_sign_is_not_left_to_one(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """Its caller's token is here alone, or its payload lies in this instance's folder: else nobody would ever claim it."""
    one = uuid4()
    store = await connect(one)
    left = await register(store, one)
    with_a_token = await register(store, one, token_holder=one)
    in_the_folder = await register(store, one, payload_store=None)
    await run_out(sees_all_rows)
    claimed = await store.claim(10, LEASE_SECONDS, left_to_others=["A"])
    assert [operation.row.id for operation in claimed] == [with_a_token.id, in_the_folder.id]
    assert [operation.row.id for operation in await store.claim(10, LEASE_SECONDS)] == [left.id]
    await store.close()


async def test_what_lies_in_a_store_of_before_is_neither_signed_nor_purged(
    database_url: str, connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """The instance was given another payload store, where it would not find the payload, and would call it damaged."""
    one = uuid4()
    store = await connect(one)
    moved, fetched = await register(store, one), await register(store, one)
    await sees_all_rows.execute(
        "UPDATE operations SET status = 2, documents_signed = documents_total, finished_at = now(), fetched_at = now(),"
        " lease_holder = NULL, lease_until = NULL WHERE id = $1",
        fetched.id,
    )
    await sees_all_rows.execute("DELETE FROM audit_pending")
    await run_out(sees_all_rows)
    for shared in (None, "s3"):
        now = await Store.connect(database_url, instance=one, shared=shared)
        assert await now.claim(10, LEASE_SECONDS) == []
        assert await now.claim_one(moved.id, LEASE_SECONDS) is None
        assert await Upkeep(now.database, one, shared).purgeable_for_room("A") == {}
        table = InstanceTable(now.database, one)
        await table.arrive("h:1", "1", shared or f"local:{one}")
        assert await table.left_behind(shared) == [LeftBehind(SHARED, 2, 1)]
        with pytest.raises(ConfigurationError, match="2 operations \\(1 unfinished\\) in "):
            await require_store(Settings(instance=str(one)), now)
        await require_store(Settings(instance=str(one), payload_store_changed=True), now)
        await now.close()
    # Another instance that has the store still looks after them, and so does this one once it has it again.
    assert await InstanceTable(store.database, one).left_behind(SHARED) == []
    other = uuid4()
    await InstanceTable(store.database, other).arrive("h:2", "1", SHARED)
    await InstanceTable(store.database, other).depart()
    assert await InstanceTable(store.database, one).left_behind(None) != []
    await InstanceTable(store.database, other).arrive("h:2", "1", SHARED)
    assert await InstanceTable(store.database, one).left_behind(None) == []
    assert [claimed.row.id for claimed in await store.claim(10, LEASE_SECONDS)] == [moved.id]
    assert (await Upkeep(store.database, one, SHARED).purgeable_for_room("A")).keys() == {fetched.id}
    await store.close()


async def test_a_lease_that_others_could_take_waits_for_the_disk(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """Else a power cut of the database takes it, and the next claim gives the same fence to somebody else."""
    one = uuid4()
    store = await connect(one)
    first, second = await register(store, one), await register(store, one)
    await run_out(sees_all_rows)
    await sees_all_rows.execute(NOTE_COMMITS)
    assert await store.claim_one(first.id, LEASE_SECONDS) is not None
    assert [claimed.row.id for claimed in await store.claim(10, LEASE_SECONDS)] == [second.id]
    noted = await sees_all_rows.fetch("SELECT setting FROM commits")
    assert [record["setting"] for record in noted] == ["on", "on"]
    await store.close()


async def test_time_in_which_the_database_was_away_does_not_count(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """A claimer that had a gap itself waits for a whole lease, in which every holder can renew. So does one that is new."""
    one, other = uuid4(), uuid4()
    store, second = await connect(one), await connect(other)
    row = await register(store, one)
    assert await store.claim_one(row.id, LEASE_SECONDS) is not None
    await run_out(sees_all_rows)
    await in_contact(sees_all_rows, other, 0)
    assert await second.claim(10, LEASE_SECONDS) == []  # it has only just come
    await in_contact(sees_all_rows, other)
    table = InstanceTable(second.database, other)
    await sees_all_rows.execute("UPDATE instances SET seen_at = seen_at - interval '10 s' WHERE instance = $1", other)
    # It may claim before it has noted itself again, and after that.
    assert await second.claim(10, LEASE_SECONDS) == []
    assert await table.heartbeat() == 1
    assert await second.claim(10, LEASE_SECONDS) == []
    assert await second.claim_one(row.id, LEASE_SECONDS) is None
    # The holder renews what has run out, since nobody has taken it.
    assert await store.renew(row.id, 2, FOR_LONG_SECONDS)
    await in_contact(sees_all_rows, other)
    assert await second.claim(10, LEASE_SECONDS) == []
    await run_out(sees_all_rows)
    assert len(await second.claim(10, LEASE_SECONDS)) == 1
    for each in (store, second):
        await each.close()


@pytest.mark.parametrize("step", ["10 s", "-10 s"], ids=["behind", "ahead"])
async def test_a_clock_that_jumped_is_a_gap(connect: Connect, sees_all_rows: asyncpg.Connection, step: str) -> None:
    """After a failover the new server may have another time: leases look as if they had run out."""
    one = uuid4()
    store = await connect(one)
    await in_contact(sees_all_rows, one)
    await sees_all_rows.execute("UPDATE instances SET seen_at = seen_at - $1::text::interval", step)
    await InstanceTable(store.database, one).heartbeat()
    assert not await sees_all_rows.fetchval("SELECT may_take_over($1, 12, 6)", one)
    await store.close()


async def test_what_lies_in_a_folder_is_claimed_by_its_instance_alone(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    one, other = uuid4(), uuid4()
    local, second = await connect(one, None), await connect(other)
    row = await register(local, one)
    assert row.payload_store is None
    await run_out(sees_all_rows, one)
    await in_contact(sees_all_rows, other)
    assert await second.claim(10, LEASE_SECONDS) == []
    assert await second.claim_one(row.id, LEASE_SECONDS) is None
    # An instance that keeps its payloads elsewhere since a restart still has what is in its folder.
    moved = await connect(one)
    assert [claimed.row.id for claimed in await moved.claim(10, LEASE_SECONDS)] == [row.id]
    for each in (local, second, moved):
        await each.close()


async def test_a_lease_that_was_given_back_is_free_at_once(connect: Connect) -> None:
    one, other = uuid4(), uuid4()
    store, second = await connect(one), await connect(other)
    row = await register(store, one)
    assert await second.claim(10, LEASE_SECONDS) == []
    assert await store.give_back(row.id, 1)
    (claimed,) = await second.claim(10, LEASE_SECONDS)
    assert (claimed.row.id, claimed.row.status) == (row.id, OperationStatus.PENDING_EXECUTION)
    # So are all leases of an instance that stops.
    assert await second.take_back_own_leases() == 1
    assert len(await store.claim(10, LEASE_SECONDS)) == 1
    for each in (store, second):
        await each.close()


async def test_the_operation_of_a_callers_own_token_stays_where_the_token_is(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    one, other = uuid4(), uuid4()
    store, second = await connect(one), await connect(other)
    row = await register(store, one, token_holder=one)
    held = await store.claim_one(row.id, LEASE_SECONDS)
    assert held is not None
    await in_contact(sees_all_rows, other)
    assert await store.give_back(row.id, held.fence)
    assert await second.claim(10, LEASE_SECONDS) == []
    assert await second.claim_one(row.id, LEASE_SECONDS) is None
    await run_out(sees_all_rows, one)
    (claimed,) = await second.claim(10, LEASE_SECONDS)
    assert claimed.row.token_holder == one
    for each in (store, second):
        await each.close()


async def test_one_instance_at_a_time_has_a_lane(connect: Connect, sees_all_rows: asyncpg.Connection) -> None:
    one, other = uuid4(), uuid4()
    stores = await connect(one), await connect(other)
    first, second = (Turns(store.database, instance) for store, instance in zip(stores, (one, other), strict=True))
    mine = await first.take_lane("c", want=False)
    assert (mine.mine, mine.fence, mine.store) == (True, 1, SHARED)
    assert (await first.take_lane("c", want=False)).fence == 1
    theirs = await second.take_lane("c", want=False)
    assert (theirs.mine, theirs.store) == (False, SHARED)
    assert [row.wanted for row in await first.lanes(60)] == [False]
    await second.take_lane("c", want=True)
    assert [row.wanted for row in await first.lanes(60)] == [True]
    assert await first.renew_lanes({"c": 1}) == {"c"}
    await first.give_up_lanes(["c"])
    assert await first.renew_lanes({"c": 1}) == set()
    taken = await second.take_lane("c", want=False)
    assert (taken.mine, taken.fence) == (True, 2)
    # One that ran out waits for its holder, until the other one has been in contact for a whole lease.
    await sees_all_rows.execute("UPDATE credential_lanes SET until = now() - interval '1 s'")
    await in_contact(sees_all_rows, one, 0)
    assert not (await first.take_lane("c", want=False)).mine
    await in_contact(sees_all_rows, one)
    assert (await first.take_lane("c", want=False)).fence == 3
    assert await second.renew_lanes({"c": 2}) == set()
    for each in stores:
        await each.close()


async def test_one_instance_at_a_time_has_a_duty(connect: Connect, sees_all_rows: asyncpg.Connection) -> None:
    one, other = uuid4(), uuid4()
    stores = await connect(one), await connect(other)
    first, second = (Turns(store.database, instance) for store, instance in zip(stores, (one, other), strict=True))
    assert await first.take_duties(["a", "b"]) == {"a", "b"}
    assert await second.take_duties(["a", "b", "c"]) == {"c"}
    assert await first.take_duties(["a", "b"]) == {"a", "b"}
    await sees_all_rows.execute("UPDATE duties SET until = now() - interval '1 s'")
    await in_contact(sees_all_rows, other, 0)
    assert await second.take_duties(["a"]) == set()
    await in_contact(sees_all_rows, other)
    assert await second.take_duties(["a"]) == {"a"}
    assert await first.take_duties(["a", "b"]) == {"b"}
    await first.give_up_duties()
    assert await second.take_duties(["b"]) == {"b"}
    for each in stores:
        await each.close()


async def test_a_connection_of_a_caller_sees_no_lanes_and_no_duties(connect: Connect, database_url: str) -> None:
    one = uuid4()
    store = await connect(one)
    turns = Turns(store.database, one)
    await turns.take_lane("c", want=False)
    await turns.take_duties(["a"])
    async with store.database.connection("A") as connection:
        for table in ("credential_lanes", "duties", "time_stamp_requests"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert await connection.fetchval("SELECT count(*) FROM instances") == 1
        assert await connection.execute("UPDATE instances SET left_at = now()") == "UPDATE 0"
    await store.close()


async def test_the_others_are_those_that_were_seen_and_have_not_stopped(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    instances = [uuid4() for _ in range(3)]
    stores = [await connect(instance) for instance in instances]
    tables = [InstanceTable(store.database, one) for store, one in zip(stores, instances, strict=True)]
    assert await tables[0].heartbeat() == 2
    await tables[1].depart()
    assert await tables[0].heartbeat() == 1
    await run_out(sees_all_rows, instances[2])
    assert await tables[0].heartbeat() == 0
    assert [one.is_alive for one in await tables[0].all()] == [True, False, False]
    await sees_all_rows.execute("DELETE FROM instances WHERE instance = $1", instances[0])
    assert await tables[0].heartbeat() is None
    for each in stores:
        await each.close()


async def test_instances_that_have_gone_for_good_are_listed_no_longer(
    connect: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """But one that has left what nobody else reads or chains stays, until it is forgotten by hand."""
    present, replaced, lost, cut_off = uuid4(), uuid4(), uuid4(), uuid4()
    stores = await connect(present), await connect(replaced), await connect(lost, None), await connect(cut_off, None)
    await register(stores[1], replaced)
    await register(stores[2], lost)
    purged = await register(stores[3], cut_off)  # its audit entries wait
    await sees_all_rows.execute("UPDATE operations SET payload_purged = true WHERE id = $1", purged.id)
    await sees_all_rows.execute("UPDATE instances SET seen_at = now() - interval '2 h' WHERE instance <> $1", present)
    upkeep = Upkeep(stores[0].database, present)
    assert await upkeep.drop_gone_instances(3 * 3600) == 0
    assert await upkeep.drop_gone_instances(3600) == 1
    assert {one.id for one in await InstanceTable(stores[0].database, present).all()} == {present, lost, cut_off}
    await sees_all_rows.execute("DELETE FROM audit_pending WHERE operation_id = $1", purged.id)
    assert await upkeep.drop_gone_instances(3600) == 1
    for each in stores:
        await each.close()
