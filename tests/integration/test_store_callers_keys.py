"""What the database keeps for all instances of their callers: the key of the tokens, and failed logins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from batchseal.errors import ConfigurationError
from batchseal.store import Store
from batchseal.store.database import Database
from batchseal.store.login_failures import LoginFailures
from batchseal.store.token_keys import token_keys

Connect = Callable[..., Awaitable[Store]]
MOST = 10


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url.replace("//batchseal@", "//batchseal_owner@"), 4, everything=True)
    yield database
    await database.close()


async def test_all_instances_get_the_same_key_even_if_they_start_at_once(owner: Database) -> None:
    found = await asyncio.gather(*(token_keys(owner) for _ in range(8)))
    assert found[0] == found[-1] == await token_keys(owner)
    assert all(keys == found[0] for keys in found)
    assert [len(key) for key in found[0]] == [32]


async def test_a_later_key_signs_and_the_one_before_it_verifies(
    owner: Database, sees_all_rows: asyncpg.Connection
) -> None:
    (first,) = await token_keys(owner)
    await sees_all_rows.execute("INSERT INTO token_keys (number, key) VALUES (2, $1)", b"n" * 32)
    assert await token_keys(owner) == [b"n" * 32, first]


@pytest.mark.parametrize("everything", [True, False])
async def test_the_role_of_the_service_cannot_read_the_key(
    owner: Database, connect_store: Connect, everything: bool
) -> None:
    await token_keys(owner)
    store = await connect_store(everything=everything)
    with pytest.raises(ConfigurationError, match="lacks a right"):
        await token_keys(store.database)
    async with store.database.connection() as connection:
        # Neither the table itself, nor a function that would read it with the owner's rights.
        rights = "SELECT has_any_column_privilege('token_keys', 'SELECT, INSERT, UPDATE')"
        assert await connection.fetchval(rights) is False
        named = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'batchseal'::regnamespace AND prosrc ~ 'token_keys'"
        assert await connection.fetchval(named) == 0


async def counters(connect_store: Connect, seconds: float = 60.0) -> list[LoginFailures]:
    """Those of two instances, as their workers connect."""
    stores = [await connect_store(everything=False) for _ in range(2)]
    return [LoginFailures(store.database, most=MOST, seconds=seconds) for store in stores]


async def test_of_simultaneous_guesses_at_two_instances_only_ten_are_counted(connect_store: Connect) -> None:
    both = await counters(connect_store)
    counted = await asyncio.gather(*(both[n % 2].count(b"a pair") for n in range(48)))
    refused = [one for one in counted if one.refused]
    assert len(counted) - len(refused) == MOST
    assert all(0 < one.seconds_until_fewer <= 60 for one in refused)
    assert not (await both[0].count(b"another pair")).refused


async def test_what_is_taken_back_leaves_room_for_another_guess(connect_store: Connect) -> None:
    here, there = await counters(connect_store)
    counted = [await here.count(b"a pair") for _ in range(MOST)]
    assert (await there.count(b"a pair")).refused
    await there.take_back(b"a pair", counted[3])
    assert [(await here.count(b"a pair")).refused for _ in range(2)] == [False, True]


async def test_failures_of_more_than_a_minute_ago_do_not_count(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """The minute lasts an hour here, so that the time which the test takes itself counts for nothing."""
    here, _ = await counters(connect_store, seconds=3600.0)
    for _ in range(MOST):
        await here.count(b"a pair")
    earlier = (
        "UPDATE login_failures SET failed_at = ARRAY(SELECT t - $1 * interval '1 second' FROM unnest(failed_at) t)"
    )
    await sees_all_rows.execute(earlier, 3000)
    refused = await here.count(b"a pair")
    assert refused.refused
    assert 300 < refused.seconds_until_fewer <= 600
    await sees_all_rows.execute(earlier, 601)
    assert not (await here.count(b"a pair")).refused


async def test_rows_that_do_not_count_any_more_are_removed_by_the_way(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    here, there = await counters(connect_store)
    for number in range(40):
        await here.count(b"made up %d" % number)
    await sees_all_rows.execute("UPDATE login_failures SET until = now() - interval '1 second'")
    await asyncio.gather(*((here, there)[n % 2].count(b"new %d" % n) for n in range(40)))
    left = await sees_all_rows.fetchval("SELECT count(*) FROM login_failures WHERE pair < 'n'")
    assert left == 0
    assert await sees_all_rows.fetchval("SELECT count(*) FROM login_failures") == 40
