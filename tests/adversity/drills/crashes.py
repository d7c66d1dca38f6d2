"""kill -9: of everything at a random time, and at each named site."""

import io
import random
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGKILL

from harness.service import RunningService
from tests.adversity.drills.judge import judge_result, judge_stored, living
from tests.adversity.drills.purging import copied, crashing, prepare, purge_trial
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.evidence_records import verify
from tests.support.service import (
    ASYNC,
    ASYNC_PARTS,
    AWAY,
    BASE,
    FAST,
    batch,
    client_of,
    documents,
    finished,
    get,
    multipart,
    post,
    until,
)

from batchseal.client.http import Client
from batchseal.errors import RequestFailed
from batchseal.system import crash_sites

# Those of hot folders and of webhooks have drills of their own.
SITES = tuple(site for site in crash_sites.SITES if not site.startswith(("files-", "webhook")))
READY_SECONDS, FINISHED_SECONDS, ENDED_SECONDS = 5, 20, 5
SLOW = (*FAST, "--sandbox-latency=300", "--sandbox-multisign=50")
# These are passed where payloads, rows and audit entries have had their time.
PREPARING_SITES = ("further-payload-committed", "further-payload-named")
HOUSEKEEPING_SITES = ("purge-marked", "purge-removed", "month-exported")
# These are passed where an evidence record was asked for.
RECORD_SITES = ("record-digested", "record-stamped", "record-ended")


# The status of a reply, its headers and its body.
Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Job:
    """What a trial sends with the reference "site", and how its result is judged.

    `parts` is the same request with the files before their description, and its media type. `judge` is given the operation's id.
    `query` comes behind the address.
    """

    start: Callable[..., RunningService]
    body: bytes
    parts: tuple[bytes, str]
    judge: Callable[[RunningService, int], None]
    query: str = ""


@drill("kill-random", quick=2, short=30, long=300)
def kill_random(folder: Path) -> Iterator[Trial]:
    """Everything is killed between the acknowledgement and the end."""
    contents = documents(500, size_bytes=30_000)
    chance = random.Random(11)

    def trial(number: int) -> Figures:
        place = folder / f"random {number}"
        with RunningService(*SLOW, folder=made(place)) as service:
            assert post(service, batch("kill", contents))[0] == 200
            time.sleep(chance.uniform(0.0, 2.5))
            service.kill()
        return judge_restart(place, "kill", contents)

    yield trial


def judge_restart(place: Path, reference: str, contents: list[bytes], flags: tuple[str, ...] = SLOW) -> Figures:
    """A new start over the same folder finds, finishes and delivers the operation."""
    began = time.monotonic()
    with RunningService(*flags, folder=place) as service:
        ready = time.monotonic() - began
        assert ready < within(READY_SECONDS), f"ready after {ready:.1f} s"
        status = finished(service, reference, within(FINISHED_SECONDS))
        done = time.monotonic() - began
        judge_result(service, status.operation_id, contents, verified=40)
        judge_stored(service, 1, len(contents))
    judge_ended(place)
    return {"ready_seconds_max": ready, "finished_seconds_max": done}


def judge_ended(place: Path) -> None:
    """The kernel ends the children with their parent, and the database's processes end when they notice."""
    until(lambda: not living(place), within(ENDED_SECONDS))


def made(place: Path) -> Path:
    place.mkdir()
    return place


@drill("kill-sites", quick=len(SITES), short=3 * len(SITES), long=10 * len(SITES))
def kill_sites(folder: Path) -> Iterator[Trial]:
    """Each site in turn. At every second one everything ends, at the others its own process alone, and the service goes on.

    The next round exchanges the two.
    """
    contents = documents(30)
    aged: list[Path] = []
    fresh = after_a_first_start(folder)

    def judge(service: RunningService, operation_id: int) -> None:
        judge_result(service, operation_id, contents, verified=3)
        judge_stored(service, 1, len(contents))

    def judge_recorded(service: RunningService, operation_id: int) -> None:
        judge(service, operation_id)
        judge_records(service, operation_id)

    job = Job(RunningService, batch("site", contents), multipart("site", contents), judge)
    recorded = replace(job, judge=judge_recorded, query="?evidenceRecord=true")

    def trial(number: int) -> Figures:
        round_number, at = divmod(number, len(SITES))
        site, everything = SITES[at], (at + round_number) % 2 == 0
        if site in HOUSEKEEPING_SITES:
            aged[:] = aged or [prepare(folder)]
            figures = purge_trial(aged[0], folder / f"site {number}", site, everything)
        else:
            copied(fresh, folder / f"site {number}")
            chosen = recorded if site in RECORD_SITES else job
            figures = signing_trial(folder / f"site {number}", site, everything, chosen)
        judge_ended(folder)
        shutil.rmtree(folder / f"site {number}", ignore_errors=True)
        return figures

    yield trial


def after_a_first_start(folder: Path) -> Path:
    """A service's folder whose database was made, so that the trials need not make one each."""
    place = made(folder / "fresh")
    with RunningService(*FAST, folder=place):
        pass
    return place


def signing_trial(place: Path, site: str, everything: bool, job: Job) -> Figures:
    """The operation that was cut off at `site` is finished and delivered, by the service that goes on or by the next start.

    `place` is a service's folder that `copied` has made.
    """
    answer: Answer | None = None
    if site == "claimed":
        leave_unclaimed(place, job)
    # Several calls: after the first one the rows of some documents say how they ended.
    flags = (*FAST, "--sandbox-multisign=10")
    service = job.start(*flags, folder=place)
    with crashing(site, everything), suppress(SystemExit), service:
        if site != "claimed":
            with suppress(ConnectionError):
                # The signer prepares only what reception could not: files that were described after they came.
                answer = submitted(service, job, late=site in PREPARING_SITES)
        crashed(service, everything, answer)
        if not everything:
            judge_operation(service, job, answer)
            return {}
    assert everything and service.process.returncode == -SIGKILL, f"{site}: {service.log.read_bytes()[-1000:]!r}"
    judge_ended(place)
    began = time.monotonic()
    with job.start(*flags, folder=place) as service:
        ready = time.monotonic() - began
        assert ready < within(READY_SECONDS), f"{site}: ready after {ready:.1f} s"
        judge_operation(service, job, answer)
        return {"ready_seconds_max": ready, "finished_seconds_max": time.monotonic() - began}


def leave_unclaimed(place: Path, job: Job) -> None:
    """A new operation is worked on under its registration's lease; one that the start of a signer finds is claimed."""
    with crashing("registered", everything=True), job.start(*FAST, folder=place) as service:
        with suppress(ConnectionError):
            submitted(service, job, late=False)
        until(lambda: service.process.poll() is not None, within(15))
    judge_ended(place)


def crashed(service: RunningService, everything: bool, answer: Answer | None) -> None:
    """Waits until the service has crashed, or one of its processes. Raises AssertionError if it has not, with what was said."""
    try:
        until(
            lambda: service.process.poll() is not None if everything else b"ended unexpectedly" in log(service),
            within(15),
        )
    except AssertionError:
        raise AssertionError(
            f"nothing crashed; the caller got {answer}; the log ends:\n{log(service)[-2000:]!r}"
        ) from None


def log(service: RunningService) -> bytes:
    return service.log.read_bytes()


def judge_operation(service: RunningService, job: Job, answer: Answer | None) -> None:
    if answer is not None and answer[0] == 200:
        assert known(service), "an acknowledged operation is lost"
    else:
        again(service, job)
    job.judge(service, finished(service, "site", within(FINISHED_SECONDS)).operation_id)


def submitted(service: RunningService, job: Job, late: bool) -> Answer:
    if not late:
        return post(service, job.body, ASYNC + job.query)
    body, media_type = job.parts
    return post(service, body, ASYNC_PARTS + job.query, media_type)


def again(service: RunningService, job: Job) -> None:
    """What a caller does that got no answer: it asks, and submits anew where nobody knows of it."""

    def answered() -> bool:
        try:
            return post(service, job.body, ASYNC + job.query)[0] in (200, 409)
        except ConnectionError:
            return False

    until(answered, within(10), 0.2)


def judge_records(service: RunningService, operation_id: int) -> None:
    """The record of each document comes, and is about the document as it is delivered."""
    path = f"{BASE}/operation/sign/detail/{operation_id}/documents"
    until(lambda: get(service, f"{path}/0/evidenceRecord")[0] not in (409, *AWAY), within(FINISHED_SECONDS), 0.1)
    status, _, body = get(service, path)
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = archive.namelist()
        assert names[1::2] == [f"{name}.ers" for name in names[::2]], names
        for name in names[::2]:
            verify(archive.read(f"{name}.ers"), archive.read(name))


def known(service: RunningService) -> bool:
    """Nobody is told that it is lost by a service that cannot answer now: whoever waits for its end asks again."""
    client: Client = client_of(service)
    try:
        client.status("site")
        return True
    except RequestFailed as problem:
        return problem.status in AWAY
    finally:
        client.close()
