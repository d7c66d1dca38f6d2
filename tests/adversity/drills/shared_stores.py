"""The drills with kill -9 once more, with a payload store that several instances share."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.object_stores import store_flags
from harness.service import RunningService
from harness.several import shared_folder
from tests.adversity.drills.crashes import (
    FINISHED_SECONDS,
    HOUSEKEEPING_SITES,
    READY_SECONDS,
    RECORD_SITES,
    SITES,
    SLOW,
    Job,
    after_a_first_start,
    judge_ended,
    made,
    signing_trial,
)
from tests.adversity.drills.judge import judge_result, judge_signatures
from tests.adversity.drills.purging import copied
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.object_stores import new_prefix, proxied
from tests.support.service import batch, documents, finished, multipart, post

# Housekeeping and evidence records are the same with every store.
PASSED = [site for site in SITES if site not in HOUSEKEEPING_SITES + RECORD_SITES]

# The flags of a service whose folder is given: each trial has a place of its own in the store.
FlagsOf = Callable[[Path], tuple[str, ...]]


def in_a_folder(place: Path) -> tuple[str, ...]:
    return (shared_folder(place.with_name(f"{place.name} volume")),)


def in_an_object_store() -> FlagsOf:
    """In SeaweedFS, which fsyncs what it acknowledges. It goes on while the service is killed."""
    proxy, known = proxied("seaweedfs"), dict[Path, tuple[str, ...]]()

    def flags(place: Path) -> tuple[str, ...]:
        if place not in known:
            known[place] = store_flags(new_prefix(proxy))
        return known[place]

    return flags


def random_kills(folder: Path, flags_of: FlagsOf) -> Iterator[Trial]:
    """Everything is killed between the acknowledgement and the end. The payload has several parts."""
    contents = documents(500, size_bytes=30_000)
    chance = random.Random(11)

    def trial(number: int) -> Figures:
        place = made(folder / f"random {number}")
        flags = (*SLOW, *flags_of(place))
        with RunningService(*flags, folder=place) as service:
            assert post(service, batch("kill", contents))[0] == 200
            time.sleep(chance.uniform(0.0, 2.5))
            service.kill()
        began = time.monotonic()
        with RunningService(*flags, folder=place) as service:
            ready = time.monotonic() - began
            assert ready < READY_SECONDS, f"ready after {ready:.1f} s"
            status = finished(service, "kill", FINISHED_SECONDS)
            done = time.monotonic() - began
            judge_result(service, status.operation_id, contents, verified=40)
            judge_signatures(service, 1, len(contents))
        judge_ended(place)
        return {"ready_seconds_max": ready, "finished_seconds_max": done}

    yield trial


def site_kills(folder: Path, flags_of: FlagsOf) -> Iterator[Trial]:
    """Each place that an operation passes, in turn; at every second one everything ends, at the others its own process alone."""
    contents = documents(30)
    fresh = after_a_first_start(folder)

    def start(*flags: str, folder: Path) -> RunningService:
        return RunningService(*flags, *flags_of(folder), folder=folder)

    def judge(service: RunningService, operation_id: int) -> None:
        judge_result(service, operation_id, contents, verified=3)
        judge_signatures(service, 1, len(contents))

    job = Job(start, batch("site", contents), multipart("site", contents), judge)

    def trial(number: int) -> Figures:
        round_number, at = divmod(number, len(PASSED))
        place = folder / f"site {number}"
        copied(fresh, place)
        figures = signing_trial(place, PASSED[at], (at + round_number) % 2 == 0, job)
        judge_ended(folder)
        shutil.rmtree(place, ignore_errors=True)
        return figures

    yield trial


@drill("kill-random-shared", quick=2, short=10, long=100, apart=True, store="shared")
def kill_random_shared(folder: Path) -> Iterator[Trial]:
    yield from random_kills(folder, in_a_folder)


@drill("kill-random-s3", quick=2, short=10, long=100, apart=True, store="s3")
def kill_random_s3(folder: Path) -> Iterator[Trial]:
    yield from random_kills(folder, in_an_object_store())


@drill("kill-sites-shared", quick=4, short=len(PASSED), long=4 * len(PASSED), apart=True, store="shared")
def kill_sites_shared(folder: Path) -> Iterator[Trial]:
    yield from site_kills(folder, in_a_folder)


@drill("kill-sites-s3", quick=4, short=len(PASSED), long=4 * len(PASSED), apart=True, store="s3")
def kill_sites_s3(folder: Path) -> Iterator[Trial]:
    yield from site_kills(folder, in_an_object_store())
