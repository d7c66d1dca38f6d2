"""Several instances: a result from one that did not take it in, two instances against one, and how soon work is taken over.

    python -m benchmarks.several_instances            prints the figures

    foreign_result_over_own           throughput of a result from another instance, over that from the uploader, with SeaweedFS
    shared_foreign_result_over_own    the same with a folder that both instances have
    two_instances_over_one            documents a second from first byte to last, of two instances over one, which share a folder
    two_instances_cores_busy          how many cores of the machine were busy meanwhile: all of them means that they are the limit
    two_instances_service_cores       what of that the two instances took
    take_over_seconds_p50, ..._max    from kill -9 of an instance that signs until another one has its operation

The sandbox signs at once. Clients, instances, database, object store and sandbox share the machine's cores.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bodies import API
from benchmarks.end_to_end import Batch, credentials, drive, make_batch
from benchmarks.load import Target, check, unchunked
from harness.object_stores import BUCKET, SeaweedFS, store_flags
from harness.processes import TICKS, cpu_seconds
from harness.service import RunningService
from harness.several import STOPS_AT_ONCE, Several, several
from harness.waiting import until

from batchseal.settings.payload_stores import ObjectAddress

COUNT, SIZE_BYTES, ROUNDS, TAKE_OVERS = 2500, 200_000, 5, 15
# Of the comparison of two instances with one: so many clients, each of which seals one batch after the other.
CLIENTS, BATCHES_EACH, BATCH_COUNT, BATCH_BYTES = 4, 5, 500, 20_000
WAIT_SECONDS = 60
# Of taking over: an operation that takes some seconds, since a sign call takes 0.3 s and signs ten documents.
SLOW, TAKEN_OVER_COUNT = ("--latency=300", "--multisign=10"), 400
HOLDER = "SELECT lease_holder::text AS holder, finished_at IS NOT NULL AS ended FROM operations WHERE external_reference = $1"


@contextmanager
def place() -> Iterator[Path]:
    """A folder that the account of the database passes through."""
    with tempfile.TemporaryDirectory(prefix="batchseal-instances-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def pair(flags: Sequence[str] = ()) -> Iterator[tuple[Path, list[RunningService]]]:
    """Two instances, and a folder. Without `flags` they share a folder of payloads."""
    with place() as folder, several(folder, store=flags, flags=STOPS_AT_ONCE) as rig:
        yield folder, [rig.start("one"), rig.start("other")]


# --- a result from another instance --------------------------------------------------------------------------------------


def foreign_over_own(
    folder: Path, services: Sequence[RunningService], count: int, size_bytes: int, rounds: int
) -> float:
    """The median of the rounds' ratios. Both instances have read the result once before."""
    own = services[0]
    path = sealed(own, make_batch(folder, count, size_bytes))
    targets = [Target(one.port, credentials(own)) for one in services]
    for target in targets:
        fetch(target, path)
    ratios = []
    for number in range(rounds):
        took = {target.port: fetch(target, path) for target in (targets if number % 2 else reversed(targets))}
        ratios.append(took[targets[0].port] / took[targets[1].port])
    return statistics.median(ratios)


def sealed(service: RunningService, batch: Batch) -> str:
    """Has the batch signed, and returns the path of its result."""
    target, reference = Target(service.port, credentials(service)), f"bench-{time.time_ns()}"
    head = json.dumps({"externalReference": reference, "description": "Benchmark"})[:-1].encode() + b","
    check(target.post(f"{API}/async/document/sign/base64/", head=head, body=batch.body), 200)
    asked = f"{API}/async/operation/status/withExternalReference/{reference}"
    while True:
        entry = json.loads(unchunked(check(target.get(asked, f"Prefer: wait={WAIT_SECONDS}"), 200).text))[0]
        if entry["status"] == "EXECUTED":
            return f"{API}/operation/sign/detail/{entry['id']}/contentInResponse/true"
        assert entry["status"] != "EXECUTION_FAILED", entry


def fetch(target: Target, path: str) -> float:
    began = time.perf_counter()
    check(target.get(path), 200)
    return time.perf_counter() - began


# --- two instances against one -------------------------------------------------------------------------------------------


def documents_a_second(services: Sequence[RunningService], batch: Batch, each: int) -> float:
    """Each client seals so many batches at its instance, and reads their results."""

    def client(number: int) -> None:
        service = services[number % len(services)]
        for _ in range(each):
            reference = f"bench-{number}-{time.time_ns()}"
            drive(port=service.port, credentials=credentials(service), body=batch.body, reference=reference)

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return CLIENTS * each * batch.count / (time.perf_counter() - began)


def busy_seconds() -> float:
    """Processor seconds that the machine has spent on anything so far."""
    fields = [int(value) for value in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def two_over_one(
    folder: Path, services: Sequence[RunningService], count: int, size_bytes: int, each: int, rounds: int
) -> dict[str, float]:
    """In turns. An instance that has nothing to do is there all the time, in both cases."""
    batch = make_batch(folder, count, size_bytes)
    ratios, cores, own = list[float](), list[float](), list[float]()
    documents_a_second(services, batch, 1)  # what is loaded with the first request is not counted
    for number in range(rounds):
        rates = dict[int, float]()
        for used in (2, 1) if number % 2 else (1, 2):
            began, busy, before = time.perf_counter(), busy_seconds(), sum(map(spent, services))
            rates[used] = documents_a_second(services[:used], batch, each)
            if used > 1:
                seconds = time.perf_counter() - began
                cores.append((busy_seconds() - busy) / seconds)
                own.append((sum(map(spent, services)) - before) / seconds)
        ratios.append(rates[2] / rates[1])
    return {
        "two_instances_over_one": statistics.median(ratios),
        "two_instances_cores_busy": statistics.median(cores),
        "two_instances_service_cores": statistics.median(own),
        "cores": len(os.sched_getaffinity(0)),
    }


def spent(service: RunningService) -> float:
    """Processor seconds of all its processes."""
    return sum(seconds for part, seconds in cpu_seconds(service.process.pid).items() if ":" not in part)


# --- taking over ------------------------------------------------------------------------------------------------------------


def take_over(trials: int) -> dict[str, float]:
    """Each trial kills the instance that has an operation, once it has signed some of it, and starts it again afterwards."""
    with place() as folder, several(folder, *SLOW, flags=STOPS_AT_ONCE) as rig:
        services = {name: rig.start(name) for name in ("one", "other")}
        batch = make_batch(folder, TAKEN_OVER_COUNT, BATCH_BYTES)
        seconds = [seconds_until_taken_over(rig, services, batch) for _ in range(trials)]
    return {"take_over_seconds_p50": statistics.median(seconds), "take_over_seconds_max": max(seconds)}


def seconds_until_taken_over(rig: Several, services: dict[str, RunningService], batch: Batch) -> float:
    own, reference, before = services["one"], f"bench-{time.time_ns()}", rig.sandbox.signatures()
    head = json.dumps({"externalReference": reference, "description": "Benchmark"})[:-1].encode() + b","
    asked = f"{API}/async/document/sign/base64/"
    check(Target(own.port, credentials(own)).post(asked, head=head, body=batch.body), 200)
    until(lambda: rig.sandbox.signatures() > before, WAIT_SECONDS)
    holder = holder_of(rig, reference)
    name = next(name for name in services if rig.identity(name) == holder)
    services[name].kill()
    killed_at = time.perf_counter()
    until(lambda: holder_of(rig, reference) not in (holder, ""), WAIT_SECONDS, 0.05)
    seconds = time.perf_counter() - killed_at
    services[name] = rig.start(name, port=services[name].port)
    until(lambda: not holder_of(rig, reference), WAIT_SECONDS)
    return seconds


def holder_of(rig: Several, reference: str) -> str:
    """The instance that works on an operation; empty once it has ended."""
    (row,) = asyncio.run(rig.fetch(HOLDER, reference))
    return "" if row["ended"] else str(row["holder"])


# --- all of it ----------------------------------------------------------------------------------------------------------------


def measure(
    count: int = COUNT,
    size_bytes: int = SIZE_BYTES,
    rounds: int = ROUNDS,
    *,
    batch_count: int = BATCH_COUNT,
    batches_each: int = BATCHES_EACH,
    take_overs: int = TAKE_OVERS,
    with_objects: bool = True,
) -> dict[str, float]:
    """The figures. Without `take_overs`, none are about that; without objects, none need an object store."""
    found = dict[str, float]()
    with pair() as (folder, services):
        found["shared_foreign_result_over_own"] = foreign_over_own(folder, services, count, size_bytes, rounds)
        found |= two_over_one(folder, services, batch_count, BATCH_BYTES, batches_each, rounds)
    if with_objects:
        with SeaweedFS() as store:
            flags = store_flags(ObjectAddress(bucket=BUCKET, prefix="foreign", endpoint=store.url))
            with pair(flags) as (folder, services):
                found["foreign_result_over_own"] = foreign_over_own(folder, services, count, size_bytes, rounds)
    return found | (take_over(take_overs) if take_overs else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="documents of the result (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE_BYTES, help="bytes of each (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument("--take-overs", type=int, default=TAKE_OVERS, help="(default: %(default)s)")
    options = parser.parse_args()
    found = measure(options.count, options.size, options.rounds, take_overs=options.take_overs)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()
