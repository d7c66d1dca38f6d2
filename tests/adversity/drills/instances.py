"""Several instances on one database: one of them stops for a while, or none can reach the database."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.invoices import invoice
from harness.service import RunningService, descendants
from harness.several import Several, several
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.service import batch, finished, get, post

DOCUMENTS, CALL_DIGESTS = 300, 20
SLOW = ("--latency=300", f"--multisign={CALL_DIGESTS}")
# Sign calls that one instance has under way at most.
CALLS_AT_ONCE = 5
FINISHED_SECONDS = 60
# Longer than a lease.
AWAY_SECONDS = 15
# In the full form an instance is stopped for at least so long. In the suite it goes on as soon as its work has ended elsewhere.
STOPPED_SECONDS = 60


def numbered(number: int, count: int = DOCUMENTS, size_bytes: int = 5_000) -> list[bytes]:
    """Documents of which no two have the same digest, in no other trial either."""
    return [invoice(number * count + one, size_bytes=size_bytes) for one in range(count)]


def rows(rig: Several, statement: str, *values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in asyncio.run(rig.fetch(statement, *values))]


def operation(rig: Several, reference: str) -> dict[str, Any]:
    statement = "SELECT o.*, o.lease_holder::text AS holder FROM operations o WHERE external_reference = $1"
    (row,) = rows(rig, statement, reference)
    return row


def instance_at(rig: Several, service: RunningService) -> str:
    """The id of an instance."""
    found = rows(rig, "SELECT instance::text FROM instances WHERE address = $1", f"127.0.0.1:{service.port}")
    return str(found[0]["instance"])


def family(service: RunningService) -> list[int]:
    return [service.process.pid, *(pid for pid, _ in descendants(service.process.pid))]


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """The processes do nothing during the block, and go on after it."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def submit(rig: Several, service: RunningService, reference: str, contents: list[bytes]) -> int:
    """Hands a request in at an instance, which has signed some of it when this returns. Returns the signatures before it."""
    before = rig.sandbox.signatures()
    assert post(service, batch(reference, contents))[0] == 200
    until(lambda: rig.sandbox.signatures() > before)
    return before


def judge_signed(rig: Several, before: int, contents: list[bytes]) -> float:
    """Nothing was signed twice but what was in the calls that were cut off. Returns how much that is."""
    twice = rig.sandbox.signatures() - before - len(contents)
    assert 0 <= twice <= CALLS_AT_ONCE * CALL_DIGESTS, f"{twice} documents were signed twice"
    assert rig.sandbox.callers_at_once() == 1, "two instances had calls of one credential under way"
    return float(twice)


@drill("instance-stopped", quick=2, short=25, long=100, apart=True, store="shared")
def instance_stopped(folder: Path) -> Iterator[Trial]:
    """An instance stops (SIGSTOP) while it signs, and goes on once another one has ended its work. It changes nothing then."""
    with several(folder, *SLOW) as rig:
        services = [rig.start("one"), rig.start("other")]

        def trial(number: int) -> Figures:
            late, heir = services[number % 2], services[1 - number % 2]
            reference, contents = f"stopped {number}", numbered(number)
            # It has the lane of the credential, else it would leave the operation to the other one at once.
            held = rows(rig, "SELECT holder::text FROM credential_lanes WHERE until > now()")
            if held and held[0]["holder"] != instance_at(rig, late):
                late, heir = heir, late
            before = submit(rig, late, reference, contents)
            began = time.monotonic()
            with stopped(family(late)):
                status = finished(heir, reference, FINISHED_SECONDS)
                judge_result(heir, status.operation_id, contents, verified=3)
                if registry.FULL:
                    time.sleep(max(0.0, STOPPED_SECONDS - (time.monotonic() - began)))
                ended, calls = written(rig, reference), rig.sandbox.sign_calls()
                stopped_for = time.monotonic() - began
            seen(rig, late)
            assert written(rig, reference) == ended, "the late one has changed something"
            more = rig.sandbox.sign_calls() - calls
            assert more <= CALLS_AT_ONCE, f"{more} calls after it went on"
            assert get(late, "/health/ready")[0] == 200
            judge_result(late, status.operation_id, contents, verified=1)
            twice = judge_signed(rig, before, contents)
            return {"signed_twice_max": twice, "late_calls_max": more, "stopped_seconds_max": stopped_for}

        yield trial


def written(rig: Several, reference: str) -> list[dict[str, Any]]:
    """All that the database keeps of an operation."""
    row = operation(rig, reference)
    documents = rows(rig, "SELECT * FROM documents WHERE operation_id = $1 ORDER BY ordinal", row["id"])
    return [row, *documents, *rows(rig, "SELECT * FROM signatures WHERE operation_id = $1 ORDER BY ordinal", row["id"])]


def seen(rig: Several, service: RunningService) -> None:
    """Waits until an instance has noted itself twice: by then it has tried to renew whatever it believed to hold."""
    instance = instance_at(rig, service)
    for _ in range(2):
        (before,) = rows(rig, "SELECT seen_at FROM instances WHERE instance = $1::text::uuid", instance)

        def noted(last: Any = before["seen_at"]) -> bool:
            (now,) = rows(rig, "SELECT seen_at FROM instances WHERE instance = $1::text::uuid", instance)
            return bool(now["seen_at"] > last)

        until(noted)


@drill("instances-without-database", quick=2, short=10, long=50, apart=True, store="shared")
def instances_without_database(folder: Path) -> Iterator[Trial]:
    """The database stops for longer than a lease. Nobody takes over what its holder goes on with."""
    with several(folder, *SLOW) as rig:
        services = [rig.start("one"), rig.start("other")]
        # Each has been there for long enough to take over what runs out.
        until(
            lambda: all(
                row["ripe"] for row in rows(rig, "SELECT may_take_over(instance, 12, 6) AS ripe FROM instances")
            )
        )

        def trial(number: int) -> Figures:
            reference, contents = f"away {number}", numbered(number)
            before = submit(rig, services[number % 2], reference, contents)
            held = operation(rig, reference)
            assert held["holder"] is not None
            with stopped(database_of(rig)):
                time.sleep(AWAY_SECONDS)
            began = time.monotonic()
            status = finished(services[0], reference, FINISHED_SECONDS)
            back = time.monotonic() - began
            assert operation(rig, reference)["fence"] == held["fence"], "another instance has taken over"
            judge_result(services[0], status.operation_id, contents, verified=3)
            assert judge_signed(rig, before, contents) == 0
            return {"finished_seconds_max": back}

        yield trial


def database_of(rig: Several) -> list[int]:
    """The processes of the database server."""
    pid = int((rig.folder / "database" / "data" / "postmaster.pid").read_text().split()[0])
    return [pid, *(child for child, _ in descendants(pid))]
