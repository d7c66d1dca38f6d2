"""kill -9 of a whole instance, with each payload store: while it takes a body in, after its acknowledgement, while it signs, and
while it delivers. Another instance goes on, and the client that asks there gets everything.

With the local store each instance reads its own payloads alone. Then the other one says where they are, the killed one goes on
when it is back, and what the other one has taken in itself is signed all the while.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.object_stores import store_flags
from harness.service import RunningService
from harness.several import Several, several
from harness.tools import OBJECT_STORES
from harness.waiting import until
from tests.adversity.drills.instances import (
    FINISHED_SECONDS,
    SLOW,
    instance_at,
    judge_signed,
    numbered,
    operation,
    rows,
    submit,
)
from tests.adversity.drills.judge import judge_result, result_of
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.mixed_calls import STRANGER, MixedCalls, Registered
from tests.support.object_stores import new_prefix, proxied
from tests.support.service import BASE, authorization, batch, connect, credentials, finished, get, head, post, reply

TAKEN_OVER_SECONDS, ANSWERED_SECONDS = 20, 30
# Documents that are several parts of an object, and more than the buffers of a connection hold.
LARGE_DOCUMENTS, LARGE_BYTES = 60, 300_000
STORES = ("local", "shared", "s3")


@dataclass
class Pair:
    """Two instances, of which each trial kills one."""

    rig: Several
    chance: random.Random
    services: dict[str, RunningService] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("one", "other"):
            self.services[name] = self.rig.start(name)

    def other(self, name: str) -> RunningService:
        (found,) = [service for other, service in self.services.items() if other != name]
        return found

    def kill(self, name: str) -> float:
        """Returns when that was."""
        self.services[name].kill()
        return time.monotonic()

    def is_back(self, name: str) -> RunningService:
        """The killed instance starts again, where it was."""
        self.services[name] = self.rig.start(name, port=self.services[name].port)
        return self.services[name]

    def name_of(self, instance: str) -> str:
        (found,) = [name for name, one in self.services.items() if instance_at(self.rig, one) == instance]
        return found


def a_moment(chance: random.Random, seconds: float) -> None:
    time.sleep(chance.uniform(0.0, seconds))


def handed_in(service: RunningService, body: bytes) -> None:
    """What a client does that got no answer: it hands its request in again, until it is taken, or known."""
    until(lambda: post(service, body)[0] in (200, 409), ANSWERED_SECONDS, 0.2)


def taken_over(pair: Pair, name: str, reference: str, killed_at: float) -> float:
    """Waits until the operation is in other hands, or has ended. Returns how many seconds after the kill that was."""
    heir = instance_at(pair.rig, pair.other(name))

    def is_taken() -> bool:
        row = operation(pair.rig, reference)
        return row["holder"] == heir or row["finished_at"] is not None

    until(is_taken, TAKEN_OVER_SECONDS, 0.1)
    return time.monotonic() - killed_at


def goes_on_beside(pair: Pair, name: str, number: int, killed_at: float) -> tuple[float, int]:
    """What the other instance takes in now is signed, although the killed one had the lane of the credential.

    Returns how many seconds after the kill that was, and the number of documents.
    """
    service, reference, contents = pair.other(name), f"beside {number}", numbered(500_000 + number, 2)
    assert post(service, batch(reference, contents))[0] == 200
    status = finished(service, reference, TAKEN_OVER_SECONDS)
    judge_result(service, status.operation_id, contents)
    return time.monotonic() - killed_at, len(contents)


def judge_all(pair: Pair, name: str, reference: str, contents: Sequence[bytes]) -> None:
    """The other instance delivers everything; where it cannot, the killed one does, once it is back. There is one result."""
    row = operation(pair.rig, reference)
    if pair.rig.shared:
        heir = pair.other(name)
        status = finished(heir, reference, FINISHED_SECONDS)
        judge_result(heir, status.operation_id, contents, verified=3)
        again = pair.is_back(name)
        assert signed(again, status.operation_id) == signed(heir, status.operation_id), "two instances give two results"
    else:
        took_in = pair.name_of(str(row["instance"]))
        back = pair.is_back(name)
        service = back if took_in == name else pair.other(name)
        status = finished(service, reference, FINISHED_SECONDS)
        judge_result(service, status.operation_id, contents, verified=3)
    (counted,) = rows(pair.rig, "SELECT count(*) AS found FROM operations WHERE external_reference = $1", reference)
    assert counted["found"] == 1, f"{counted['found']} operations have this reference"


def signed(service: RunningService, operation_id: int) -> list[str]:
    entries = result_of(service, operation_id)["documentList"]
    assert isinstance(entries, list)
    return [entry["signedContent"] for entry in entries]


# --- the four moments -----------------------------------------------------------------------------------------------------


def killed_uploading(pair: Pair, number: int) -> Figures:
    """In the midst of a body. In every third trial all of it was sent, so that it may be registered and even acknowledged."""
    name = ("one", "other")[number % 2]
    reference, contents = f"uploading {number}", numbered(number, LARGE_DOCUMENTS, LARGE_BYTES)
    body, victim, before = batch(reference, contents), pair.services[name], pair.rig.sandbox.signatures()
    sent = len(body) if number % 3 == 2 else pair.chance.randrange(len(body) // 10, len(body))
    with connect(victim, 120) as connection:
        connection.sendall(head(victim, len(body)) + body[:sent])
        a_moment(pair.chance, 0.5)
        pair.kill(name)
        status, _, _ = reply(connection)
    known = rows(pair.rig, "SELECT id FROM operations WHERE external_reference = $1", reference)
    assert known or status != 200, "an acknowledged operation is lost"
    handed_in(pair.other(name), body)
    judge_all(pair, name, reference, contents)
    return {"signed_twice_max": judge_signed(pair.rig, before, contents)}


def killed_acknowledged(pair: Pair, number: int) -> Figures:
    """As soon as the client has its acknowledgement."""
    name = ("one", "other")[number % 2]
    reference, contents, before = f"acknowledged {number}", numbered(number), pair.rig.sandbox.signatures()
    assert post(pair.services[name], batch(reference, contents))[0] == 200
    return followed(pair, name, number, reference, contents, before)


def killed_signing(pair: Pair, number: int) -> Figures:
    """Whichever instance has the operation, while it signs it."""
    name = ("one", "other")[number % 2]
    reference, contents = f"signing {number}", numbered(number)
    before = submit(pair.rig, pair.services[name], reference, contents)
    holder = operation(pair.rig, reference)["holder"]
    if pair.rig.shared and holder is not None:
        name = pair.name_of(holder)
    a_moment(pair.chance, 1.0)
    return followed(pair, name, number, reference, contents, before)


def followed(
    pair: Pair, name: str, number: int, reference: str, contents: list[bytes], signatures_before: int
) -> Figures:
    """Kills the instance, which has acknowledged the operation, and sees what becomes of it."""
    killed_at = pair.kill(name)
    status, _, _ = get(pair.other(name), f"{BASE}/operation/status/{operation(pair.rig, reference)['id']}")
    assert status == 200, f"the other instance says {status} of an acknowledged operation"
    beside = 0
    if pair.rig.shared:
        seconds = taken_over(pair, name, reference, killed_at)
    else:
        seconds, beside = goes_on_beside(pair, name, number, killed_at)
    judge_all(pair, name, reference, contents)
    twice = judge_signed(pair.rig, signatures_before + beside, contents)
    return {"taken_over_seconds_max": seconds, "signed_twice_max": twice}


def killed_delivering(pair: Pair, number: int) -> Figures:
    """A result breaks off; the client has it whole from the other instance, or from the same one when that is back."""
    name = ("one", "other")[number % 2]
    reference, contents = f"delivering {number}", numbered(number, LARGE_DOCUMENTS, LARGE_BYTES)
    victim, heir, before = pair.services[name], pair.other(name), pair.rig.sandbox.signatures()
    assert post(victim, batch(reference, contents))[0] == 200
    operation_id = finished(victim, reference, FINISHED_SECONDS).operation_id
    one = Registered(operation_id, reference, instance_at(pair.rig, victim), contents)
    path = f"{BASE}/operation/sign/detail/{operation_id}/" + ("documents", "contentInResponse/true")[number // 2 % 2]
    with connect(victim) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        lines = f"GET {path} HTTP/1.1", "Host: x", f"Authorization: {authorization(victim)}", "", ""
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(65_536).split()[1] == b"200"
        a_moment(pair.chance, 0.3)
        pair.kill(name)
        assert rest_of(connection) < sum(map(len, contents)), "the result was whole before the instance was killed"
    assert operation(pair.rig, reference)["fetched_at"] is None, "what broke off counts as fetched"
    listens = {one.owner: f"127.0.0.1:{victim.port}"}
    client = MixedCalls(
        [heir.url], credentials(heir), STRANGER, contents, reference, own_payloads=not pair.rig.shared, listens=listens
    )
    client.check("zip", lambda: client.archive(one))
    client.check("result", lambda: client.result(one, by_reference=True))
    client.check("range", lambda: client.document(one, "bytes=5-104"))
    client.close()
    assert client.wrong == [], client.wrong[0]
    judge_all(pair, name, reference, contents)
    assert judge_signed(pair.rig, before, contents) == 0, "what was signed and delivered was signed again"
    return {}


def rest_of(connection: socket.socket) -> int:
    """The bytes that still come until the connection breaks."""
    total = 0
    try:
        while part := connection.recv(1 << 20):
            total += len(part)
    except ConnectionError:
        pass
    return total


Moment = Callable[[Pair, int], Figures]
MOMENTS: dict[str, Moment] = {
    "uploading": killed_uploading,
    "acknowledged": killed_acknowledged,
    "signing": killed_signing,
    "delivering": killed_delivering,
}


@contextmanager
def pair_over(folder: Path, store: str) -> Iterator[Pair]:
    """Two instances, and where their payloads lie: one of STORES."""
    flags = store_flags(new_prefix(proxied("seaweedfs"))) if store == "s3" else ()
    with several(folder, *SLOW, shared=store != "local", store=flags) as rig:
        yield Pair(rig, random.Random(5))


def instance_killed(moment: Moment, store: str) -> Callable[[Path], Iterator[Trial]]:
    def opened(folder: Path) -> Iterator[Trial]:
        with pair_over(folder, store) as pair:
            yield lambda number: moment(pair, number)

    return opened


for _store in STORES:
    for _name, _moment in MOMENTS.items():
        drill(
            f"instance-killed-{_name}-{_store}",
            quick=2,
            short=5,
            long=25,
            needs=OBJECT_STORES if _store == "s3" else (),
            apart=True,
            store=_store,
        )(instance_killed(_moment, _store))
