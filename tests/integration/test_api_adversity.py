"""Callers who disconnect, stall, or send too much or too little, and what happens to callers when the service is stopped."""

import errno
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from harness.waiting import until
from tests.support.api_service import BASE, Service, basic, head, sign_request

SIGN = BASE + "/document/sign/base64/"
JSON = b"Content-Type: application/json\r\n"
BIG_BYTES = 300_000_000
STALL_SECONDS = 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """It waits for long: a busy machine makes every caller stall for a while."""
    service = Service(tmp_path_factory.mktemp("api"), body_stall_seconds=600, header_seconds=600)
    yield service
    assert service.stop() == 0


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, body_stall_seconds=STALL_SECONDS, header_seconds=1)
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse file of 300 MB."""
    path = tmp_path_factory.mktemp("big") / "body.json"
    with path.open("wb") as file:
        file.truncate(BIG_BYTES)
    return path


def by_curl(*options: str) -> Callable[[str, Path], tuple[int, bytes]]:
    def send(url: str, body: Path) -> tuple[int, bytes]:
        command = ["curl", "-sS", "-w", "%{stderr}%{http_code}", "-H", "Content-Type: application/json", *options]
        done = subprocess.run([*command, "--data-binary", f"@{body}", url], capture_output=True, timeout=240)
        return int(done.stderr), done.stdout

    return send


def by_requests(url: str, body: Path) -> tuple[int, bytes]:
    with body.open("rb") as file:
        reply = requests.post(url, data=file, headers={"Content-Type": "application/json"})
    return reply.status_code, reply.content


def by_urllib(url: str, body: Path) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", "Content-Length": str(body.stat().st_size)}
    with body.open("rb") as file, pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, file, headers))
    return refused.value.code, refused.value.read()


CLIENTS = {
    "requests": by_requests,
    "urllib": by_urllib,
    "curl": by_curl(),
    "curl without Expect": by_curl("-H", "Expect:"),
    "curl chunked": by_curl("-H", "Expect:", "-H", "Transfer-Encoding: chunked"),
}


def in_a_try(send: Callable[[str, Path], tuple[int, bytes]], url: str, body: Path) -> tuple[int, bytes]:
    """The reply in one of five tries: to a caller that pauses for longer than 2 s, as on a busy machine, the service closes."""
    for _ in range(4):
        with suppress(OSError, ValueError):  # curl says in words why there is no status
            return send(url, body)
    return send(url, body)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_reaches_a_client_that_is_still_sending(service: Service, big: Path, client: str) -> None:
    if client.startswith("curl") and not shutil.which("curl"):
        pytest.skip("no curl")
    status, body = in_a_try(CLIENTS[client], service.url + SIGN, big)
    assert (status, json.loads(body)["errorCode"]) == (401, "0.0.10")
    assert service.peak_mb() < 120


def test_a_body_over_the_limit_is_refused_before_and_while_it_is_read(tmp_path: Path) -> None:
    service = Service(tmp_path, max_body_bytes=1_000_000)
    try:
        told = service.raw(
            head("POST", SIGN, basic(), JSON, b"Content-Length: 1000001\r\n", b"Expect: 100-continue\r\n")
        )
        assert told.startswith(b"HTTP/1.1 413 ")
        chunks = (b"x" * 100_000 for _ in range(20))
        reply = service.post("/document/sign/base64/", data=chunks, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["errorCode"]) == (413, "0.0.4")
        assert service.count("aborted") == 1
    finally:
        service.stop()


def test_a_stalled_body_is_cut(impatient: Service) -> None:
    aborted, started = impatient.count("aborted"), time.monotonic()
    reply = impatient.raw(head("POST", SIGN, basic(), JSON, b"Content-Length: 100\r\n") + b"{")
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"batchseal.body_stalled" in reply
    assert not reply.endswith(b"...")
    assert time.monotonic() - started > STALL_SECONDS - 0.2
    assert impatient.count("aborted") == aborted + 1


def test_half_sent_headers_are_cut(impatient: Service) -> None:
    assert impatient.raw(b"GET /health/live HTTP/1.1\r\nHo") == b""


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 100\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n10\r\n{",
    ],
)
def test_a_truncated_body_is_never_taken_for_whole(service: Service, framing: bytes) -> None:
    aborted = service.count("aborted")
    reply = service.raw(head("POST", SIGN, basic(), JSON).removesuffix(b"\r\n") + framing, shut=True)
    assert not reply.startswith(b"HTTP/1.1 2")
    service.until("aborted", aborted + 1)


@pytest.mark.parametrize("host", [b"", b"Host:\r\n", b"Host: a\r\nHost: b\r\n"])
def test_one_host_is_needed(service: Service, host: bytes) -> None:
    request = head("GET", "/health/live", b"Connection: close\r\n", host=host)
    assert service.raw(request).startswith(b"HTTP/1.1 400 ")


def test_http_1_0_needs_no_host(service: Service) -> None:
    assert service.raw(b"GET /health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize("first", ["length", "chunked"])
def test_length_with_chunked_smuggles_nothing(service: Service, first: str) -> None:
    """The server ignores the length and closes the connection (RFC 9112 6.1), so the bytes that follow are not a request."""
    framing = [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"]
    lines = framing if first == "length" else framing[::-1]
    request = head("POST", SIGN, basic(), JSON, *lines) + b"2\r\n{}\r\n0\r\n\r\n" + head("GET", "/health/live")
    reply = service.raw(request)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.count(b"HTTP/1.1 ") == 1
    assert not reply.endswith(b"...")


def test_a_compressed_body_is_refused(service: Service) -> None:
    reply = service.post("/document/sign/base64/", data=b"{}", headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json()["errorCode"]) == (400, "0.0.2")


def test_a_caller_who_stops_waiting_is_noticed(service: Service) -> None:
    body = json.dumps(sign_request("waits", "later.pdf")).encode()
    connection = service.connect(head("POST", SIGN, basic(), JSON, b"Content-Length: %d\r\n" % len(body)) + body)
    service.until("waiting", 1)
    connection.close()
    service.until("waiting", 0)


def test_a_caller_who_stops_reading_is_noticed_and_holds_no_memory(service: Service) -> None:
    operation_id = service.registered("big out", *["many1.pdf"] * 300)
    path = f"{BASE}/operation/sign/detail/{operation_id}/contentInResponse/true"
    before = service.peak_mb()
    connection = service.connect(head("GET", path, basic()))
    connection.recv(1000)
    time.sleep(1)
    assert service.count("delivering") == 1
    assert service.peak_mb() - before < 30
    connection.close()
    service.until("delivering", 0)


def test_a_caller_who_takes_nothing_is_cut_and_never_told_that_it_has_all(tmp_path: Path) -> None:
    service = Service(tmp_path, send_stall=1)
    try:
        operation_id = service.registered("never read", *["many1.pdf"] * 100)
        path = f"{BASE}/operation/sign/detail/{operation_id}/contentInResponse/true"
        connection = service.connect(head("GET", path, basic()))
        connection.settimeout(120)
        last = got = connection.recv(1000)  # the delivery has begun
        service.until("delivering", 0)
        while got:
            last, got = got, connection.recv(1 << 20)
        assert not last.endswith(b"0\r\n\r\n")
        connection.close()
    finally:
        service.stop()


def test_memory_is_flat_while_683_mb_go_in_and_out(service: Service) -> None:
    before = service.peak_mb()
    chunks = (b"x" * 1_000_000 for _ in range(683))
    reply = service.post("/document/sign/base64/", data=chunks, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert service.count("received") == 683_000_000
    operation_id = service.registered("683 out", *["many1.pdf"] * 683)
    path = f"{service.url}{BASE}/operation/sign/detail/{operation_id}/contentInResponse/true"
    with service.session.get(path, stream=True) as whole:
        assert sum(len(piece) for piece in whole.iter_content(1 << 20)) > 683 << 20
    assert service.peak_mb() - before < 40


def test_an_unexpected_failure_gives_an_id_that_the_log_has(service: Service) -> None:
    broken = sign_request("unexpected", "a.pdf")
    broken["documents"] = [{"documentRequest": {"base64Content": 7, "name": "a", "externalReference": "a"}}]
    reply = service.post("/async/document/sign/base64/", json=broken)
    assert (reply.status_code, reply.json()["errorCode"]) == (500, "0.0.1")
    incident = reply.json()["causeMessage"].split()[1].strip(":")
    assert incident in service.log.read_text()
    assert "Traceback" not in reply.text


def test_many_idle_connections_stop_nobody(service: Service) -> None:
    idle = [service.connect() for _ in range(900)]
    try:
        assert requests.get(service.url + "/health/live", timeout=120).status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_sigterm_ends_it_with_stalled_callers(tmp_path: Path) -> None:
    service = Service(tmp_path, grace=1, send_stall=3600, body_stall_seconds=3600, header_seconds=3600)
    operation_id = service.registered("stalled", *["many1.pdf"] * 50)
    path = f"{BASE}/operation/sign/detail/{operation_id}/contentInResponse/true"
    held: list[socket.socket] = [
        service.connect(head("GET", path, basic())),
        *(service.connect(head("POST", SIGN, basic(), JSON, b"Content-Length: 9\r\n") + b"{") for _ in range(10)),
        *(service.connect(b"GET / HTTP/1.1\r\nHo") for _ in range(10)),
        *(service.connect() for _ in range(10)),
    ]
    service.until("delivering", 1)
    service.until("receiving", 10)
    # It takes 1 s of grace, 2 s for cancelled requests and 3 s to flush. Whoever waited for a caller would not come to an end.
    assert service.stop() == 0
    assert len(held) == 31
    for connection in held:
        connection.close()


def refuses(service: Service) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", service.port)) == errno.ECONNREFUSED


def test_sigterm_lets_a_running_request_finish(tmp_path: Path) -> None:
    service = Service(tmp_path, grace=600)  # it ends before that
    body = json.dumps(sign_request("finishes", "a.pdf")).encode()
    request = head("POST", SIGN, basic(), JSON, b"Content-Length: %d\r\n" % len(body))
    connection = service.connect(request + body[:10])
    service.until("receiving", 1)
    service.process.terminate()
    until(lambda: refuses(service))
    connection.sendall(body[10:])
    connection.settimeout(120)
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    connection.close()
    assert service.process.wait(120) == 0
    service.holder.close()


def test_unfinished_headers_are_bounded_in_all_and_stop_no_request(tmp_path: Path) -> None:
    """600 connections stop in 390 KB of headers. A request that runs goes on, though it comes from one of their addresses."""
    service = Service(tmp_path, header_seconds=3600)  # which would end all of them
    flood: list[socket.socket] = []
    body = json.dumps(sign_request("beside a flood", "a.pdf")).encode().ljust(900_000)
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n".encode()
    try:
        with service.connect(head("POST", SIGN, basic(), JSON, length) + body[:800_000]) as upload:
            for number in range(600):
                source = (f"127.0.0.{1 + number % 3}", 0)
                flood.append(socket.create_connection(("127.0.0.1", service.port), source_address=source))
                with suppress(OSError):
                    flood[-1].sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 390_000)
                upload.sendall(body[800_000 + number : 800_001 + number])
            # Those that are left hold 12 MB at most.
            until(lambda: sum(map(is_open, flood)) <= 31)
            assert requests.get(service.url + "/health/live", timeout=120).status_code == 200
            upload.sendall(body[800_600:])
            assert upload.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert b"connections without a complete request cut" in service.log.read_bytes()
    finally:
        for one in flood:
            one.close()
        assert service.stop() == 0


def is_open(connection: socket.socket) -> bool:
    """Whether the other end has neither closed nor reset the connection. It sends nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
