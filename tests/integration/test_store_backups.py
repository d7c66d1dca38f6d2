"""What a backup relies on in the database while it is made."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
from harness.waiting import turns
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
