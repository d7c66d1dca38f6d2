"""A crash in the middle of housekeeping: in the end all is purged, dropped and exported once, and nothing else is touched."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

from harness.service import RunningService
from harness.stored import stored_payloads
from tests.adversity.drills.clock import DAY, OtherClock
from tests.adversity.drills.judge import judge_result, owner
from tests.adversity.drills.registry import Figures, within
from tests.support.service import BASE, FAST, batch, documents, finished, get, post, until

READY_SECONDS, FINISHED_SECONDS = 5, 20
AGO = -500 * DAY
KEEPING = ("--document-days=31", "--audit-days=31")


def prepare(folder: Path) -> Path:
    """A service's folder with two operations of long ago and a live one, made once and copied for each trial."""
    made, clock_folder = folder / "made", folder / "clock"
    made.mkdir()
    clock_folder.mkdir()
    clock_folder.chmod(0o711)
    other = OtherClock(clock_folder)
    other.set(AGO)
    with RunningService(*FAST, f"--postgres-bin={other.postgres_programs()}", folder=made) as service:
        for reference in ("old 1", "old 2"):
            assert post(service, batch(reference, documents(3)))[0] == 200
            finished(service, reference)
        until(lambda: asyncio.run(count(service, "audit_pending")) == 0, within(10))
        other.set(0)
        assert post(service, batch("live", documents(5)))[0] == 200
        finished(service, "live")
        until(lambda: asyncio.run(count(service, "audit_pending")) == 0, within(10))
        # As after a restart of the machine: what its uptime was says nothing any more, the clock did not "jump".
        asyncio.run(execute(service, "DELETE FROM housekeeping"))
    return made


def purge_trial(made: Path, place: Path, site: str, everything: bool) -> Figures:
    copied(made, place)
    service = RunningService(*FAST, *KEEPING, folder=place)
    with crashing(site, everything), suppress(SystemExit), service:
        # Where everything is killed it may be so before the service is ready, or a moment later.
        until(
            lambda: service.process.poll() is not None if everything else b"signer ended" in log_of(place), within(15)
        )
        if not everything:
            judge_purged(service)
            return {}
    assert everything, f"{site}: {log_of(place)[-1000:].decode()}"
    assert service.process.returncode == -SIGKILL, f"{site}: {log_of(place)[-1000:].decode()}"
    began = time.monotonic()
    with RunningService(*FAST, *KEEPING, folder=place) as service:
        ready = time.monotonic() - began
        assert ready < within(READY_SECONDS), f"{site}: ready after {ready:.1f} s"
        judge_purged(service)
        return {"ready_seconds_max": ready, "finished_seconds_max": time.monotonic() - began}


def copied(made: Path, place: Path) -> None:
    """Copies a service's folder to `place`, which must not exist yet."""
    # The database's folder is another account's, where the service is root's: `-a` keeps that.
    subprocess.run(["cp", "-a", str(made), str(place)], check=True)


@contextmanager
def crashing(site: str, everything: bool) -> Iterator[None]:
    os.environ["BATCHSEAL_CRASH_AT"] = ("!" if everything else "") + site
    try:
        yield
    finally:
        os.environ.pop("BATCHSEAL_CRASH_AT", None)


def judge_purged(service: RunningService) -> None:
    """Only what is live is left of payloads and rows; the audit trail holds across what was exported; references stay taken."""
    month = time.strftime("%Y_%m", time.gmtime(time.time() + AGO))

    def left() -> list[str]:
        query = f"SELECT string_agg(relname, ' ') FROM pg_class WHERE relname IN ('documents_{month}', 'audit_{month}')"
        payloads = [str(one.id) for one in stored_payloads(service.folder / "temp")[1:]]
        return [*payloads, *(asyncio.run(fetch(service, query)) or "").split()]

    try:
        until(lambda: not left(), within(FINISHED_SECONDS), 0.2)
    except AssertionError:
        raise AssertionError(f"still there: {left()}; {log_of(service.folder)[-2000:].decode()}") from None
    live = finished(service, "live")
    judge_result(service, live.operation_id, documents(5), verified=1)
    for reference in ("old 1", "old 2"):
        old = finished(service, reference)
        assert get(service, f"{BASE}/operation/sign/detail/{old.operation_id}/contentInResponse/true")[0] == 410
        assert post(service, batch(reference, documents(3)))[0] == 409
    (exported,) = (service.folder / "work" / "audit").glob("audit-*.jsonl")
    # Two registered and two finished.
    assert len(exported.read_bytes().splitlines()) == 4
    command = [sys.executable, "-m", "batchseal.cli", "audit", "verify", "--temp-folder", str(service.folder / "temp")]
    command += ["--work-folder", str(service.folder / "work")]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def log_of(place: Path) -> bytes:
    return (place / "serve.log").read_bytes()


async def count(service: RunningService, table: str) -> int:
    return int(await fetch(service, f"SELECT count(*) FROM {table}"))


async def fetch(service: RunningService, query: str) -> Any:
    connection = await owner(service)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def execute(service: RunningService, query: str) -> None:
    connection = await owner(service)
    try:
        await connection.execute(query)
    finally:
        await connection.close()
