"""How cost grows: with the number of documents, with their size, and with the requests at once.

    python -m benchmarks.growth

P-256 sandbox, asynchronous, one worker; each point is a run of its own after a small one to warm up, from the first byte
sent to the last byte of the last result read. 20,000 documents go as 8 requests of 2,500, two at a time. Shown are the time,
and the peak memory of the service. Left out: repeating, so that a point may be off by what else the machine did then.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.end_to_end import Batch, Runs, make_batch, seal_once, weigh_once
from harness.held_folder import held_folder
from harness.service import RunningService

Point = tuple[int, int, int, int]  # requests, requests at once, documents in each, bytes of each

COUNTS: list[Point] = [(1, 1, 100, 200_000), (1, 1, 500, 200_000), (1, 1, 2500, 200_000), (8, 2, 2500, 200_000)]
SIZES: list[Point] = [
    (1, 1, 2500, 2_000),
    (1, 1, 2500, 20_000),
    (1, 1, 1250, 200_000),
    (1, 1, 125, 2_000_000),
    (1, 1, 12, 20_000_000),
]
AT_ONCE: list[Point] = [(n, n, 100, 200_000) for n in (1, 2, 4, 8, 16, 32)]


def measure_point(folder: Path, small: Batch, point: Point) -> dict[str, float]:
    """One point, on a service of its own: memory that an earlier point left would count for a later one."""
    requests, at_once, documents, size_bytes = point
    batch = make_batch(folder, documents, size_bytes)
    runs, warm = Runs(), Runs()
    with RunningService("--sandbox-credential", "p256") as service:
        seal_once(service, small, warm)
        for _ in range(requests // at_once):
            weigh_once(service, batch, runs, at_once=at_once)
    batch.body.unlink()
    seconds = sum(report["seconds"] for report in runs.reports)
    payload_mb = requests * batch.payload_bytes / 1e6
    return {
        "requests": requests,
        "at_once": at_once,
        "documents": requests * documents,
        "document_bytes": size_bytes,
        "seconds": round(seconds, 2),
        "documents_per_second": round(requests * documents / seconds, 1),
        "mb_per_second": round(payload_mb / seconds, 1),
        "peak_service_mb": round(runs.peak["service"] / 1e6, 1),
    }


def measure(series: dict[str, list[Point]]) -> dict[str, Any]:
    with held_folder("growth") as folder:
        small = make_batch(folder, 16, 15_000)
        return {name: [measure_point(folder, small, point) for point in points] for name, points in series.items()}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(json.dumps(measure({"documents": COUNTS, "sizes": SIZES, "at_once": AT_ONCE}), indent=2))


if __name__ == "__main__":
    main()
