"""An instance among others: what it does for all, what it gives back, and what of its work others end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from harness.waiting import eventually
from tests.support.upstream import running_service

from batchseal.audit.chain import make_link
from batchseal.errors import DatabaseUnavailable
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus
from batchseal.signer.lanes import MARGIN_SECONDS
from batchseal.signer.pace import Pace
from batchseal.signer.presence import STUCK_SECONDS, Presence
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.instances import LEASE_SECONDS, InstanceTable
from batchseal.store.trail import AuditTrail
from batchseal.store.turns import Turns

Connect = Callable[..., Awaitable[Store]]
SHARED = "shared:/volume"


class One:
    """An instance without its processes, whose clock a test moves."""

    def __init__(self, store: Store, instance: UUID) -> None:
        self.store, self.instance, self.now = store, instance, 1000.0
        self.presence = Presence(
            InstanceTable(store.database, instance),
            Turns(store.database, instance),
            address="h:1",
            version="1",
            stored_in=SHARED,
            shared=SHARED,
            clock=lambda: self.now,
        )


Instance = Callable[[], AbstractAsyncContextManager[One]]


@pytest.fixture
def instance(database_url: str) -> Instance:
    @asynccontextmanager
    async def instance() -> AsyncIterator[One]:
        me = uuid4()
        store = await Store.connect(database_url, instance=me, shared=SHARED)
        one = One(store, me)
        await one.presence.arrive()
        yield one
        await store.close()

    return instance


async def test_one_of_several_does_what_one_does_for_all(instance: Instance, sees_all_rows: asyncpg.Connection) -> None:
    seen = "UPDATE instances SET seen_at = now() + interval '1 hour'"  # however long the disk keeps them waiting
    async with instance() as one:
        await sees_all_rows.execute(seen)
        async with instance() as other:
            await sees_all_rows.execute(seen)
            await check_duties(one, other)


async def check_duties(one: One, other: One) -> None:
    assert (one.presence.does_upkeep, one.presence.does_payloads) == (True, True)
    assert (other.presence.does_upkeep, other.presence.does_payloads) == (False, False)
    await one.presence.beat()
    assert (one.presence.others(), other.presence.others()) == (1, 1)
    # What was not renewed is not relied on for as long as others may believe in it.
    one.now += LEASE_SECONDS - MARGIN_SECONDS + 0.1
    assert not one.presence.does_upkeep
    await one.presence.beat()
    assert one.presence.does_upkeep
    # An instance that stops leaves it to the other one at once.
    await one.presence.leave(one.store)
    await other.presence.beat()
    assert (other.presence.does_upkeep, other.presence.does_payloads) == (True, True)
    assert other.presence.others() == 0


async def test_a_duty_that_makes_no_progress_is_left_to_others(
    instance: Instance, sees_all_rows: asyncpg.Connection
) -> None:
    """As where the volume of the payload store hangs at the instance that purges for all."""
    async with instance() as one, instance() as other:
        await one.presence.beat()
        one.now += STUCK_SECONDS + 1
        one.presence.comes_by(upkeep=True, payloads=False)
        await one.presence.beat()
        assert (one.presence.does_upkeep, one.presence.does_payloads) == (True, False)
        # The lease that is not renewed runs out, and the other one has been there for long enough.
        await sees_all_rows.execute("UPDATE instances SET in_contact_since = now() - interval '1 hour'")
        await sees_all_rows.execute("UPDATE duties SET until = now() WHERE name LIKE 'payloads%'")
        await other.presence.beat()
        assert (other.presence.does_upkeep, other.presence.does_payloads) == (False, True)
        # Nobody comes by any more: so much for the rest.
        one.now += STUCK_SECONDS + 1
        await one.presence.beat()
        assert not one.presence.does_upkeep
        one.presence.comes_by(upkeep=True, payloads=True)
        await one.presence.beat()
        assert (one.presence.does_upkeep, one.presence.does_payloads) == (True, False)


async def test_an_instance_that_was_forgotten_begins_anew(
    instance: Instance, sees_all_rows: asyncpg.Connection
) -> None:
    async with instance() as one:
        await sees_all_rows.execute("DELETE FROM instances")
        await one.presence.beat()
        assert await sees_all_rows.fetchval("SELECT instance FROM instances") == one.instance


async def test_leaving_without_a_database_is_no_error(instance: Instance) -> None:
    async with instance() as one:
        await one.store.close()
        with pytest.raises(DatabaseUnavailable):
            await one.presence.beat()
        await one.presence.leave(one.store)


async def test_the_trail_of_a_shared_store_is_chained_by_one_for_all(connect_store: Connect, tmp_path: Path) -> None:
    one, other = uuid4(), uuid4()
    store = await connect_store(one)
    for instance, payload_store in ((one, None), (one, SHARED), (other, None), (other, SHARED)):
        new = NewOperation(*(uuid4(), "A", str(uuid4()), "", Mode.ASYNC, instance, "h", 1), payload_store=payload_store)
        await store.register(new, [NewDocument(0, "d", "d.pdf", ContentType.PDF, 9)])
    trail = AuditTrail(store.database, one, SHARED)
    assert len(await trail.pending()) == 1
    assert len(await trail.pending(shared=True)) == 2
    assert await trail.chain([(e, e.digest, b"") for e in await trail.pending(shared=True)], make_link) == 2
    assert await trail.pending(shared=True) == []
    assert len(await AuditTrail(store.database, other).pending()) == 1


async def test_the_operation_of_a_token_that_is_gone_ends_with_what_to_do(
    connect_store: Connect, tmp_path: Path
) -> None:
    """Its caller signs with a token of its own, which was with a process that has ended."""
    instance = uuid4()
    async with running_service(connect_store, instance, tmp_path, pace=Pace(look_seconds=0.05)) as running:
        store = await connect_store(instance)
        new = NewOperation(
            *(uuid4(), "A", "theirs", "", Mode.ASYNC, instance, "h", 1),
            token_holder=instance,
        )
        row = await store.register(new, [NewDocument(0, "d", "d.pdf", ContentType.PDF, 9)])
        await eventually(lambda: store.is_finished(row.id))
        ended = await store.operation("A", row.id)
        assert ended is not None
        assert ended.status is OperationStatus.EXECUTION_FAILED
        (document,) = await store.documents(row.id, row.created_at)
        assert document.status is DocumentStatus.ERROR_SIGNING
        assert document.cause is not None
        assert "hand the documents in again" in document.cause
        assert running.double is not None
