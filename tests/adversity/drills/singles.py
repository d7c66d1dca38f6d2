"""The crash drills once more while callers wait for single documents, whose payloads share segments.

The sandbox goes on when the service is killed, as a signing service does, so its count says whether a document was signed twice.
"""

import asyncio
import base64
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from harness.sandbox import Sandbox, running_sandbox
from harness.service import RunningService
from harness.stored import stored_payloads
from harness.tools import SMALL_VOLUME
from tests.adversity.drills.crashes import (
    FINISHED_SECONDS,
    READY_SECONDS,
    Answer,
    after_a_first_start,
    crashed,
    judge_ended,
    made,
)
from tests.adversity.drills.judge import judge_result, judge_signatures, judge_stored, owner, result_of
from tests.adversity.drills.load import CALLERS, Singles, signed_contents
from tests.adversity.drills.power import Cut, power_cuts
from tests.adversity.drills.purging import copied, crashing
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import SYNC, batch, documents, finished, post, until

# A request of one document passes these places so often before the next one comes.
PASSED_BEFORE = {
    "payload-created": 1,
    "payload-appended": 3,
    "payload-committed": 1,
    "registered": 1,
    "signatures-unrecorded": 1,
    "finish-uncommitted": 1,
    "finished": 1,
}
# Here the signature has come, and is stored nowhere: it may be asked for again.
UNSTORED = ("signatures-unrecorded", "finish-uncommitted")
# By then the callers' payloads lie in segments.
CUT_SITES = tuple(f"!{site}:{passed * 10}" for site, passed in PASSED_BEFORE.items())


@dataclass(frozen=True, slots=True)
class Outside:
    """A sandbox outside of the service."""

    sandbox: Sandbox

    def start(self, *flags: str, folder: Path) -> RunningService:
        service = RunningService(
            f"--service-domain={self.sandbox.address}",
            f"--client-services-file={self.sandbox.services}",
            *flags,
            folder=folder,
        )
        service.services_file, service.root = self.sandbox.services, self.sandbox.root
        return service


@contextmanager
def outside(folder: Path, *options: str) -> Iterator[Outside]:
    """`folder` is a new one, for the sandbox's keys; `options` are those of the sandbox."""
    folder.mkdir()
    with (
        (folder / "sandbox.log").open("wb") as log,
        running_sandbox(folder, "--credential=p256", *options, log=log) as sandbox,
    ):
        yield Outside(sandbox)


@drill("kill-random-singles", quick=1, short=30, long=300)
def kill_random_singles(folder: Path) -> Iterator[Trial]:
    """Everything is killed while callers wait. What they got is kept as they got it, and the rest they can hand in again."""
    chance = random.Random(15)
    with outside(folder / "sandbox", "--latency=20") as place:

        def trial(number: int) -> Figures:
            own, before = made(folder / f"random {number}"), place.sandbox.signatures()
            with place.start(folder=own) as service:
                load = load_on(service)
                time.sleep(chance.uniform(0.0, 2.5))
                service.kill()
                load.end()
                load.join()
            began = time.monotonic()
            with place.start(folder=own) as service:
                ready = time.monotonic() - began
                assert ready < within(READY_SECONDS), f"ready after {ready:.1f} s"
                figures = judge_singles(place.sandbox, before, service, load)
                judge_stored(service, len(load.sent), 1)
            judge_ended(own)
            shutil.rmtree(own, ignore_errors=True)
            return {"ready_seconds_max": ready, **figures}

        yield trial


@drill("kill-sites-singles", quick=len(PASSED_BEFORE), short=30, long=100)
def kill_sites_singles(folder: Path) -> Iterator[Trial]:
    """Each place that a request passes, in turn: in one round everything ends there, in the next the process alone.

    A request before it, whose payload is a file, has the segment made.
    """
    contents = documents(1, size_bytes=200_000)
    fresh = after_a_first_start(folder)

    def judge(service: RunningService) -> None:
        for reference in ("before", "site"):
            again(service, reference, contents)
            judge_result(service, finished(service, reference, within(FINISHED_SECONDS)).operation_id, contents)
        judge_stored(service, 2, 1)
        judge_references(service, {"before", "site"})

    with outside(folder / "sandbox") as outer:

        def trial(number: int) -> Figures:
            site, passed = list(PASSED_BEFORE.items())[number % len(PASSED_BEFORE)]
            everything = number // len(PASSED_BEFORE) % 2 == 0
            place, before = folder / f"single {number}", outer.sandbox.signatures()
            copied(fresh, place)
            service = outer.start("--workers=1", folder=place)
            with crashing(f"{site}:{passed + 1}", everything), suppress(SystemExit), service:
                assert post(service, batch("before", contents), SYNC)[0] == 200
                until(
                    lambda: any(path.stat().st_size for path in (place / "temp" / "spill").glob("*.segment")),
                    within(10),
                )
                answer: Answer | None = None
                with suppress(ConnectionError):
                    answer = post(service, batch("site", contents), SYNC)
                crashed(service, everything, answer)
                if not everything:
                    judge(service)
            if everything:
                assert service.process.returncode == -SIGKILL, f"{site}: {service.log.read_bytes()[-1000:]!r}"
                judge_ended(place)
                began = time.monotonic()
                with outer.start(folder=place) as service:
                    ready = time.monotonic() - began
                    assert ready < within(READY_SECONDS), f"{site}: ready after {ready:.1f} s"
                    judge(service)
            judge_ended(place)
            shutil.rmtree(place, ignore_errors=True)
            more = outer.sandbox.signatures() - before - 2
            assert 0 <= more <= (site in UNSTORED), f"{site}: {more} more signatures than documents"
            return {"signed_again_max": more}

        yield trial


@drill("unsynced-singles", quick=1, short=30, long=200, needs=SMALL_VOLUME)
def unsynced_singles(folder: Path) -> Iterator[Trial]:
    """The disk is left with what was synced, and with some pages of segments that were not."""
    yield from cut_singles(folder)


@drill("power-cut-singles", quick=1, short=30, long=200, needs=SMALL_VOLUME)
def power_cut_singles(folder: Path) -> Iterator[Trial]:
    """The disk is left with what was synced, and with nothing else."""
    yield from cut_singles(folder, written_back=0.0)


def cut_singles(folder: Path, written_back: float = 0.5) -> Iterator[Trial]:
    with outside(folder / "sandbox", "--latency=20") as outer:
        before = [0]

        def start(place: Path) -> RunningService:
            return outer.start(folder=place)

        def load(service: RunningService) -> Singles:
            before[:] = [outer.sandbox.signatures()]
            return load_on(service)

        def judge(service: RunningService, load: Singles) -> Figures:
            return judge_singles(outer.sandbox, before[0], service, load)

        yield from power_cuts(folder, Cut(start, load, judge, CUT_SITES, written_back))


def load_on(service: RunningService) -> Singles:
    """Callers whose payloads lie in segments by now, one of which has reached the disk, if the service is still there."""

    def wait_for(condition: Callable[[], object]) -> None:
        until(lambda: condition() or service.process.poll() is not None, within(FINISHED_SECONDS))

    load = Singles(service)
    wait_for(lambda: in_segments(service))
    before = set(load.results)
    # Whichever caller has that payload: its payload is on the disk when the caller has its result.
    wait_for(lambda: len({reference.split()[1] for reference in set(load.results) - before}) == CALLERS)
    return load


def in_segments(service: RunningService) -> bool:
    return any(one.path.suffix == ".segment" for one in stored_payloads(service.folder / "temp"))


def judge_singles(sandbox: Sandbox, before: int, service: RunningService, load: Singles) -> Figures:
    """What callers got is as they got it; what they got no answer for ends when they send it again; nothing is signed twice.

    `before` is how many signatures the sandbox had made when the load began. Only what nobody was told of may be signed again.
    """
    assert in_segments(service), "no payload is in a segment"
    for reference, signed in load.results.items():
        status = finished(service, reference, within(FINISHED_SECONDS))
        assert signed_contents(result_of(service, status.operation_id)) == signed, f"{reference}: another result"
        assert base64.b64decode(signed[0]).startswith(load.sent[reference]), (
            f"{reference}: its original is not a prefix"
        )
    unanswered = load.unanswered
    for reference, content in unanswered.items():
        again(service, reference, [content])
        status = finished(service, reference, within(FINISHED_SECONDS))
        judge_result(service, status.operation_id, [content])
    judge_references(service, set(load.sent))
    judge_signatures(service, len(load.sent), 1)
    more = sandbox.signatures() - before - len(load.sent)
    assert 0 <= more <= len(unanswered), f"{more} more signatures, although {len(unanswered)} callers got no answer"
    return {
        "answered_max": len(load.results),
        "unanswered_max": len(unanswered),
        "signed_again_max": more,
    }


def again(service: RunningService, reference: str, contents: list[bytes]) -> None:
    """What a caller does that got no answer: it sends the request again, until it is answered or told that it is known.

    An operation that lost its documents fails, and the next request must bring them again: no reference stays taken by it.
    """

    def answered() -> bool:
        with suppress(ConnectionError):
            status = post(service, batch(reference, contents), SYNC)[0]
            return status == 200 or (
                status == 409 and finished(service, reference, within(FINISHED_SECONDS)).status != "EXECUTION_FAILED"
            )
        return False

    until(answered, within(FINISHED_SECONDS), 0.2)


def judge_references(service: RunningService, sent: set[str]) -> None:
    """Each reference that was sent is taken, by an operation that its caller can ask for; no other one is taken."""
    statement = "SELECT r.external_reference FROM external_references r {} operations o ON o.id = r.operation_id"
    taken = asyncio.run(column(service, statement.format("LEFT JOIN")))
    assert sorted(taken) == sorted(sent), f"taken beside what was sent: {set(taken) - sent}; lost: {sent - set(taken)}"
    assert sorted(asyncio.run(column(service, statement.format("JOIN")))) == sorted(sent), "taken by no operation"


async def column(service: RunningService, statement: str) -> list[str]:
    connection = await owner(service)
    try:
        return [record[0] for record in await connection.fetch(statement)]
    finally:
        await connection.close()
