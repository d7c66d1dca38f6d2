"""A start that is to delete everything does so once, and never while another instance uses the database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.errors import ConfigurationError
from batchseal.operation import ContentType, Mode
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.identity import DatabaseIdentity
from batchseal.store.migrations import Start
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]


def owner_of(url: str) -> str:
    """The same database, as the role that owns the tables."""
    return url.replace("//batchseal@", "//batchseal_owner@")


@pytest.fixture
def instance() -> UUID:
    return uuid4()


@pytest.fixture
async def owner(database_url: str, instance: UUID) -> AsyncIterator[Store]:
    store = await Store.connect(owner_of(database_url), instance=instance, pool_size=1)
    yield store
    await store.close()


async def register(store: Store, reference: str = "r") -> None:
    operation = NewOperation(uuid4(), "A", reference, "", Mode.ASYNC, uuid4(), "h", 1)
    await store.register(operation, [NewDocument(0, "d", "d.pdf", ContentType.PDF, 1)])


async def start(owner: Store, instance: UUID, *, recreate: bool) -> bool:
    return await owner.migrate(Start(uuid4(), instance, recreate), role="batchseal")


async def test_the_database_stays_the_same_one(connect_store: Connect, owner: Store, instance: UUID) -> None:
    """A payload store carries its identity: the instances would find another database's store when they start again."""
    store = await connect_store(instance)
    before = await DatabaseIdentity(store.database).begin_sweep()
    assert await start(owner, instance, recreate=True)
    assert await DatabaseIdentity(store.database).state() == before
    assert before.sweeps == 1


async def test_it_deletes_everything_once(connect_store: Connect, owner: Store, instance: UUID) -> None:
    store = await connect_store(instance)
    await register(store)
    first = Start(uuid4(), instance, recreate=True)
    assert await owner.migrate(first, role="batchseal")
    assert await store.reference_holder("A", "r") is None
    await register(store)
    # The signer of the same start is started again: with the setting before it was ready, and without it later.
    assert not await owner.migrate(first, role="batchseal")
    assert not await owner.migrate(Start(first.id, instance), role="batchseal")
    # The same command line once more: also that of a container that has a new folder, and is a new instance with it.
    for another in (instance, uuid4()):
        with pytest.raises(ConfigurationError, match=r"acts once: nothing was deleted now\. Leave it out"):
            await start(owner, another, recreate=True)
    assert await store.reference_holder("A", "r") is not None
    assert not await start(owner, instance, recreate=False)
    assert await start(owner, instance, recreate=True)
    assert await store.reference_holder("A", "r") is None


async def test_it_waits_for_another_instance_to_be_gone(
    connect_store: Connect, owner: Store, instance: UUID, database_url: str
) -> None:
    store = await connect_store(instance)
    await register(store)
    other = await Store.connect(database_url, instance=uuid4(), pool_size=1)
    with pytest.raises(ConfigurationError, match="another instance uses this database"):  # it is connected
        await start(owner, instance, recreate=True)
    upkeep = Upkeep(other.database, uuid4())
    clock = await upkeep.clock()
    await upkeep.note_clock("boot", 1.0, clock.now, None)
    await other.close()
    with pytest.raises(ConfigurationError, match="within the last minute"):  # it has noted itself
        await start(owner, instance, recreate=True)
    assert await store.reference_holder("A", "r") is not None
    connection = await asyncpg.connect(owner_of(database_url), server_settings={"search_path": "batchseal"})
    await connection.execute("UPDATE housekeeping SET seen_at = now() - interval '61 seconds'")
    with pytest.raises(ConfigurationError, match="within the last minute"):  # its next round may be late
        await start(owner, instance, recreate=True)
    await connection.execute("UPDATE housekeeping SET seen_at = now() + interval '1 hour'")
    with pytest.raises(ConfigurationError, match="within the last minute"):  # by a clock that was set back since
        await start(owner, instance, recreate=True)
    await connection.execute("UPDATE housekeeping SET seen_at = now() - interval '91 seconds'")
    await connection.close()
    assert await start(owner, instance, recreate=True)


async def test_a_start_of_another_instance_does_not_allow_it_again(
    connect_store: Connect, owner: Store, instance: UUID
) -> None:
    """While the instance with the old command line runs, others come and go without the setting."""
    store = await connect_store(instance)
    assert await start(owner, instance, recreate=True)
    await start(owner, uuid4(), recreate=False)  # `store` and `owner` of the first instance are connected
    await register(store)
    with pytest.raises(ConfigurationError, match="acts once"):
        await start(owner, instance, recreate=True)


async def test_an_empty_database_counts(owner: Store, instance: UUID, database_url: str) -> None:
    """The first start with the setting finds nothing to delete; the second one must not delete what came in between."""
    connection = await asyncpg.connect(owner_of(database_url))
    await connection.execute("DROP SCHEMA batchseal CASCADE")
    await connection.close()
    assert await start(owner, instance, recreate=True)
    with pytest.raises(ConfigurationError, match="acts once"):
        await start(owner, instance, recreate=True)
