"""Sessions with the database: handed out one user at a time, and only while they are fit for one."""

import asyncio
from typing import Any

import asyncpg
import pytest
from harness.waiting import eventually, turns
from tests.integration.test_store_database import owner_of

from batchseal.errors import DatabaseUnavailable
from batchseal.store.database import Database

PROCESS = "SELECT pg_backend_pid()"
SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


async def open_database(url: str, size: int, **options: Any) -> Database:
    return await Database.open(url, size, everything=True, **options)


async def is_asleep(url: str) -> bool:
    """Whether a statement of somebody else in this database is at its `pg_sleep`."""
    connection = await asyncpg.connect(
        url.replace("//batchseal@", "//postgres@")
    )  # only a superuser sees those of others
    try:
        return bool(await connection.fetchval(SLEEPERS))
    finally:
        await connection.close()


async def process_of(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(PROCESS))


async def test_one_is_used_again_and_no_more_than_allowed_at_once(database_url: str) -> None:
    database = await open_database(database_url, 2)
    assert len({await process_of(database) for _ in range(5)}) == 1
    at_once = most = 0

    async def use() -> int:
        nonlocal at_once, most
        async with database.connection() as connection:
            at_once += 1
            most = max(most, at_once)
            process = int(await connection.fetchval(f"{PROCESS} FROM pg_sleep(0.02)"))
            at_once -= 1
            return process

    assert len(set(await asyncio.gather(*(use() for _ in range(12))))) == most == 2
    await database.close()


@pytest.mark.parametrize("waiting", ["other", None])
async def test_a_caller_that_has_all_sessions_does_not_keep_others_waiting(
    database_url: str, waiting: str | None
) -> None:
    """Neither another client service nor the service itself, which asks whether the database answers."""
    database = await open_database(database_url, 2)
    may_end, held = asyncio.Event(), asyncio.Semaphore(0)

    async def use(caller: str) -> None:
        async with database.connection(caller):
            held.release()
            await may_end.wait()

    greedy = [asyncio.create_task(use("greedy")) for _ in range(5)]
    for _ in range(2):
        await held.acquire()
    for _ in range(3):
        async with database.connection(waiting) as connection:
            assert await connection.fetchval("SELECT 1") == 1
    assert held.locked(), "one caller has more than all there is for everybody"
    may_end.set()
    await asyncio.gather(*greedy)
    await database.close()


async def test_a_statement_that_was_cut_off_leaves_none_behind(database_url: str) -> None:
    database = await open_database(owner_of(database_url), 1)
    before = await process_of(database)

    async def slow() -> None:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE half_done (n integer)")
            await connection.execute("SELECT pg_sleep(30)")

    task = asyncio.create_task(slow())
    await eventually(lambda: is_asleep(database_url), pause=0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await process_of(database) != before
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT to_regclass('half_done')") is None
    await database.close()


async def test_an_open_transaction_is_not_handed_on(database_url: str) -> None:
    database = await open_database(database_url, 1)
    before = await process_of(database)
    async with database.connection() as connection:
        await connection.execute("BEGIN")
    assert await process_of(database) != before
    await database.close()


async def test_an_error_of_the_user_costs_no_session(database_url: str) -> None:
    database = await open_database(database_url, 1)
    before = await process_of(database)

    async def wrong() -> None:
        async with database.transaction() as connection:
            await connection.execute("SELECT 1")
            raise LookupError

    with pytest.raises(LookupError):
        await wrong()
    assert await process_of(database) == before
    await database.close()


async def test_closing_waits_for_what_is_under_way(database_url: str) -> None:
    database, holder = await open_database(database_url, 2), await asyncpg.connect(database_url)
    await holder.execute("SELECT pg_advisory_lock(1)")

    async def slow() -> int:
        async with database.connection() as connection:
            return int(await connection.fetchval("SELECT 7 FROM pg_advisory_xact_lock(1)"))

    task = asyncio.create_task(slow())
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    await eventually(lambda: holder.fetchval(waiting), pause=0.02)
    closing = asyncio.create_task(database.close())
    await turns()
    assert not closing.done()
    await holder.execute("SELECT pg_advisory_unlock(1)")
    await closing
    assert await task == 7
    await holder.close()


async def test_all_in_use_for_too_long_is_said(database_url: str) -> None:
    database = await open_database(database_url, 1, connect_seconds=3)
    async with database.connection():
        with pytest.raises(DatabaseUnavailable, match="no connection within"):
            await process_of(database)
    assert await process_of(database)
    await database.close()
