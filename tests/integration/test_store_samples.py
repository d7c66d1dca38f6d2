"""Samples of figures: one a minute for each metric, whoever takes them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from tests.support.operators import ended, operators, registered

from batchseal.errors import ValueNotAllowed
from batchseal.signer.duties.sampling import Sampling
from batchseal.store import Store
from batchseal.store.instances import InstanceTable
from batchseal.store.samples import Metric, SampleTable

Connect = Callable[..., Awaitable[Store]]


async def test_samples_tell_of_the_minute_before(
    connect_store: Connect, database_url: str, sees_all_rows: asyncpg.Connection
) -> None:
    me = uuid4()
    store = await connect_store(me)
    waiting, signed = await registered(store, me, 3), await registered(store, me, 4)
    single = await registered(store, me, 1)
    await ended(store, signed, failed=[0])
    await ended(store, single)
    table, minute = SampleTable(store.database), "SELECT date_trunc('minute', now())"
    before = "date_trunc('minute', now()) - interval '30 seconds'"
    while True:
        began = await sees_all_rows.fetchval(minute)
        await InstanceTable(store.database, me).arrive("h:1", "1", "local")  # it counts for some seconds
        await sees_all_rows.execute("DELETE FROM samples")
        await sees_all_rows.execute(f"UPDATE operations SET created_at = {before} - interval '10 seconds'")
        await sees_all_rows.execute(f"UPDATE operations SET finished_at = {before} WHERE finished_at IS NOT NULL")
        await table.take()
        await table.take()
        if await sees_all_rows.fetchval(minute) == began:
            break  # else a minute has ended in between, and the one before it is another one now
    now = datetime.now(UTC)
    async with operators(database_url) as operator:
        found = await operator.samples([one.name for one in Metric], now - timedelta(hours=1), now)
        last = {name: samples[-1].mean for name, samples in found.items() if samples}
        assert last | {"queue_oldest_seconds": 0, "database_bytes": 0} == {
            "queue_documents": 3,
            "queue_oldest_seconds": 0,
            "queue_operations": 1,
            "operations_waiting": 0,
            "documents_received": 8,
            "documents_signed": 4,
            "documents_failed": 1,
            "batch_p50_seconds": 10,
            "batch_p95_seconds": 10,
            "single_p50_seconds": 10,
            "single_p95_seconds": 10,
            "database_bytes": 0,
            "instances_alive": 1,
        }
        with pytest.raises(ValueNotAllowed):
            await operator.samples(["nothing"], now, now)
        overview = await operator.overview()
        assert (overview.queue_documents, overview.queue_operations) == (3, 1)
        assert overview.received_a_minute == pytest.approx(8 / 5)
        assert overview.signed_a_minute == pytest.approx(4 / 5)
        assert overview.failed_a_minute == pytest.approx(1 / 5)
        assert overview.batch_p95_seconds == pytest.approx(10)
        assert waiting.id < signed.id


async def test_each_instance_adds_what_it_has_counted_once(connect_store: Connect, database_url: str) -> None:
    store = await connect_store()
    tally = {Metric.upstream_calls: 5.0, Metric.upstream_digests: 50.0, Metric.upstream_calls_failed: 0.0}
    clock = [0.0]
    one, other = (
        Sampling(SampleTable(store.database), lambda: tally, lambda: clock[0]),
        Sampling(SampleTable(store.database), lambda: {Metric.upstream_calls: 2.0}, lambda: clock[0]),
    )
    for minute in (60.0, 61.0, 120.0):
        clock[0] = minute
        await one.sample_if_due(for_all=True)
        await other.sample_if_due(for_all=False)
        tally = {**tally, Metric.upstream_calls: 9.0}
    now = datetime.now(UTC)
    async with operators(database_url) as operator:
        found = await operator.samples(
            ["upstream_calls", "upstream_digests"], now - timedelta(hours=1), now + timedelta(minutes=1)
        )
    assert sum(sample.largest for sample in found["upstream_calls"]) == 11
    assert sum(sample.largest for sample in found["upstream_digests"]) == 50
