"""A rolling restart: one instance after the other stops and starts again behind HAProxy, and no client sees anything of it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.service import RunningService
from harness.several import Several, several
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.balancers import Balancer, haproxy
from tests.support.mixed_calls import add_stranger, callers_of
from tests.support.service import batch, documents, finished, post
from tests.support.traffic import Paced, Traffic

# Calls carry so few digests and take so long that uploads are signed more slowly than they come: there is always one to poll for.
# Each has a grant of its own, which takes as long, and four are under way: 67 documents a second.
SLOW = ("--latency=600", "--multisign=20")
POLL_SECONDS = 30
UNDER_WAY_SECONDS, FINISHED_SECONDS = 120, 300
UPLOADERS, POLLERS = 2, 4


@dataclass(frozen=True, slots=True)
class Size:
    """How much goes on. Times are in seconds."""

    small_requests_a_second: float
    callers: int
    upload_documents: int
    upload_seconds: float
    download_seconds: float
    stop_seconds: int


QUICK = Size(10, 4, 150, 10, 8, 60)
# What is under way has all but 9 of the seconds of a stop, and an upload takes 60.
FULL = Size(50, 24, 2_500, 60, 30, 100)


@drill("rolling-restart", quick=1, short=1, long=5, needs=("haproxy",), apart=True, store="shared")
def rolling_restart(folder: Path) -> Iterator[Trial]:
    """Small requests on connections that are kept alive, uploads, long polls and slow downloads are under way all the time."""
    size = FULL if registry.FULL else QUICK

    def trial(number: int) -> Figures:
        place = folder / f"trial {number}"
        place.mkdir()
        place.chmod(0o711)
        with several(place, *SLOW) as rig:
            add_stranger(rig.sandbox.services)
            flags = *rig.roles, f"--stop-seconds={size.stop_seconds}"
            services = {name: rig.start(name, *flags) for name in ("one", "other")}
            with haproxy(place, *(one.port for one in services.values())) as balancer:
                return restart(rig, services, flags, balancer, size)

    yield trial


def restart(
    rig: Several, services: dict[str, RunningService], flags: Sequence[str], balancer: Balancer, size: Size
) -> Figures:
    """All instances, one after the other, under traffic."""
    first, longest = services["one"], 0.0
    archive, uploaded = documents(60, size_bytes=200_000), documents(size.upload_documents, size_bytes=12_000)
    assert post(first, batch("archive", archive))[0] == 200
    delivered = finished(first, "archive", FINISHED_SECONDS).operation_id
    pace = Paced(size.small_requests_a_second)
    address = f"http://127.0.0.1:{balancer.port}"
    callers = callers_of(rig, services, size.callers, "small", balancer=address, pace=pace)
    began = time.monotonic()
    with ExitStack() as connections, Traffic(balancer.port, first) as traffic:
        for caller in callers:
            connections.callback(caller.close)
        traffic.small_requests(callers)
        traffic.uploads(uploaded, size.upload_seconds, UPLOADERS)
        traffic.long_polls(POLL_SECONDS, POLLERS)
        traffic.downloads(delivered, archive, size.download_seconds)
        until(lambda: all(traffic.done.values()), UNDER_WAY_SECONDS)  # each kind has come to its end once
        for name, service in services.items():
            stopped = time.monotonic()
            service.process.terminate()
            assert service.process.wait(size.stop_seconds + 60) == 0, f"{name} did not end in order"
            services[name] = rig.start(name, *flags, port=service.port)
            longest = max(longest, time.monotonic() - stopped)
        before = dict(traffic.done)
        until(lambda: all(traffic.done[kind] > before[kind] for kind in before), UNDER_WAY_SECONDS)
    calls, seconds = sum(sum(caller.calls.values()) for caller in callers), time.monotonic() - began
    again = sum(caller.sent_again for caller in callers)
    assert not traffic.wrong, f"{len(traffic.wrong)} requests failed, such as {traffic.wrong[0]}"
    assert again == 0, f"{again} connections that were kept alive had been closed"
    for name, service in services.items():
        for reference, count in traffic.uploaded:
            status = finished(service, reference, FINISHED_SECONDS)
            assert (status.status, status.documents_done) == ("EXECUTED", count), f"{reference} at {name}: {status}"
        judge_result(service, status.operation_id, uploaded, verified=2)
    return {
        "failed_requests_max": len(traffic.wrong),
        "small_requests_max": calls,
        "small_requests_a_second_max": calls / seconds,
        "uploads_max": len(traffic.uploaded),
        "longest_poll_seconds_max": traffic.longest_poll_seconds,
        "restart_seconds_max": longest,
    }
