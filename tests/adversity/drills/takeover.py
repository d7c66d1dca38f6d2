"""The database as others run it: its standby takes over, or it is away, while requests come."""

import asyncio
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from harness.service import RunningService
from harness.several import several
from harness.tools import OLDER_POSTGRES
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support import haproxy
from tests.support.servers import Server, one_server, promote, two_servers
from tests.support.service import FAST, batch, documents, finished, get, post

CALLERS, DOCUMENTS = 3, 10
FIRST = 10  # operations that are acknowledged before anything happens
AWAY_SECONDS, SHORTLY_AWAY_SECONDS = 300.0, 8.0
# Within so many seconds of its return everything is finished.
FINISHED_SECONDS = 60.0
BACK_SECONDS = 30.0
# The operation that a line of the log is about.
OPERATION = re.compile(r'"operation": ?(\d+)')


class Load:
    """Hands in batches, one after the other in each thread, and remembers those that were acknowledged."""

    def __init__(self, service: RunningService, name: str = "load", contents: Sequence[bytes] = ()) -> None:
        """The references of the batches begin with `name`."""
        self.acknowledged: list[str] = []
        self._name, self._contents = name, contents or documents(DOCUMENTS)
        self._service, self._numbers = service, count()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CALLERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            reference = f"{self._name} {next(self._numbers)}"
            with suppress(OSError):
                if post(self._service, batch(reference, self._contents))[0] == 200:
                    self.acknowledged.append(reference)

    def goes_on(self, seconds: float) -> float:
        """Returns when as many more as FIRST are acknowledged, with the seconds until then."""
        before = len(self.acknowledged)
        return until(lambda: len(self.acknowledged) >= before + FIRST, seconds)

    def is_finished(self, seconds: float) -> float:
        """Everything that was acknowledged is signed within `seconds`. Returns how long that took."""
        began = time.monotonic()
        for reference in self.acknowledged:
            status = finished(self._service, reference, max(1, seconds - (time.monotonic() - began)))
            assert status.status == "EXECUTED", f"{reference}: {status}"
        return time.monotonic() - began


@contextmanager
def serving(address: str, owner: str, folder: Path) -> Iterator[RunningService]:
    (folder / "urls").mkdir()
    for name, url in (("service", address), ("owner", owner)):
        (folder / "urls" / name).write_text(url)
    files = (
        f"--database-url-file={folder / 'urls' / 'service'}",
        f"--database-owner-url-file={folder / 'urls' / 'owner'}",
    )
    (folder / "service").mkdir()
    with RunningService(*FAST, "--workers=2", *files, folder=folder / "service") as service:
        yield service


def lives(service: RunningService, seconds: float) -> None:
    """The service says that it lives, for so long."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert get(service, "/health/live", 10)[0] == 200
        time.sleep(0.2)


def taken_over(services: Sequence[RunningService]) -> list[str]:
    """What the instances log of operations that one gave up while it worked on them, and that another one ended.

    An instance whose own commit was made, but not answered, gives the operation up too; then no other one ends it.
    """
    logs = [service.log.read_text("utf-8", "replace").splitlines() for service in services]
    told = [(number, line, OPERATION.search(line)) for number, lines in enumerate(logs) for line in lines]
    given_up = {(found[1], number) for number, line, found in told if found and "gave an operation up" in line}
    ended = {(found[1], number): line for number, line, found in told if found and "operation finished" in line}
    return [
        line
        for (operation, number), line in ended.items()
        if any(one == operation and by != number for one, by in given_up)
    ]


@drill("standby-promoted", quick=2, short=5, long=20, needs=(*OLDER_POSTGRES, "haproxy"), apart=True, store="shared")
def standby_promoted(folder: Path) -> Iterator[Trial]:
    """A synchronous standby takes over, and the old primary answers read-only. In turn: behind HAProxy, and with both hosts in
    the address. Nothing that was acknowledged is lost, and neither of two instances takes over what the other one works on.
    """

    def trial(number: int) -> Figures:
        place = folder / str(number)
        place.mkdir(mode=0o711)
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            try:
                primary, standby = runner.run(stack.enter_async_context(two_servers()))
                ports = [primary.port, standby.port]
                if number % 2 == 0:
                    ports = [runner.run(stack.enter_async_context(haproxy.before((primary, standby), place)))]
                hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
                address = f"postgresql://batchseal:first@{hosts}/batchseal"
                owner = f"postgresql://batchseal_owner@{hosts}/batchseal"
                with several(place, url=owner) as rig:
                    roles = f"--database-url={address}", f"--database-owner-url={owner}"
                    services = [rig.start(name, *roles) for name in ("one", "other")]
                    with Load(services[0], "one") as one, Load(services[1], "other") as other:
                        loads = one, other
                        for load in loads:
                            load.goes_on(BACK_SECONDS)
                        runner.run(promote(standby, primary))
                        promoted = time.monotonic()
                        for load in loads:
                            load.goes_on(BACK_SECONDS)
                        back = time.monotonic() - promoted
                    began = time.monotonic()
                    for load in loads:
                        load.is_finished(FINISHED_SECONDS - (time.monotonic() - began))
                    seconds = time.monotonic() - began
                    assert not (lines := taken_over(services)), f"an instance took over living work: {lines}"
                return {"seconds_until_acknowledged_again_max": back, "seconds_until_finished_max": seconds}
            finally:
                runner.run(stack.aclose())

    yield trial


@drill("database-stopped", quick=2, short=2, long=10, needs=OLDER_POSTGRES, apart=True, store="local")
def database_stopped(folder: Path) -> Iterator[Trial]:
    """The database is away for five minutes (in the suite for seconds) under load. In turn: it is shut down, and it is frozen,
    so that it neither answers nor refuses. Everything that was acknowledged is signed within a minute of its return.
    """
    away = AWAY_SECONDS if registry.FULL else SHORTLY_AWAY_SECONDS

    def trial(number: int) -> Figures:
        place = folder / str(number)
        place.mkdir(mode=0o711)
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            try:
                server: Server = runner.run(stack.enter_async_context(one_server()))
                with serving(server.url(), server.url("batchseal_owner"), place) as service:
                    with Load(service) as load:
                        load.goes_on(BACK_SECONDS)
                        if number % 2 == 0:
                            runner.run(server.stop())
                            lives(service, away)
                            runner.run(server.start())
                        else:
                            server.send(signal.SIGSTOP)
                            lives(service, away)
                            server.send(signal.SIGCONT)
                        back = load.goes_on(BACK_SECONDS)
                    seconds = load.is_finished(FINISHED_SECONDS)
                return {"seconds_until_acknowledged_again_max": back, "seconds_until_finished_max": seconds}
            finally:
                runner.run(stack.aclose())

    yield trial
