"""What a backup relies on in the database while it is made."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
from harness.waiting import eventually, turns
from tests.support.operators import ended, registered

from batchseal.errors import DatabaseUnavailable
from batchseal.store import Store
from batchseal.store.backups import without_purging
from batchseal.store.upkeep import Upkeep


async def test_nothing_is_marked_as_purged_while_a_backup_is_made(
    connect_store: Callable[..., Awaitable[Store]],
) -> None:
    """Also what was found due before the backup began: its snapshot names the payload."""
    me = uuid4()
    store = await connect_store(me)
    row = await registered(store, me, 1)
    await ended(store, row)
    upkeep = Upkeep(store.database, me)
    async with without_purging(store.database):
        assert await upkeep.is_being_backed_up()
        assert await upkeep.mark_purged([row.id], unless_backed_up=True) == {}
    assert not await upkeep.is_being_backed_up()
    assert (await upkeep.mark_purged([row.id], unless_backed_up=True)).keys() == {row.id}


async def test_instances_that_purge_at_once_are_no_backup_to_each_other(
    connect_store: Callable[..., Awaitable[Store]], sees_all_rows: asyncpg.Connection
) -> None:
    """One of them waits for a row, with its transaction open. A backup that begins then waits for it."""
    me = uuid4()
    store, second, third = [await connect_store(me) for _ in range(3)]
    rows = [await registered(store, me, number) for number in (1, 2, 3)]
    for row in rows:
        await ended(store, row)
    blocker = sees_all_rows.transaction()
    await blocker.start()
    await sees_all_rows.execute("SELECT FROM operations WHERE id = $1 FOR UPDATE", rows[0].id)
    one, other = Upkeep(store.database, me), Upkeep(second.database, me)
    marking = asyncio.create_task(one.mark_purged([rows[0].id], unless_backed_up=True))
    await eventually(lambda: waits(sees_all_rows, "transactionid"))
    assert not await other.is_being_backed_up()
    assert (await other.mark_purged([rows[1].id], unless_backed_up=True)).keys() == {rows[1].id}
    copying = asyncio.Event()

    async def back_up() -> None:
        async with without_purging(third.database):
            copying.set()
            assert await other.mark_purged([rows[2].id], unless_backed_up=True) == {}

    backing_up = asyncio.create_task(back_up())
    await eventually(lambda: waits(sees_all_rows, "advisory"))
    assert not copying.is_set()
    await blocker.rollback()
    assert (await marking).keys() == {rows[0].id}
    await backing_up


async def waits(connection: asyncpg.Connection, kind: str) -> bool:
    """Whether somebody waits for a lock of this kind."""
    return bool(
        await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = $1)", kind)
    )


async def test_a_backup_that_lost_its_lock_is_none(
    connect_store: Callable[..., Awaitable[Store]], database_url: str
) -> None:
    """The service has started its database again meanwhile, and purges."""
    holders = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND d.datname = current_database()"
    )
    store, other = await connect_store(), await asyncpg.connect(database_url)

    async def end_holders() -> None:
        while await other.fetchval(holders):
            await turns()

    with pytest.raises(DatabaseUnavailable):
        async with without_purging(store.database):
            await end_holders()
    await other.close()
