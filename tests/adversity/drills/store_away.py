"""The payload store that instances share is away in the middle of a load, or does everything wrong that a store can do."""

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from harness.service import RunningService
from harness.several import several
from harness.store_proxy import FAULTS
from harness.tools import OBJECT_STORES
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.instances import rows
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.adversity.drills.takeover import Load
from tests.support.service import BASE, batch, documents, finished, get, post
from tests.support.shared_stores import Bucket, SharedStore, shared_store

SLOW = ("--latency=200", "--multisign=20")
AWAY_SECONDS, SHORTLY_AWAY_SECONDS = 300.0, 30.0
# Within so many seconds of its return everything is finished.
FINISHED_SECONDS, BACK_SECONDS = 60.0, 50.0
JUDGED = 5
# Every so many requests to the store get the fault.
EVERY = 3
BATCHES, TAKEN_SECONDS, DELIVERED_SECONDS = 4, 90, 120


def away_in_mid_load(folder: Path, name: str) -> Iterator[Trial]:
    """Uploads are refused, the instances stay ready, and what was acknowledged is signed within a minute of the store's return.

    In turn: the store refuses connections, or the volume is not mounted; and the store neither answers nor refuses.
    """
    away = AWAY_SECONDS if registry.FULL else SHORTLY_AWAY_SECONDS

    def trial(number: int) -> Figures:
        place = folder / f"trial {number}"
        place.mkdir()
        place.chmod(0o711)
        with ExitStack() as stack:
            store = shared_store(name, place)
            stack.callback(store.back)
            rig = stack.enter_context(several(place, *SLOW, store=store.flags))
            services = [rig.start("one"), rig.start("other")]
            # The second one has several parts, so that some of them are under way at any time.
            contents = [documents(10), documents(30, size_bytes=400_000)]
            with Load(services[0], "small", contents[0]) as small, Load(services[1], "large", contents[1]) as large:
                for load in (small, large):
                    load.goes_on(BACK_SECONDS)
                store.away(frozen=number % 2 == 1)
                stay_in_the_balancer(services, store, away, batch("refused", contents[0]))
                store.back()
                returned = time.monotonic()
                back = max(load.goes_on(BACK_SECONDS) for load in (small, large))
            for load in (small, large):
                load.is_finished(FINISHED_SECONDS - (time.monotonic() - returned))
            seconds = time.monotonic() - returned
            for service, load, wanted in zip(reversed(services), (small, large), contents, strict=True):
                for reference in load.acknowledged[-JUDGED:]:
                    judge_result(service, finished(service, reference).operation_id, wanted, verified=1)
            (unsigned,) = rows(rig, "SELECT count(*) AS found FROM operations WHERE status <> 2")
            assert unsigned["found"] == 0, f"{unsigned['found']} operations are not signed"
        return {"seconds_until_acknowledged_again_max": back, "seconds_until_finished_max": seconds}

    yield trial


def stay_in_the_balancer(services: list[RunningService], store: SharedStore, seconds: float, body: bytes) -> None:
    """They live and are ready for so long; once they know that the store is away, they refuse what comes, and say so."""
    ends = time.monotonic() + seconds
    for one in services:
        until(lambda one=one: post(one, body)[0] in (503, 507), seconds)  # type: ignore[misc]
    while time.monotonic() < ends:
        for one in services:
            for path in ("/health/live", "/health/ready"):
                status, _, said = get(one, path, 20)
                assert status == 200, f"{path} answers {status} while the store {store.name} is away: {said!r}"
            status, headers, said = post(one, body)
            assert status in (503, 507), f"a request is answered with {status} while the store is away: {said[:300]!r}"
            assert int(headers["retry-after"]) > 0
        time.sleep(0.5)


for _name in ("shared", "s3"):

    def _opened(folder: Path, name: str = _name) -> Iterator[Trial]:
        return away_in_mid_load(folder, name)

    drill(
        f"store-away-{_name}",
        quick=1,
        short=2,
        long=10,
        needs=OBJECT_STORES if _name == "s3" else (),
        apart=True,
        store=_name,
    )(_opened)


def now_and_then(fault: str) -> Callable[[str, str], str]:
    calls = itertools.count(1)
    return lambda method, target: fault if next(calls) % EVERY == 0 else ""


@drill(
    "store-faults",
    quick=len(FAULTS),
    short=len(FAULTS),
    long=10 * len(FAULTS),
    needs=OBJECT_STORES,
    apart=True,
    store="s3",
)
def store_faults(folder: Path) -> Iterator[Trial]:
    """Each thing that a store can do wrong, with every third request. No wrong byte is delivered, and nothing is lost.

    An object that is wrong again and again may cost its document, but never that of somebody else.
    """
    store, contents = Bucket(folder), documents(12, size_bytes=150_000)
    with ExitStack() as stack:
        rig = stack.enter_context(several(folder, *SLOW, store=store.flags))
        stack.callback(store.back)
        services = [rig.start("one"), rig.start("other")]

        def trial(number: int) -> Figures:
            fault, done = FAULTS[number % len(FAULTS)], store.proxy.done
            references = [f"{fault} {number} {one}" for one in range(BATCHES)]
            store.proxy.fault = now_and_then(fault)
            try:
                for at, reference in enumerate(references):
                    body = batch(reference, contents)
                    # What a client does that is refused: it comes again.
                    until(lambda at=at, body=body: post(services[at % 2], body)[0] in (200, 409), TAKEN_SECONDS, 0.5)  # type: ignore[misc]
                for at, reference in enumerate(references):
                    operation_id = finished(services[at % 2], reference, DELIVERED_SECONDS).operation_id
                    # By the instance that has no copy.
                    failed = delivered(services[1 - at % 2], operation_id, contents)
                    assert not failed or fault in ("wrong", "truncated"), f"{fault}: {failed} documents failed"
            finally:
                store.back()
            for at, reference in enumerate(references):
                status = finished(services[at % 2], reference)
                if status.status == "EXECUTED":
                    until(lambda: delivers(services[0]) and delivers(services[1]))
                    judge_result(services[1 - at % 2], status.operation_id, contents, verified=1)
                else:
                    assert fault in ("wrong", "truncated"), f"{fault}: {reference} is {status.status}"
            return {"faults_max": store.proxy.done - done}

        yield trial


def delivers(service: RunningService) -> bool:
    """Whether it knows that the store is back."""
    return b"payload store is away" not in get(service, "/health/ready")[2]


def delivered(service: RunningService, operation_id: int, contents: list[bytes]) -> int:
    """Asks for the result until it comes. Each document is right, or has failed; returns how many have."""
    path = f"{BASE}/operation/sign/detail/{operation_id}/contentInResponse/true"
    answer: list[bytes] = []

    def comes() -> bool:
        status, _, said = get(service, path, 120)
        assert status in (200, 503, 0), f"a result is answered with {status}: {said[:300]!r}"
        answer[:] = [said]
        return status == 200

    until(comes, DELIVERED_SECONDS, 0.5)
    entries = json.loads(answer[0])["documentList"]
    assert len(entries) == len(contents)
    failed = 0
    for number, (entry, original) in enumerate(zip(entries, contents, strict=True)):
        if entry["signStatus"] == "SIGNED":
            signed = base64.b64decode(entry["signedContent"])
            assert signed.startswith(original), f"document {number} does not begin with its original"
        else:
            failed += 1
    return failed
