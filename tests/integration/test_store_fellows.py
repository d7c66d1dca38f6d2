"""What an instance knows of the others, and how ends are asked for together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.store import Store
from batchseal.store.fellows import Fellows
from batchseal.store.instances import InstanceTable
from batchseal.store.queries import QUERIES
from batchseal.store.versions import Versions

Connect = Callable[..., Awaitable[Store]]


@pytest.fixture
async def arrived(connect_store: Connect) -> Callable[[UUID, str], Awaitable[InstanceTable]]:
    """Shows an instance of this version."""
    store = await connect_store()

    async def arrive(instance: UUID, version: str) -> InstanceTable:
        table = InstanceTable(store.database, instance)
        await table.arrive(f"host-{version}:8080", version, "local")
        return table

    return arrive


async def ago(rows: asyncpg.Connection, instance: UUID, seconds: float) -> None:
    """Makes an instance one that was last seen so long ago."""
    await rows.execute(
        "UPDATE instances SET seen_at = now() - $2 * interval '1 second' WHERE instance = $1", instance, seconds
    )


async def test_a_worker_sees_who_else_is_there(
    connect_store: Connect,
    arrived: Callable[[UUID, str], Awaitable[InstanceTable]],
    sees_all_rows: asyncpg.Connection,
) -> None:
    me, other, third = uuid4(), uuid4(), uuid4()
    store = await connect_store(me, everything=False)
    fellows = Fellows(store.database, me)
    await arrived(me, "1")
    assert await fellows.alive() == 0
    table = await arrived(other, "2")
    await arrived(third, "3")
    await ago(sees_all_rows, other, 0)  # to arrive takes time, of which there are 12 s
    await ago(sees_all_rows, third, 0)
    assert await fellows.alive() == 2
    await ago(sees_all_rows, third, 600)
    await ago(sees_all_rows, other, 0)
    assert await fellows.alive() == 1
    found = await fellows.address(third)
    assert found is not None and found.text == "host-3:8080" and not found.is_there
    assert 599 < found.seconds_ago < 900
    await table.depart()
    assert await fellows.alive() == 0
    assert await fellows.address(uuid4()) is None


async def test_what_the_release_before_cannot_read_waits_until_it_is_gone(
    connect_store: Connect,
    arrived: Callable[[UUID, str], Awaitable[InstanceTable]],
    sees_all_rows: asyncpg.Connection,
) -> None:
    me, older, crashed = uuid4(), uuid4(), uuid4()
    versions = Versions((await connect_store(me, everything=False)).database, look_seconds=0)
    assert not await versions.all_have("0.1")  # nobody has shown itself
    await arrived(me, "0.3.0")
    assert await versions.all_have("0.3.0")
    assert not await versions.all_have("0.4")
    table = await arrived(older, "0.2.9")
    await arrived(crashed, "0.1.0")
    assert [await versions.all_have(v) for v in ("0.1", "0.2", "0.3")] == [True, False, False]
    await ago(sees_all_rows, crashed, 600)
    assert not await versions.all_have("0.2")  # it may come back as it was
    await ago(sees_all_rows, crashed, 3700)
    assert [await versions.all_have(v) for v in ("0.2", "0.3")] == [True, False]
    await table.depart()
    assert await versions.all_have("0.3")


async def test_between_two_looks_nothing_is_asked(
    connect_store: Connect, arrived: Callable[[UUID, str], Awaitable[InstanceTable]]
) -> None:
    me, now = uuid4(), 0.0
    versions = Versions((await connect_store(me)).database, look_seconds=10, clock=lambda: now)
    await arrived(me, "2.0")
    assert await versions.all_have("2")
    await arrived(uuid4(), "1.0")
    now = 9.9
    assert await versions.all_have("2")
    now = 10.0
    assert not await versions.all_have("2")


async def test_a_thousand_who_wait_cost_two_statements(
    connect_store: Connect,
) -> None:
    """The first question goes out alone, and all that come meanwhile go out together."""
    store = await connect_store()
    statements: list[str] = []

    def note(record: Any) -> None:
        if record.query == QUERIES["finished_among"]:
            statements.append(record.query)

    async with store.database.connection() as connection:
        connection.add_query_logger(note)
    answers = await asyncio.gather(*(store.is_finished(number) for number in range(1, 1001)))
    assert answers == [False] * 1000
    assert len(statements) <= 2
    assert await store.is_finished(1) is False
    assert len(statements) <= 3


async def test_one_who_goes_away_takes_no_answer_from_others(connect_store: Connect) -> None:
    store = await connect_store()
    first, second = (asyncio.create_task(store.is_finished(number)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(120):
        assert await second is False
