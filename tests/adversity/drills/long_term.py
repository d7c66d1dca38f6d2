"""kill -9 while PDF, XML and other files are signed at level LT: at a random time, and at each named site.

A document of this level is stored in rounds: signature, time stamp, validation material. The sandbox goes on when the service is
killed, as a signing service does, so it knows how many signatures were asked for.
"""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from harness.service import RunningService
from tests.adversity.drills import registry
from tests.adversity.drills.crashes import (
    FINISHED_SECONDS,
    HOUSEKEEPING_SITES,
    READY_SECONDS,
    RECORD_SITES,
    SITES,
    Job,
    judge_ended,
    made,
    signing_trial,
)
from tests.adversity.drills.judge import judge_stored, result_of
from tests.adversity.drills.purging import copied
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.long_term_job import Outside, body, contents, outside, parts
from tests.support.service import FAST, client_of, finished, post

CALL = 50
# With all documents in one call, these are the rounds: signatures, time stamps, and what the operation ends with.
ROUNDS = (
    "signatures-unrecorded:2",
    "outcomes-recorded:2",
    "signatures-unrecorded:3",
    "outcomes-recorded",
    "signatures-unrecorded",
)
SIGNING_SITES = (
    *ROUNDS,
    *(site for site in SITES if site not in (*ROUNDS, *HOUSEKEEPING_SITES, *RECORD_SITES)),
)
# Only what had come and was stored nowhere is asked for again.
LOST_AT = "signatures-unrecorded"


def judge(service: RunningService, operation_id: int, documents: list[bytes], place: Outside, verified: int) -> None:
    """All documents are at level LT, and each has one signature in the database."""
    answer = result_of(service, operation_id)
    assert answer["status"] == "EXECUTED", answer["status"]
    entries = answer["documentList"]
    assert isinstance(entries, list)
    place.judge(entries, documents, verified)
    judge_stored(service, 1, len(documents))


@drill("kill-random-lt", quick=1, short=30, long=300)
def kill_random_lt(folder: Path) -> Iterator[Trial]:
    """Everything is killed between the acknowledgement and the end. What was said to be signed is not signed again."""
    documents, longest_seconds = (contents(120), 3.0) if registry.FULL else (contents(40), 1.0)
    chance = random.Random(14)
    with outside(folder / "sandbox", "--latency=150", f"--multisign={CALL}") as place:

        def trial(number: int) -> Figures:
            own, before = made(folder / f"random {number}"), place.sandbox.signatures()
            with place.start(folder=own) as service:
                assert post(service, body("kill", documents))[0] == 200
                time.sleep(chance.uniform(0.0, longest_seconds))
                client = client_of(service)
                said = client.status("kill").documents_done
                client.close()
                service.kill()
            began = time.monotonic()
            with place.start(folder=own) as service:
                ready = time.monotonic() - began
                assert ready < within(READY_SECONDS), f"ready after {ready:.1f} s"
                status = finished(service, "kill", within(FINISHED_SECONDS))
                done = time.monotonic() - began
                judge(service, status.operation_id, documents, place, verified=20)
            judge_ended(own)
            shutil.rmtree(own, ignore_errors=True)
            again = place.sandbox.signatures() - before - len(documents)
            assert 0 <= again <= len(documents) - said, (
                f"{again} more signatures, although {said} documents were signed"
            )
            return {"ready_seconds_max": ready, "finished_seconds_max": done, "signed_again_max": again}

        yield trial


@drill("kill-sites-lt", quick=1, short=2 * len(SIGNING_SITES), long=10 * len(SIGNING_SITES))
def kill_sites_lt(folder: Path) -> Iterator[Trial]:
    """At each site everything ends, and in the next trial its own process alone. What has a signature is not signed again."""
    documents = contents(12)
    with outside(folder / "sandbox") as place:
        fresh = fresh_folder(folder, place)

        def judged(service: RunningService, operation_id: int) -> None:
            judge(service, operation_id, documents, place, verified=4)

        job = Job(place.start, body("site", documents), parts("site", documents), judged)

        def trial(number: int) -> Figures:
            site, everything = SIGNING_SITES[number // 2 % len(SIGNING_SITES)], number % 2 == 0
            own, before = folder / f"site {number}", place.sandbox.signatures()
            copied(fresh, own)
            figures = signing_trial(own, site, everything, job)
            judge_ended(own)
            shutil.rmtree(own, ignore_errors=True)
            again = place.sandbox.signatures() - before - len(documents)
            assert again == (len(documents) if site == LOST_AT else 0), (
                f"{site}: {again} more signatures than documents"
            )
            return figures

        yield trial


def fresh_folder(folder: Path, place: Outside) -> Path:
    """A service's folder whose database was made, so that the trials need not make one each."""
    fresh = made(folder / "fresh")
    with place.start(*FAST, folder=fresh):
        pass
    return fresh
