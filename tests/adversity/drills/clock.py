"""Another time: of the service's processes, or of the database's (`other_clock.c`, preloaded, as libfaketime is)."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL

from harness.service import RunningService, descendants
from tests.adversity.drills.judge import judge_result, judge_stored
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.service import FAST, batch, documents, finished, get, post, until

from batchseal.postgres.account import choose_account
from batchseal.postgres.programs import find_programs, programs_for

HOUR, DAY = 3600, 86_400
# Where the clock stands, against the true one, step by step. A little over an hour, since that is what must be noticed.
BACK_AND_FORTH = (-HOUR - 60, HOUR + 60, 0)
YEAR_ON = (400 * DAY,)
TRIALS = [(part, steps) for steps in (BACK_AND_FORTH, YEAR_ON) for part in ("service", "postgres")]
LOOK_SECONDS = 20


class OtherClock:
    """A shared object, and a file that tells it the seconds by which the wall clock is off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library, self._told = folder / "other_clock.so", folder / "other_clock.seconds"
        source = Path(__file__).with_name("other_clock.c")
        command = ["gcc", "-shared", "-fPIC", "-O1", str(source), "-o", str(self._library), "-ldl"]
        subprocess.run(command, check=True)
        self._library.chmod(0o755)
        self.set(0)
        self._told.chmod(0o644)

    def set(self, seconds: int) -> None:
        # In one write to the same file: whoever reads sees the old time or the new one.
        descriptor = os.open(self._told, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(descriptor, f"{seconds:<31}".encode(), 0)
        os.close(descriptor)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "OTHER_CLOCK": str(self._told)}

    @contextmanager
    def for_new_processes(self) -> Iterator[None]:
        """Those that are started now have this clock; the embedded database has an environment of its own, and has not."""
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in self.environment:
                del os.environ[name]

    def postgres_programs(self) -> Path:
        """The embedded database's programs behind scripts that set its environment."""
        # A copy, where the database's account does not reach them: the scripts are run by it.
        real = programs_for(choose_account(self._folder), find_programs(None), self._folder).folder
        place = self._folder / "bin"
        place.mkdir()
        exports = "".join(f"export {name}='{value}'\n" for name, value in self.environment.items())
        for name in ("postgres", "initdb"):
            script = place / name
            # `initdb` looks for `postgres` beside itself, and takes a clock as it is.
            what = f"exec '{real / name}' \"$@\"\n"
            script.write_text(f"#!/bin/sh\n{exports if name == 'postgres' else ''}{what}")
            script.chmod(0o755)
        return place


def has_other_clock(pid: int) -> bool:
    return "other_clock.so" in Path(f"/proc/{pid}/maps").read_text("utf-8", "replace")


@drill("clock", quick=0, short=4, long=40, needs=("gcc",))
def clock(folder: Path) -> Iterator[Trial]:
    """An hour back and forth, then 400 days on, while operations run: of the service, then of the database."""
    contents = documents(60)

    def trial(number: int) -> Figures:
        part, steps = TRIALS[number % len(TRIALS)]
        place = folder / f"clock-{number}"  # a space would end its path in LD_PRELOAD
        (place / "service").mkdir(parents=True)
        place.chmod(0o711)
        other = OtherClock(place)
        flags = (*FAST, "--sandbox-latency=100", "--sandbox-multisign=10")
        if part == "postgres":
            running = RunningService(*flags, f"--postgres-bin={other.postgres_programs()}", folder=place / "service")
            running.__enter__()
        else:
            with other.for_new_processes():
                running = RunningService(*flags, folder=place / "service")
                running.__enter__()
        try:
            seconds = jump(running, other, steps, contents, part)
        finally:
            running.__exit__(None, None, None)
        shutil.rmtree(place, ignore_errors=True)
        return {"jumps": len(steps), "seconds_until_said_max": seconds}

    yield trial


def jump(service: RunningService, other: OtherClock, steps: tuple[int, ...], contents: list[bytes], part: str) -> float:
    """Operations run through every step. The seconds until a jump of the database's clock stood in the log."""
    pid = int((service.folder / "temp" / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    assert has_other_clock(pid) == (part == "postgres")
    assert has_other_clock(service.process.pid) == (part == "service")
    operations, waited = [], 0.0
    for count, seconds in enumerate(steps):
        reference = f"step {count}"
        assert post(service, batch(reference, contents))[0] == 200
        time.sleep(0.3)
        other.set(seconds)
        operations.append(finished(service, reference, 60))
        look_now(service)
        if part == "postgres":
            waited = max(waited, until(lambda n=count: jumps_said(service) > n, LOOK_SECONDS, 0.2))  # type: ignore[misc]
    assert post(service, batch("after", contents))[0] == 200
    operations.append(finished(service, "after", 60))
    # One round more: what has had its time by the new clock stays all the same.
    look_now(service)
    time.sleep(3)
    for status in operations:
        assert status.status == "EXECUTED", status
        judge_result(service, status.operation_id, contents, verified=0)
    judge_stored(service, len(operations), len(contents))
    said = service.log.read_bytes()
    assert b"gave an operation up" not in said, "two held one lease"
    assert b"payloads purged" not in said, "a payload was purged by a clock that jumped"
    return waited


def look_now(service: RunningService) -> None:
    """Housekeeping has a round a minute, and one when its process begins."""
    restarts = service.log.read_bytes().count(b"signer ended")
    os.kill(
        next(pid for pid, command in descendants(service.process.pid) if "batchseal.app\0signer" in command), SIGKILL
    )
    until(lambda: service.log.read_bytes().count(b"signer ended") > restarts, 10)
    until(lambda: get(service, "/health/ready")[0] == 200, 20)


def jumps_said(service: RunningService) -> int:
    return service.log.read_bytes().count(b"clock jumped")
