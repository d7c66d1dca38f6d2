"""A client service that takes all it can get: another one's small requests are never refused, and hardly slower.

How slow they are is compared with what they take beside an ordinary batch of the same client service, in the same trial.
"""

import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from pathlib import Path

from harness.service import RunningService
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.neighbours import GREEDY, Probes, Repeated, body_of, call, request, two_clients
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.adversity.drills.slow_readers import finished, reader
from tests.support.service import ASYNC, BASE, SYNC, connect, documents

PARTS = f"{SYNC.removesuffix('base64/')}"
# Beside each of the five kinds of noise, and beside the ordinary batch.
PROBES, QUICK_PROBES = 500, 25
MOST_TIMES = 2.0
WAITING, WAITED_DOCUMENTS = 400, 500
# A machine on which these tests run is seldom idle. A probe of this time is not slow, whatever it is compared with.
FAST_SECONDS = 0.25

Noise = Callable[[RunningService, int], AbstractContextManager[object]]


@drill("noisy-tenant", quick=1, short=1, long=10)
def noisy_tenant(folder: Path) -> Iterator[Trial]:
    # Temporary space for all noise before the last, which can be filled up in a moment.
    flags = ("--files-in-flight=20000", "--average-document-bytes=20000", "--workers=1")
    probes = PROBES if registry.FULL else QUICK_PROBES
    with two_clients(folder, *flags) as service:

        def trial(number: int) -> Figures:
            beside: dict[str, Probes] = {}
            for name, noise in NOISES.items():
                with noise(service, number):
                    beside[name] = Probes(service, f"{number} beside {name}").make(probes)
            refused = {name: made.refused for name, made in beside.items() if made.refused}
            assert not refused, refused
            ordinary = beside["batch"].p99
            slow = {name: round(made.p99, 3) for name, made in beside.items() if made.p99 > limit(ordinary)}
            assert not (registry.FULL and slow), f"{slow}, beside an ordinary batch {ordinary:.3f} s"
            return {f"p99_ms_beside_{name}": 1000 * made.p99 for name, made in beside.items()}

        yield trial


def limit(ordinary_seconds: float) -> float:
    return max(FAST_SECONDS, MOST_TIMES * ordinary_seconds)


def batches(service: RunningService, trial: int) -> AbstractContextManager[object]:
    """Ordinary work: one batch after the other, each fetched."""
    contents = documents(2500, 4_000)

    def work(number: int) -> None:
        _, said = call(service, GREEDY, SYNC, body_of(f"batch {trial} {number}", contents))
        assert said["status"] == "EXECUTED", str(said)[:300]

    return Repeated(work)


def readers(service: RunningService, trial: int) -> AbstractContextManager[object]:
    """All deliveries, held by callers that do not read."""
    operation = finished(service, GREEDY, f"large {trial}", documents(1, 6_000_000)[0])
    opened = ExitStack()
    for _ in range(80):
        opened.enter_context(reader(service, operation))
    return opened


def bombs(service: RunningService, trial: int) -> AbstractContextManager[object]:
    """Small documents that are large once they are inflated."""
    packed = zlib.compress(bytes((64 << 20) - 100), 9)
    bomb = (
        b"%%PDF-1.5\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>\nendobj\n"
        b"3 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>\nendobj\n"
        b"4 0 obj\n<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>\nstream\n"
        % len(packed)
        + packed
        + b"\nendstream\nendobj\ntrailer<</Root 1 0 R/Size 9>>\n"
    )
    return Repeated(lambda n: call(service, GREEDY, ASYNC, body_of(f"bombs {trial} {n}", [bomb] * 40)), threads=3)


def parts(service: RunningService, trial: int) -> AbstractContextManager[object]:
    """A body of empty parts."""
    body = b'--BB\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * 300_000 + b"--BB--\r\n"
    return Repeated(lambda _: call(service, GREEDY, PARTS, body, "multipart/form-data; boundary=BB"))


def waiting(service: RunningService, trial: int) -> AbstractContextManager[object]:
    """Callers that wait for the end of one operation, are all told at once, and wait for the next one."""
    contents = documents(WAITED_DOCUMENTS, 2_000)

    def work(number: int) -> None:
        _, said = call(service, GREEDY, ASYNC, body_of(f"waited {trial} {number}", contents))
        with ExitStack() as opened:
            callers = [opened.enter_context(connect(service)) for _ in range(WAITING)]
            for caller in callers:
                caller.sendall(request(GREEDY, "GET", f"{BASE}/operation/status/{said['id']}", Prefer="wait=20"))
            for caller in callers:
                caller.recv(12, socket.MSG_WAITALL)

    return Repeated(work)


def space(service: RunningService, trial: int) -> AbstractContextManager[object]:
    """Results that nobody fetches, until no space is left, and on."""
    contents = [documents(1, size)[0] for size in (1_400_000, 300_000, 60_000, 12_000, 2_000)]
    numbers = count()

    def work(_: int) -> list[int]:
        """Asks for space for each size, the largest first."""
        reference = f"unfetched {trial} {next(numbers)}"
        return [
            call(service, GREEDY, ASYNC, body_of(f"{reference} {len(content)}", [content]))[0] for content in contents
        ]

    until(lambda: set(work(0)) == {507}, within(120))
    return Repeated(work)


# Filling the space comes last, since what was filled stays so.
NOISES: dict[str, Noise] = {
    "batch": batches,
    "readers": readers,
    "bombs": bombs,
    "parts": parts,
    "waiting": waiting,
    "space": space,
}
