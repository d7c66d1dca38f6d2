"""How fast a batch is uploaded beside 1,000 connections whose headers never end, and how fast alone.

    python -m benchmarks.upload_beside_headers
    python -m benchmarks.upload_beside_headers --pairs 30

Uploads take turns: one alone, one beside the connections, and within a pair each comes first every other time. The connections
come from 200 addresses, are opened before the clock runs, and have sent 6 KB each. The clock of an upload runs from its first
byte to the reply that registers it; the batch is signed before the next one comes. The ratio is the median of the pairs'
ratios of the time; the processor time of the workers is that of all uploads together.
"""

import argparse
import json
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.bodies import API
from benchmarks.end_to_end import Batch, credentials, make_batch
from benchmarks.load import Target, check, unchunked
from harness.processes import cpu_seconds
from harness.service import RunningService

CONNECTIONS, ADDRESSES = 1000, 200
UNFINISHED = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 6_000
PAIRS = 20
TICK = 0.01  # the kernel counts processor time in steps of so many seconds


@contextmanager
def unfinished_headers(port: int) -> Iterator[None]:
    """As many connections as the service keeps of CONNECTIONS, until the block ends."""
    with ExitStack() as connections:
        for number in range(CONNECTIONS):
            source = (f"127.0.1.{1 + number % ADDRESSES}", 0)
            one = connections.enter_context(socket.create_connection(("127.0.0.1", port), 10, source))
            with suppress(OSError):  # the service closes what is over its bound
                one.sendall(UNFINISHED)
        yield


def upload(service: RunningService, batch: Batch, *, beside: bool) -> tuple[float, float]:
    """Seconds until the batch is registered, and processor seconds of the workers meanwhile."""
    target = Target(service.port, credentials(service))
    reference = f"headers-{time.time_ns()}"
    head = json.dumps({"externalReference": reference, "description": "Benchmark"})[:-1].encode() + b","
    with ExitStack() as stack:
        if beside:
            stack.enter_context(unfinished_headers(service.port))
        before, began = cpu_seconds(service.process.pid)["worker"], time.perf_counter()
        check(target.post(f"{API}/async/document/sign/base64/", head=head, body=batch.body), 200, 202)
        seconds = time.perf_counter() - began
        used = cpu_seconds(service.process.pid)["worker"] - before
    asked = f"{API}/async/operation/status/withExternalReference/{reference}"
    while True:
        entry = json.loads(unchunked(check(target.get(asked, "Prefer: wait=30"), 200).text))[0]
        if entry["status"] == "EXECUTED":
            return seconds, used


def measure(count: int = 500, size_bytes: int = 200_000, pairs: int = PAIRS) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="batchseal-bench-"))
    try:
        batch = make_batch(folder, count, size_bytes)
        with RunningService() as service:
            for beside in (False, True):
                upload(service, batch, beside=beside)
            samples: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            for number in range(pairs):
                for beside in (False, True) if number % 2 else (True, False):
                    samples[beside].append(upload(service, batch, beside=beside))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    both = list(zip(samples[False], samples[True], strict=True))
    return {
        # Throughput: the larger, the better.
        "upload_beside_headers_over_alone": round(statistics.median(a[0] / b[0] for a, b in both), 4),
        "upload_cpu_beside_headers_over_alone": round(
            sum(b[1] for _, b in both) / max(TICK, sum(a[1] for a, _ in both)), 4
        ),
        "upload_seconds_alone": round(statistics.median(a[0] for a, _ in both), 3),
        "pairs": pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=200_000, help="size of each document")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    json.dump(measure(options.count, options.bytes, options.pairs), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
