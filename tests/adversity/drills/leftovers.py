"""Uploads that break off in every way: once the periods of the sweep are over, nothing of them is left in the payload store."""

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

from harness.service import RunningService
from harness.several import Several, several
from harness.tools import OBJECT_STORES
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.service import batch, connect, documents, finished, head, post, reply
from tests.support.shared_stores import SharedStore, shared_store, swept

UPLOADS, FEW_UPLOADS = 200, 40
# Each instance is killed once with so many under way.
UNDER_WAY = 6
BROKEN_SECONDS = 60
CALLERS = 6


class Broken:
    """Requests that break off: small ones, and ones of several parts of an object."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._small, self._large = documents(2, size_bytes=100_000), documents(40, size_bytes=300_000)

    def body(self, number: int) -> bytes:
        return batch(f"broken {number}", self._large if number % 5 == 0 else self._small)

    def send(self, service: RunningService, number: int) -> None:
        """In turn: cut off anywhere, cut off before the last byte, ended by what is no JSON, ended by a field that is wrong."""
        body = self.body(number)
        kind = number % 4
        if kind == 2:
            body = body[:-1] + b"]"
        elif kind == 3:
            body = body.replace(b'"description": "drill"', b'"description": ["drill"]')
        sent = self._chance.randrange(1, len(body)) if kind == 0 else len(body) - 1 if kind == 1 else len(body)
        with connect(service, 120) as connection, suppress(ConnectionError):
            connection.sendall(head(service, len(body)) + body[:sent])
            if kind > 1:
                status, _, said = reply(connection)
                assert 400 <= status < 500, f"a request that is wrong is answered with {status}: {said[:300]!r}"

    def under_way(self, service: RunningService, number: int) -> None:
        """Sends all of a large body but its end, and waits for the end of the instance."""
        body = batch(f"under way {number}", self._large)
        with connect(service, 120) as connection, suppress(ConnectionError):
            connection.sendall(head(service, len(body)) + body[: -1 - number])
            reply(connection)


def leave_nothing(folder: Path, name: str) -> Iterator[Trial]:
    """Two instances take broken uploads, are killed in the midst of others, and start again. What is whole stays."""
    uploads = UPLOADS if registry.FULL else FEW_UPLOADS

    def trial(number: int) -> Figures:
        place = folder / f"trial {number}"
        place.mkdir()
        place.chmod(0o711)
        store, broken, whole = shared_store(name, place), Broken(random.Random(number)), documents(3)
        with several(place, store=store.flags) as rig, ThreadPoolExecutor(CALLERS) as pool:
            services = [rig.start("one"), rig.start("other")]
            for at, service in enumerate(services):
                assert post(service, batch(f"whole {at}", whole))[0] == 200
            calls = [
                pool.submit(broken.send, services[at % 2], at) for at in range(uploads - UNDER_WAY * len(services))
            ]
            for call in calls:
                call.result(BROKEN_SECONDS)
            until(lambda: not store.unfinished(), BROKEN_SECONDS)
            for service in services:
                killed_with_uploads(service, partial(broken.under_way, service), store, pool)
            services = [rig.start("one"), rig.start("other")]
            left = len(store.unfinished())
            live = judge_swept(rig, store)
            for at, service in enumerate(services):
                status = finished(service, f"whole {at}")
                judge_result(service, status.operation_id, whole, verified=1)
            for instance in ("one", "other"):
                until(partial(only_copies_of, rig.folder / instance, live))
        return {"uploads_max": uploads, "left_by_kills_max": left}

    yield trial


def killed_with_uploads(
    service: RunningService, upload: Callable[[int], None], store: SharedStore, pool: ThreadPoolExecutor
) -> None:
    """Kills the instance while UNDER_WAY uploads have come nearly to their end."""
    before = len(store.unfinished())
    calls = [pool.submit(upload, number) for number in range(UNDER_WAY)]
    until(lambda: len(store.unfinished()) > before, BROKEN_SECONDS)
    service.kill()
    for call in calls:
        call.result(BROKEN_SECONDS)


def judge_swept(rig: Several, store: SharedStore) -> set[UUID]:
    """A first sweep ends what was not completed and marks what has no row; the next one deletes that. Returns what rows name."""
    swept(rig.dsn, store.place)
    last = swept(rig.dsn, store.place)
    assert last.stopped == "", last.stopped
    assert store.unfinished() == [], "uploads are open that nobody sends"
    assert set(store.place.payloads()) == last.live, "payloads lie there that no row names"
    assert store.place.marks() == {}
    named = asyncio.run(rig.fetch("SELECT external_reference FROM operations ORDER BY 1"))
    assert [row["external_reference"] for row in named][-2:] == ["whole 0", "whole 1"]
    return last.live


def only_copies_of(folder: Path, live: set[UUID]) -> bool:
    """Whether an instance has no file in its own folder but copies of what rows name."""
    files = [path for path in (folder / "temp" / "spill").rglob("*") if path.is_file()]
    return all(path.suffix == ".segment" or UUID(path.stem) in live for path in files)


for _name in ("shared", "s3"):

    def _opened(folder: Path, name: str = _name) -> Iterator[Trial]:
        return leave_nothing(folder, name)

    drill(
        f"broken-uploads-{_name}",
        quick=1,
        short=1,
        long=10,
        needs=OBJECT_STORES if _name == "s3" else (),
        apart=True,
        store=_name,
    )(_opened)
