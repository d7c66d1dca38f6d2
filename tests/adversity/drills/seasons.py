"""Months that pass, hours of load."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from harness.service import RunningService
from tests.adversity.drills import registry
from tests.adversity.drills.judge import judge_result, own_bytes, owner
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.service import BASE, FAST, batch, documents, finished, get, post, spill_files, until

# --- steady load -------------------------------------------------------------------------------------------------


@drill("soak", quick=0, short=1, long=1)
def soak(folder: Path) -> Iterator[Trial]:
    """Steady load for six minutes: what the processes hold after a minute is what they hold at the end."""
    contents = documents(40)
    with RunningService(*FAST, folder=folder) as service:

        def load(seconds: float, first: int) -> int:
            ends, count = time.monotonic() + seconds, first
            while time.monotonic() < ends:
                reference = f"soak {count}"
                assert post(service, batch(reference, contents))[0] == 200
                status = finished(service, reference, 30)
                judge_result(service, status.operation_id, contents, verified=0)
                count += 1
            return count

        def trial(number: int) -> Figures:
            count = load(60, 0)
            before = own_bytes(service)
            count = load(86_400 if registry.LONG else 300, count)
            growth = (own_bytes(service) - before) / 1e6
            hours = 24 if registry.LONG else 0
            assert growth < (hours or 5), f"memory grew by {growth:.1f} MB"
            return {"growth_mb_max": growth, "batches_max": count}

        yield trial


# --- months ------------------------------------------------------------------------------------------------------


@drill("housekeeping", quick=0, short=1, long=1)
def housekeeping(folder: Path) -> Iterator[Trial]:
    """A month's documents are purged and dropped under a service that is asked for its status all the while."""
    total = 1_000_000 if registry.LONG else 10_000
    contents = documents(500, size_bytes=2_000)
    flags = (*FAST, "--files-in-flight=2000000", "--document-days=1")
    with RunningService(*flags, folder=folder) as service:
        for number in range(total // len(contents)):
            assert post(service, batch(f"old {number}", contents))[0] == 200
            finished(service, f"old {number}", 60)
        assert post(service, batch("live", contents))[0] == 200
        live = finished(service, "live", 60)

        def trial(number: int) -> Figures:
            before = p99(latencies(service, live.operation_id, 600))
            bytes_before = asyncio.run(age(service))
            payloads = len(spill_files(folder))
            times: list[float] = []
            began = time.monotonic()

            def purged() -> bool:
                times.extend(latencies(service, live.operation_id, 50))
                return len(spill_files(folder)) == 1 and asyncio.run(months(service)) == 0

            until(purged, 150 if not registry.LONG else 3600, 0)
            seconds = time.monotonic() - began
            during = p99(times)
            kept = asyncio.run(database_bytes(service)) / 1e6 / (total / 1000)
            judge_result(service, live.operation_id, contents, verified=2)
            assert during <= 2 * before, f"status p99 {before * 1000:.1f} -> {during * 1000:.1f} ms"
            assert kept <= 1, f"{kept:.2f} MB kept for 1,000 files"
            return {
                "status_p99_ms_before": before * 1000,
                "status_p99_ms_during": during * 1000,
                "kept_mb_per_1000_files": kept,
                "before_mb_per_1000_files": bytes_before / 1e6 / (total / 1000),
                "payloads_purged": payloads - 1,
                "seconds_until_done": seconds,
            }

        yield trial


def latencies(service: RunningService, operation_id: int, count: int) -> list[float]:
    """Seconds that each of some status requests took."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        assert get(service, f"{BASE}/operation/status/{operation_id}")[0] == 200
        times.append(time.monotonic() - began)
    return times


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


async def age(service: RunningService) -> int:
    """Moves all but the live operation into a month that has passed; the bytes that the database takes."""
    connection = await owner(service)
    try:
        await connection.execute("SELECT make_partition('2025-03-01')")
        await connection.execute(
            "UPDATE operations SET created_at = '2025-03-05', finished_at = '2025-03-05'"
            " WHERE external_reference LIKE 'old %'"
        )
        await connection.execute(
            "UPDATE documents SET month = '2025-03-01'"
            " WHERE operation_id IN (SELECT id FROM operations WHERE external_reference LIKE 'old %')"
        )
    finally:
        await connection.close()
    return await database_bytes(service)


async def months(service: RunningService) -> int:
    connection = await owner(service)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'documents_2025_03'"))
    finally:
        await connection.close()


async def database_bytes(service: RunningService) -> int:
    connection = await owner(service)
    try:
        # What ageing left behind in this month's partition is the drill's, not the service's.
        for table in ("documents", "operations"):
            await connection.execute(f"VACUUM FULL {table}")
        return int(
            await connection.fetchval(
                "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
                " WHERE relnamespace = 'batchseal'::regnamespace AND relkind = 'r'"
            )
        )
    finally:
        await connection.close()
