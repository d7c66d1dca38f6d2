"""Processor time of a document at each level through the service, by process: seconds of the kernel's clock, not of the wall's.

    python -m benchmarks.level_cost --counts 250 500 1000 2500 --levels T LT LTA
    python -m benchmarks.level_cost --busy          beside a process that keeps a second core busy

Time stamps, OCSP answers and lists come from the sandbox, which is a process of its own here as it is in a trial. Each count and
level is a batch of its own in one service, so that start and key generation are not in it. The client's own process is left out.
What grows faster than the number of documents shows as milliseconds of a document that grow with the count.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.held_folder import held_folder
from harness.invoices import write_invoices
from harness.processes import cpu_seconds
from harness.service import RunningService
from harness.visible_wishes import visible_long_term

from batchseal.client.batch import BatchBody, Wishes, find_documents
from batchseal.client.http import Client
from batchseal.client.seal import seal_batch
from batchseal.settings.client_services import ClientServices


@contextmanager
def busy(*, wanted: bool) -> Iterator[None]:
    """Keeps a core busy during the block."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(
    counts: list[int],
    levels: list[str],
    *,
    visible: bool = False,
    size_bytes: int = 200_000,
    flags: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """One entry for each level and count: documents, wall seconds until signed, and milliseconds of each part a document."""
    found = []
    with held_folder("level-cost") as folder, RunningService(*flags) as service:
        sum(1 for _ in write_invoices(folder / "in", max(counts), size_bytes))
        documents = find_documents([folder / "in"])
        services = ClientServices.load(service.services_file)
        client = Client(service.url, services.ids()[0], next(iter(services)).secret)
        for number, (level, count) in enumerate(
            [("LTA", 8), *((level, count) for level in levels for count in counts)]
        ):
            wishes = visible_long_term() if visible and level == "LT" else Wishes("Invoice issued", "Lisboa", level)
            body = BatchBody(documents[:count], f"{level} {count} {time.time_ns()}", "Level cost", wishes)
            before = cpu_seconds(service.process.pid)
            result = seal_batch(client, body, folder / "out", lambda *_: None)
            if len(result.signed) != count:
                raise RuntimeError(f"{len(result.refused)} documents were refused: {result.refused[0].cause}")
            after = cpu_seconds(service.process.pid)
            parts = {part: used - before.get(part, 0.0) for part, used in after.items() if ":" not in part}
            if number == 0:  # what each process does once
                continue
            each = {part: round(1000 * seconds / count, 2) for part, seconds in sorted(parts.items())}
            steps = {step: round(taken, 2) for step, taken in result.seconds.items()}
            found.append(
                {"level": level, "documents": count, **steps, "ms": each, "ms_all": round(sum(each.values()), 2)}
            )
            print(json.dumps(found[-1]), flush=True)
        client.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500, 1000, 2500])
    parser.add_argument("--levels", nargs="+", default=["T", "LT", "LTA"])
    parser.add_argument("--visible", action="store_true", help="LT with visible signatures, as in the main job")
    parser.add_argument("--busy", action="store_true", help="keep a core busy meanwhile")
    parser.add_argument("--size-bytes", type=int, default=200_000)
    options = parser.parse_args()
    with busy(wanted=options.busy):
        measure(options.counts, options.levels, visible=options.visible, size_bytes=options.size_bytes)


if __name__ == "__main__":
    main()
