"""What memory large documents take: eight of 100 MB at once, each in an asynchronous request of its own.

    python -m benchmarks.large_documents            eight of 100 MB, and eight of 200 KB beside them
    python -m benchmarks.large_documents --judge    each result judged by pyHanko, pdfsig and iText as well

The memory is the highest sum over the service's processes of what is anonymous or shared, from the first byte sent to the last
byte of the results read. The page cache is left out: the kernel takes it back where it is short. So are the embedded database and
the sandbox, as in `peak_service_mb_1`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.bodies import API, PDF
from benchmarks.end_to_end import MEGABYTE, Batch, credentials, drive, make_batch
from benchmarks.judging import judge_reply
from benchmarks.load import Target, check, unchunked
from harness.held_folder import held_folder
from harness.processes import ANONYMOUS_AND_SHARED, PeakMemory
from harness.service import RunningService

AT_ONCE, LARGE_BYTES, SMALL_BYTES = 8, 100_000_000, 200_000


def peak(service: RunningService, batch: Batch, reference: str, at_once: int) -> dict[str, int]:
    """The highest memory of each part while so many requests go through, in bytes."""
    spec = {"port": service.port, "credentials": credentials(service), "body": batch.body, "at_once": at_once}
    with PeakMemory(service.process.pid, fields=ANONYMOUS_AND_SHARED) as memory:
        drive(**spec, reference=reference)
    return memory.peak


def judge_all(service: RunningService, batch: Batch, reference: str, at_once: int, folder: Path) -> dict[str, int]:
    """How many documents each judge takes. Raises RuntimeError where one refuses a document."""
    target, judged = Target(service.port, credentials(service)), dict[str, int]()
    for number in range(at_once):
        asked = f"{API}/async/operation/status/withExternalReference/{reference}-{number}"
        operation = json.loads(unchunked(check(target.get(asked), 200).text))[0]["id"]
        reply = folder / "reply"
        with reply.open("wb") as file:
            check(target.get(f"{API}/operation/sign/detail/{operation}/contentInResponse/true", save=file), 200)
        counts = judge_reply(reply, batch.documents, service.root, folder / "judged", PDF, ecdsa=True)
        judged = {judge: judged.get(judge, 0) + count for judge, count in counts.items()}
    return judged


def measure(
    at_once: int = AT_ONCE, large_bytes: int = LARGE_BYTES, small_bytes: int = SMALL_BYTES, *, judge: bool = False
) -> dict[str, Any]:
    """`peak_large_mb`, and `peak_small_mb` of as many small documents, each with a service of its own."""
    found: dict[str, Any] = {"at_once": at_once, "large_bytes": large_bytes, "small_bytes": small_bytes}
    with held_folder("large") as folder:
        for name, size_bytes in (("small", small_bytes), ("large", large_bytes)):
            batch, reference = make_batch(folder, 1, size_bytes), f"{name}-{time.time_ns()}"
            with RunningService("--sandbox-credential", "p256") as service:
                peaks = peak(service, batch, reference, at_once)
                found[f"peak_{name}_mb"] = round(peaks["service"] / MEGABYTE, 1)
                found[f"parts_{name}_mb"] = {part: round(size / MEGABYTE, 1) for part, size in peaks.items()}
                if judge and name == "large":
                    found["judged"] = judge_all(service, batch, reference, at_once, folder)
            batch.body.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--bytes", type=int, default=LARGE_BYTES, help="size of each large document")
    parser.add_argument("--judge", action="store_true")
    options = parser.parse_args()
    print(json.dumps(measure(options.at_once, options.bytes, judge=options.judge), indent=2))


if __name__ == "__main__":
    main()
