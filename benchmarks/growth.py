"""How cost grows: with what is in flight, with the clients of single documents, with their size, and with the batches at once.

    python -m benchmarks.growth               all of it, about ten minutes
    python -m benchmarks.growth --smoke       in tiny sizes: it shows that it works, not how fast it is

P-256 sandbox, one worker; each point is a run of its own on a service of its own, after a small one to warm up. Of each point:
the time of all, p50 and p99 of the requests' times (`clients.py`; p99 of fewer than a hundred requests is the slowest), the peak
memory of the service, and the size of its database at the end. Left out: repeating, so that a point may be off by what else the
machine did then. Looking at the memory takes a quarter of a core of the same run.

100,000 documents are in flight once all their requests are taken and nobody has asked for a result. They have 20 KB, since what
is in flight is rows and records, and not everybody has the disk for more.
"""

import argparse
import asyncio
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from benchmarks.end_to_end import Batch, Runs, credentials, drive, make_batch, seal_once
from harness.held_folder import held_folder
from harness.processes import PeakMemory
from harness.service import RunningService

BATCHES, IN_FLIGHT, SINGLES = "batches", "in_flight", "singles"
MEGABYTE = 1e6


class Point(NamedTuple):
    mode: str
    requests: int
    at_once: int
    documents: int  # in each request
    size_bytes: int  # of each document


Series = dict[str, list[Point]]
SERIES: Series = {
    "in_flight": [
        Point(IN_FLIGHT, requests, 2, documents, 20_000)
        for requests, documents in ((10, 10), (10, 100), (10, 1000), (40, 500), (40, 2500))
    ],
    "singles": [
        Point(SINGLES, requests, clients, 1, 200_000)
        for requests, clients in ((200, 1), (400, 4), (1000, 16), (2000, 64))
    ],
    "by_size": [
        Point(BATCHES, requests, 1, documents, size_bytes)
        for requests, documents, size_bytes in (
            (10, 250, 2_000),
            (10, 250, 20_000),
            (10, 125, 200_000),
            (10, 12, 2_000_000),
            (10, 1, 20_000_000),
            (5, 1, 100_000_000),
            (3, 1, 1_000_000_000),
        )
    ],
    "batches": [Point(BATCHES, 2 * number, number, 100, 200_000) for number in (1, 2, 4, 8, 16, 32)],
}
SMOKE: Series = {
    "in_flight": [Point(IN_FLIGHT, 3, 2, 2, 15_000)],
    "singles": [Point(SINGLES, 4, 2, 1, 15_000)],
    "by_size": [Point(BATCHES, 2, 1, 1, 150_000)],
    "batches": [Point(BATCHES, 2, 2, 3, 15_000)],
}


def flags(point: Point) -> list[str]:
    """What the service must be told to take so much."""
    documents = point.requests * point.documents
    return [
        "--sandbox-credential=p256",
        *([f"--files-in-flight={documents}"] if documents > 20_000 else []),
        *([f"--max-document-bytes={2 * point.size_bytes}"] if point.size_bytes > 50_000_000 else []),
    ]


def measure_point(folder: Path, small: Batch, point: Point) -> dict[str, float]:
    """One point, on a service of its own: memory that an earlier point left would count for a later one."""
    batch = make_batch(folder, point.documents, point.size_bytes)
    batch.documents.clear()  # they are in the body
    spec = {"mode": point.mode, "requests": point.requests, "at_once": point.at_once, "body": batch.body}
    with RunningService(*flags(point)) as service:
        seal_once(service, small, Runs())
        spec |= {"port": service.port, "credentials": credentials(service), "reference": f"growth-{time.time_ns()}"}
        with PeakMemory(service.process.pid) as memory:
            report = drive("benchmarks.clients", **spec)
        database_bytes = asyncio.run(database_size(service))
    batch.body.unlink()
    seconds, each = report["seconds"], report["request_seconds"]
    documents = point.requests * point.documents
    return {
        "requests": point.requests,
        "at_once": point.at_once,
        "documents": documents,
        "document_bytes": point.size_bytes,
        "seconds": round(seconds, 2),
        "documents_per_second": round(documents / seconds, 1),
        "mb_per_second": round(point.requests * batch.payload_bytes / MEGABYTE / seconds, 1),
        "p50_ms": round(1000 * percentile(each, 50), 1),
        "p99_ms": round(1000 * percentile(each, 99), 1),
        "peak_service_mb": round(memory.peak["service"] / MEGABYTE, 1),
        "database_mb": round(database_bytes / MEGABYTE, 1),
    }


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The nearest rank: the smallest value that so many percent of all do not exceed."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


async def database_size(service: RunningService) -> int:
    """Bytes of all tables and indexes, without the log."""
    socket = service.folder / "temp" / "postgres"
    connection = await asyncpg.connect(host=str(socket), user="batchseal", database="batchseal")
    try:
        return int(await connection.fetchval("SELECT pg_database_size(current_database())"))
    finally:
        await connection.close()


def measure(series: Series) -> dict[str, Any]:
    with held_folder("growth") as folder:
        small = make_batch(folder, 16, 15_000)
        return {name: [measure_point(folder, small, point) for point in points] for name, points in series.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SERIES", help=f"some of {', '.join(SERIES)} (default: all)")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SERIES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    series = SMOKE if options.smoke else SERIES
    print(json.dumps(measure({name: series[name] for name in options.names or series}), indent=2))


if __name__ == "__main__":
    main()
