"""What the duties do with tables that have become large: in slices, and without a transaction that lasts."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from uuid import uuid4

import asyncpg
import pytest
from tests.support.operators import chained, registered

from batchseal.errors import LeaseLost
from batchseal.signer.duties.expiry import Expiry
from batchseal.store import Store
from batchseal.store.trail import AuditTrail
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]


async def test_references_are_freed_in_slices(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    me = uuid4()
    store = await connect_store(me)
    rows = [await registered(store, me) for _ in range(7)]
    purged = [row.id for row in rows if row.id % 3]
    await sees_all_rows.execute(
        "UPDATE operations SET status = 4, payload_purged = true, finished_at = now() - interval '2 days', lease_holder = NULL,"
        " lease_until = NULL, documents_failed = documents_total WHERE id = ANY ($1::bigint[])",
        purged,
    )
    upkeep = Upkeep(store.database, me)
    assert await upkeep.free_references(3 * 86_400, 0, 3) == (0, rows[2].id), "they have not had their time"
    await Expiry(upkeep, at_once=2).free_references(86_400)
    left = await sees_all_rows.fetch("SELECT operation_id FROM external_references")
    assert {record["operation_id"] for record in left} == {row.id for row in rows} - set(purged)


async def test_a_month_that_is_dropped_while_it_is_read_is_not_taken_for_complete(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """An export that is replaced by a part of itself would be the only copy."""
    me = uuid4()
    store = await connect_store(me)
    trail = AuditTrail(store.database, me)
    for _ in range(2):
        await registered(store, me)
    await chained(trail)
    month = next(iter({entry.month async for entry in trail.read()}))
    async with aclosing(trail.read_month(month, at_once=1)) as parts:
        await anext(parts)
        # Nobody waits for whoever writes the file.
        async with sees_all_rows.transaction():
            await sees_all_rows.execute("SET LOCAL lock_timeout = '5s'; LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
        await sees_all_rows.execute("TRUNCATE audit")
        with pytest.raises(LeaseLost):
            await anext(parts)
