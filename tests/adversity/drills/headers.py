"""Requests whose headers never end, or never begin, while others go on."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.processes import family
from harness.service import RunningService
from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import FAST, batch, documents, finished, get, post, until

CONNECTIONS = 1000
HEADER_BYTES = 390_000
MOST_BYTES = 40_000_000
# The rate of a full network of 1 Gbit/s. Over loopback a sender is faster than anybody can look.
NETWORK_BYTES_PER_SECOND = 125_000_000
PROBES = 40
PROBE_SECONDS = 1.0
# How soon a flood that was sent at once holds no more than MOST_BYTES, and a quarter of it once its connections are closed.
SETTLED_SECONDS = 2.0
AFTER_SECONDS = 15.0
SAMPLE_SECONDS = 0.005
# So much may wait for the worker in the suite, at every so many connections.
MOST_UNREAD_BYTES, UNREAD_EVERY = 8_000_000, 20


@dataclass(frozen=True, slots=True)
class Flood:
    """What each connection sends, `first` before `sent`, and from how many addresses. `rate` is in bytes a second."""

    name: str
    addresses: int
    sent: bytes
    first: bytes = b""
    rate: int = 0


START = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
LARGE = START + b"X: " + b"a" * HEADER_BYTES
FLOODS = (
    Flood("at the rate of a network", 1, LARGE, rate=NETWORK_BYTES_PER_SECOND),
    Flood("at once", 1, LARGE),
    Flood("at once, from 200 addresses", 200, LARGE),
    Flood("behind a whole request", 3, LARGE, first=START + b"\r\n", rate=NETWORK_BYTES_PER_SECOND),
    Flood("small headers", 200, START + b"X: " + b"a" * 6_000),
    Flood("silent", 200, b""),
)


@drill("header-flood", quick=2, short=12, long=120)
def header_flood(folder: Path) -> Iterator[Trial]:
    """In turn each of the floods: 1,000 connections cost at most 40 MB, others are answered, and a batch beside it is signed."""
    contents = documents(20)
    with RunningService(*FAST, "--workers=1", folder=folder) as service:
        [worker] = [pid for pid, part in family(service.process.pid) if part == "worker"]
        assert post(service, batch("before", contents))[0] == 200
        finished(service, "before")

        def trial(number: int) -> Figures:
            flood = FLOODS[number % len(FLOODS)]
            settled = at_rest(worker)
            with ExitStack() as open_connections, Sampler(worker) as sampler:
                register = threading.Thread(target=lambda: post(service, batch(f"beside {number}", contents)))
                register.start()
                send(service, flood, open_connections)
                times = [probe(service) for _ in range(PROBES)]
                register.join()
                # What is sent at once is more for a moment than what may stay.
                seconds = until(lambda: resident_bytes(worker) - settled <= MOST_BYTES, within(SETTLED_SECONDS))
                assert finished(service, f"beside {number}").status == "EXECUTED"
            assert max(times) < within(PROBE_SECONDS), f"{flood.name}: a health probe took {max(times):.2f} s"
            peak = sampler.most_bytes - settled
            if flood.rate:
                assert peak <= MOST_BYTES, f"{flood.name}: {peak / 1e6:.0f} MB at the peak"
            until(lambda: resident_bytes(worker) - settled < MOST_BYTES / 4, within(AFTER_SECONDS))
            kind = "at_network_rate" if flood.rate else "at_once"
            return {
                "seconds_until_bounded_max": seconds,
                f"peak_mb_{kind}_max": peak / 1e6,
                "probe_ms_max": 1000 * max(times),
            }

        yield trial


def send(service: RunningService, flood: Flood, stack: ExitStack) -> None:
    """Opens the connections and sends on each; what is cut meanwhile stays cut.

    After a pause of this process nothing is made up for: it would come at once. In the suite a worker that gets no processor for
    a while is waited for, or it would get all at once that a network would have brought meanwhile.
    """
    due = time.monotonic()
    for number in range(CONNECTIONS):
        due = max(due, time.monotonic()) + (len(flood.sent) / flood.rate if flood.rate else 0.0)
        source = (f"127.0.1.{1 + number % flood.addresses}", 0)
        one = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), within(10), source))
        with suppress(OSError):
            if flood.first:
                one.sendall(flood.first)
            one.sendall(flood.sent)
        if flood.rate:
            time.sleep(max(0.0, due - time.monotonic()))
            if not registry.FULL and number % UNREAD_EVERY == 0:
                until(lambda: unread_bytes(service.port) <= MOST_UNREAD_BYTES, within(10), SAMPLE_SECONDS)


def unread_bytes(port: int) -> int:
    """What the kernel holds of connections to a local port that nobody has read yet (proc(5), `net/tcp`)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(int(one[4].partition(":")[2], 16) for one in lines if one[1].endswith(f":{port:04X}"))


def probe(service: RunningService) -> float:
    """How many seconds a health probe takes. It comes from another address than any flood."""
    began = time.monotonic()
    assert get(service, "/health/live", within(10))[0] == 200
    return time.monotonic() - began


def at_rest(pid: int) -> int:
    """The memory of a process, once it has given back what the trial before needed."""
    last = [resident_bytes(pid)]

    def is_steady() -> bool:
        last.append(resident_bytes(pid))
        return abs(last[-1] - last[-2]) < 500_000

    until(is_steady, within(15), 0.5)
    return last[-1]


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Sampler:
    """The most memory of a process during a block, looked at all the time."""

    def __init__(self, pid: int, size: Callable[[int], int] = resident_bytes) -> None:
        self.most_bytes = 0
        self._pid, self._size = pid, size
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.most_bytes = max(self.most_bytes, self._size(self._pid))
