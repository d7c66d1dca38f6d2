"""Two and three real instances on one PostgreSQL: whoever is asked gives the right answer, and one that stops fails nobody."""

import asyncio
import http.client
import json
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.service import RunningService
from harness.several import Several, several
from harness.waiting import until
from tests.support.mixed_calls import (
    STRANGER,
    TOKEN,
    Answer,
    MixedCalls,
    Registered,
    add_stranger,
    basic,
    callers_of,
    run_all,
)
from tests.support.service import ASYNC, BASE, SYNC, batch, connect, credentials, documents, head, reply

ADVERTISED = ("seal.example", 443)
# Longer than any of these tests: it ends by what they do.
STOPPING = ("--drain-seconds=600", "--stop-seconds=30")


@pytest.fixture(scope="module")
def shared() -> Iterator[Several]:
    """The instances keep payloads to themselves."""
    with folder_for_all() as folder, several(folder, shared=False) as rig:
        add_stranger(rig.sandbox.services)
        yield rig


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that the account of the database passes through."""
    with tempfile.TemporaryDirectory(prefix="batchseal-several-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def named(shared: Several) -> dict[str, RunningService]:
    flags = *shared.roles, "--server.host.port=seal.example:443", "--drain-seconds=0"
    return {name: shared.start(name, *flags) for name in ("first", "second", "third")}


@pytest.fixture
def three(named: dict[str, RunningService]) -> list[RunningService]:
    return list(named.values())


def fetch(rig: Several, statement: str, *values: Any) -> Any:
    """The first column of the first row."""
    return asyncio.run(rig.fetch(statement, *values))[0][0]


def ask(service: RunningService, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """One call to this instance, on a connection of its own."""
    one = MixedCalls([service.url], credentials(service), ("", ""), [], "")
    try:
        return one.send(method, path, body, **headers)
    finally:
        one.close()


def registered(service: RunningService, reference: str) -> Registered:
    contents = documents(2)
    answer = ask(service, "POST", ASYNC, batch(reference, contents))
    assert answer.status == 200, answer
    return Registered(answer.json()["id"], reference, answer.headers["batchseal-instance"], contents)


def not_ready(service: RunningService) -> bool:
    return ask(service, "GET", "/health/ready").status == 503


def test_mixed_calls_in_turn_at_three_instances_that_keep_payloads_to_themselves(
    named: dict[str, RunningService], shared: Several
) -> None:
    calls, wrong = run_all(callers_of(shared, named, 2, "own", advertised=ADVERTISED), 180)
    assert wrong == []
    assert calls.total() >= 180


def test_what_another_instance_keeps_is_never_noted_as_fetched(three: list[RunningService], shared: Several) -> None:
    here, there, _ = three
    one = registered(here, "fetched by nobody")
    waited = ask(there, "GET", f"{BASE}/operation/status/{one.id}", Prefer="wait=30")
    assert waited.json()["status"] == "EXECUTED"
    paths = ("contentInResponse/true", "documents", "documents/0", "documents/1")
    answers = [ask(there, "GET", f"{BASE}/operation/sign/detail/{one.id}/{path}") for path in paths]
    assert [answer.status for answer in answers] == [503] * 4
    assert all(f"ask 127.0.0.1:{here.port}" in answer.json()["causeMessage"] for answer in answers)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    row = "SELECT fetched_at FROM operations WHERE id = $1"
    assert fetch(shared, row, one.id) is None
    # Counts and causes need no payload, so they come from everywhere.
    without = ask(there, "GET", f"{BASE}/operation/sign/detail/{one.id}/contentInResponse/false")
    assert (without.status, without.json()["status"]) == (200, "EXECUTED")
    assert fetch(shared, row, one.id) is None
    assert ask(here, "GET", f"{BASE}/operation/sign/detail/{one.id}/documents").status == 200
    until(lambda: fetch(shared, row, one.id) is not None)


def test_failed_logins_count_for_all_instances(three: list[RunningService]) -> None:
    guesses = [
        ask(
            three[n % 3],
            "POST",
            f"{TOKEN}?grant_type=client_credentials",
            Authorization=basic(STRANGER[0], f"guess {n}"),
        )
        for n in range(15)
    ]
    assert [answer.status for answer in guesses] == [401] * 10 + [429] * 5
    right = basic(*STRANGER)
    assert [ask(one, "GET", f"{BASE}/operation/status/1", Authorization=right).status for one in three] == [429] * 3
    assert ask(three[1], "GET", f"{BASE}/operation/status/1").status in (200, 404)  # another client service


def test_every_reply_names_the_instance_that_gave_it(named: dict[str, RunningService], shared: Several) -> None:
    for name, one in named.items():
        for path in ("/health/live", "/no/such/address", f"{BASE}/operation/status/1"):
            assert ask(one, "GET", path).headers["batchseal-instance"] == shared.identity(name)


def test_an_instance_that_stops_serves_until_others_do_and_fails_nobody(
    three: list[RunningService], shared: Several
) -> None:
    """The signing service stands still, so that there is an operation to wait for."""
    leaving = shared.start("leaving", *shared.roles, *STOPPING)
    with ExitOf(leaving):
        one = registered(leaving, "before the signing service stands still")
        assert ask(leaving, "GET", f"{BASE}/operation/status/{one.id}", Prefer="wait=30").json()["status"] == "EXECUTED"
        kept = http.client.HTTPConnection("127.0.0.1", leaving.port, timeout=120)
        kept.request("GET", "/health/live")
        assert kept.getresponse().read()
        with shared.sandbox.stopped():
            pending = registered(leaving, "pending while it stops")
            poll = Asked(leaving, f"GET {BASE}/operation/status/{pending.id} HTTP/1.1", "Prefer: wait=60")
            body = batch("synchronous while it stops", documents(1))
            waits = Asked(leaving, f"POST {SYNC} HTTP/1.1", "Content-Type: application/json", body=body)
            upload = batch("uploaded while it stops", documents(40))
            with connect(leaving, 120) as uploading:
                uploading.sendall(head(leaving, len(upload)) + upload[: len(upload) // 2])
                leaving.process.send_signal(signal.SIGTERM)
                until(lambda: not_ready(leaving))
                # It still takes requests, on new connections and on those that were kept, and each reply ends its connection.
                assert registered(leaving, "registered while it drains").id > pending.id
                kept.request("GET", "/health/live")
                last = kept.getresponse()
                assert (last.status, last.getheader("connection")) == (200, "close")
                assert last.read() and last.will_close
                assert not poll.answered.is_set()
                leaving.process.send_signal(signal.SIGINT)  # a second signal: whoever sends it does not want to wait
                until(lambda: refuses_connections(leaving))
                poll.answered.wait(120)
                uploading.sendall(upload[len(upload) // 2 :])
                status, headers, _ = reply(uploading)
            assert (status, headers["connection"]) == (200, "close")
            waits.answered.wait(120)
            leaving.process.wait(120)
    assert leaving.process.returncode == 0
    assert (poll.status, json.loads(poll.body)["status"]) == (200, "PENDING_EXECUTION")
    # Its operation goes on, and the answer says where.
    assert (waits.status, waits.headers["location"].rpartition("/")[2].isdigit()) == (503, True)
    left = "SELECT left_at FROM instances WHERE instance = $1"
    assert fetch(shared, left, UUID(shared.identity("leaving"))) is not None
    kept.close()


def test_the_last_instance_waits_for_no_load_balancer() -> None:
    """`--drain-seconds` would outlast the test."""
    with folder_for_all() as folder, several(folder, shared=False) as alone:
        only = alone.start("only", *alone.roles, *STOPPING)
        only.process.terminate()
        only.process.wait(120)
        assert only.process.returncode == 0
        assert "until others serve them" not in only.log.read_text()


class ExitOf:
    """Ends the drain of a service at the end of the block, whatever happened in it."""

    def __init__(self, service: RunningService) -> None:
        self._service = service

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            if self._service.process.poll() is None:
                self._service.process.send_signal(number)


class Asked:
    """A request whose answer is awaited in a thread. It has been sent when this is made."""

    def __init__(self, service: RunningService, line: str, *headers: str, body: bytes = b"") -> None:
        lines = [
            line,
            "Host: x",
            f"Authorization: {basic(*credentials(service))}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        self._connection: socket.socket = connect(service, 120)
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        self.answered = threading.Event()
        self.status, self.headers, self.body = 0, dict[str, str](), b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self._connection:
            self.status, self.headers, self.body = reply(self._connection)
        self.answered.set()


def refuses_connections(service: RunningService) -> bool:
    try:
        connect(service).close()
    except ConnectionRefusedError:
        return True
    return False
