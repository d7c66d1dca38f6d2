"""Two instances behind HAProxy and behind nginx, with the configurations that the project ships.

The instances keep payloads of their own, so a result is had from the one that has it; the other one says 503.
"""

import http.client
import io
import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import tools
from harness.invoices import invoice
from harness.processes import family
from harness.service import RunningService
from harness.several import STOPS_AT_ONCE
from harness.waiting import until
from tests.support.balancers import BALANCERS, Balancer, connections_to
from tests.support.service import ASYNC, ASYNC_PARTS, BASE, SYNC, authorization, batch, entry, spill_files
from tests.support.two_instances import two_instances

MB = 1 << 20
DOCUMENTS, DOCUMENT_BYTES = 60, 5_000_000
pytestmark = pytest.mark.skipif(bool(tools.missing(tuple(BALANCERS))), reason=tools.missing(tuple(BALANCERS)))

Pair = tuple[RunningService, RunningService]


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("instances")
    folder.chmod(0o711)
    with two_instances(folder, *STOPS_AT_ONCE) as pair:
        yield pair


@pytest.fixture(scope="module", params=BALANCERS)
def balancer(
    request: pytest.FixtureRequest, instances: Pair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Balancer]:
    folder = tmp_path_factory.mktemp(request.param)
    with BALANCERS[request.param](folder, *(one.port for one in instances)) as running:
        yield running


class Caller:
    """One client of a load balancer, on one connection."""

    def __init__(self, balancer: Balancer, service: RunningService) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=240)
        self.headers = {"Authorization": authorization(service)}

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        media_type = {"Content-Type": "application/json"} if body is not None else {}
        self.connection.request(method, path, body, {**self.headers, **media_type, **headers})
        reply = self.connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()

    def result(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """From the instance that has the payload, which the load balancer comes to."""
        last: list[Any] = []

        def is_there() -> bool:
            last[:] = self.ask("GET", path, None, **headers)
            return last[0] != 503

        until(is_there)
        return last[0], last[1], last[2]

    def status(self, reference: str, **headers: str) -> Any:
        code, _, body = self.ask(
            "GET", f"{BASE}/async/operation/status/withExternalReference/{reference}", None, **headers
        )
        assert code == 200
        return json.loads(body)[0]

    def finished(self, reference: str) -> Any:
        until(lambda: self.status(reference)["status"] in ("EXECUTED", "EXECUTION_FAILED"), pause=0.2)
        return self.status(reference)


@pytest.fixture
def caller(balancer: Balancer, instances: Pair) -> Iterator[Caller]:
    made = Caller(balancer, instances[0])
    yield made
    made.connection.close()


def spill_bytes(instances: Pair) -> int:
    return sum(path.stat().st_size for one in instances for path in spill_files(one.folder))


def large_body(reference: str) -> Iterator[bytes]:
    """300 MB in parts; the description comes first, so that documents are prepared while they arrive."""
    described = json.loads(batch(reference, []))
    content = invoice(1, size_bytes=DOCUMENT_BYTES)
    for number in range(DOCUMENTS):
        described["documents"].append(entry(number, b""))
        del described["documents"][-1]["documentRequest"]["base64Content"]
    yield (
        b'--drill\r\nContent-Disposition: form-data; name="signRequest"\r\n\r\n'
        + json.dumps(described).encode()
        + b"\r\n"
    )
    for _ in range(DOCUMENTS):
        yield b'--drill\r\nContent-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + content + b"\r\n"
    yield b"--drill--\r\n"


def test_a_large_upload_and_its_archive_pass_without_being_stored(
    balancer: Balancer, caller: Caller, instances: Pair
) -> None:
    reference, seen, half = f"large-{balancer.name}", list[int](), DOCUMENTS // 2
    begin = spill_bytes(instances)

    def body() -> Iterator[bytes]:
        for number, piece in enumerate(large_body(reference)):
            if number == half:
                # What was sent so far is at an instance, though the request is not at its end.
                until(lambda: spill_bytes(instances) - begin > (half - 5) * DOCUMENT_BYTES)
                seen.append(len(balancer.files()))
            yield piece

    caller.connection.request(
        "POST",
        ASYNC_PARTS,
        body(),
        {**caller.headers, "Content-Type": "multipart/form-data; boundary=drill"},
        encode_chunked=True,
    )
    reply = caller.connection.getresponse()
    assert (reply.status, seen) == (200, [0]), reply.read()
    reply.read()
    ended = caller.finished(reference)
    assert (ended["status"], ended["documentsSigned"]) == ("EXECUTED", DOCUMENTS)

    path = f"{BASE}/operation/sign/detail/{ended['id']}/documents"
    code, headers, archive = caller.result(path, Accept="application/zip")
    assert (code, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        names = found.namelist()
        assert len(names) == DOCUMENTS
        assert found.read(names[-1]).startswith(b"%PDF")
    assert len(archive) > DOCUMENTS * DOCUMENT_BYTES
    assert balancer.files() == set()
    assert balancer.most_memory_bytes() < 100 * MB


def test_a_reply_comes_while_it_is_made(balancer: Balancer, caller: Caller, instances: Pair) -> None:
    """Of an archive that nobody reads, the load balancer takes no more than its buffers and those of the kernel hold."""
    ended = caller.finished(f"large-{balancer.name}")
    path = f"{BASE}/operation/sign/detail/{ended['id']}/documents"
    while True:
        caller.connection.request("GET", path, headers={**caller.headers, "Accept": "application/zip"})
        reply = caller.connection.getresponse()
        if reply.status == 200:
            break
        reply.read()
    assert reply.read(100_000)[:2] == b"PK"
    before = balancer.most_memory_bytes()
    # Small requests pass beside it, so the balancer has had the time to take more.
    other = Caller(balancer, instances[0])
    for _ in range(50):
        assert other.ask("GET", "/health/ready")[0] == 200
    other.connection.close()
    assert balancer.most_memory_bytes() - before < 20 * MB
    assert balancer.files() == set()


def test_a_part_of_a_document_can_be_asked_for(balancer: Balancer, caller: Caller) -> None:
    ended = caller.finished(f"large-{balancer.name}")
    path = f"{BASE}/operation/sign/detail/{ended['id']}/documents/7"
    code, headers, part = caller.result(path, Range="bytes=1000000-1000099", Accept="application/pdf")
    assert (code, headers["content-length"]) == (206, "100")
    assert headers["content-range"].startswith("bytes 1000000-1000099/")
    assert part == invoice(1, size_bytes=DOCUMENT_BYTES)[1_000_000:1_000_100]


def test_one_connection_serves_many_requests(balancer: Balancer, caller: Caller, instances: Pair) -> None:
    """The caller's connection stays, and those to the instances are used again."""
    assert caller.ask("GET", "/health/live")[0] == 200
    own, before = caller.connection.sock, sum(connections_to(one.port) for one in instances)
    for _ in range(200):
        assert caller.ask("GET", "/health/live")[0] == 200
    assert caller.connection.sock is own
    assert sum(connections_to(one.port) for one in instances) - before < 20


def test_both_instances_are_asked(balancer: Balancer, instances: Pair) -> None:
    """Several callers at once: whoever has fewer requests under way is next."""

    def signed(number: int) -> int:
        caller = Caller(balancer, instances[0])
        try:
            body = batch(f"single-{balancer.name}-{number}", [invoice(number, size_bytes=20_000)])
            return caller.ask("POST", SYNC, body)[0]
        finally:
            caller.connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(signed, range(24))) == {200}
    assert all(signing_calls(one, instances[0]) for one in instances)


def signing_calls(instance: RunningService, first: RunningService) -> float:
    """How often an instance has had something signed, for operations that it took."""
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=120)
    connection.request("GET", "/metrics", headers={"Authorization": authorization(first)})
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    name = "batchseal_upstream_sign_calls_total"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_long_poll_lasts_its_time(instances: Pair, tmp_path: Path) -> None:
    """Both at once, since it takes half a minute. The signing services do not answer meanwhile."""
    sandboxes = [pid for one in instances for pid, part in family(one.process.pid) if part == "sandbox"]
    assert len(sandboxes) == 2

    def poll(name: str) -> tuple[str, float]:
        (tmp_path / name).mkdir()
        with BALANCERS[name](tmp_path / name, *(one.port for one in instances)) as balancer:
            caller = Caller(balancer, instances[0])
            try:
                body = batch(f"slow-{name}", [invoice(1, size_bytes=20_000)])
                assert caller.ask("POST", ASYNC, body)[0] == 200
                began = time.monotonic()
                return caller.status(f"slow-{name}", Prefer="wait=30")["status"], time.monotonic() - began
            finally:
                caller.connection.close()

    for pid in sandboxes:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(2) as pool:
            polled = list(pool.map(poll, BALANCERS))
    finally:
        for pid in sandboxes:
            os.kill(pid, signal.SIGCONT)
    assert all(status == "PENDING_EXECUTION" and seconds > 29 for status, seconds in polled), polled


@pytest.mark.parametrize("name", BALANCERS)
def test_an_instance_that_stops_leaves_without_an_error(name: str, tmp_path: Path) -> None:
    """Callers go on while one of the two ends, and nothing of it is seen by them."""
    tmp_path.chmod(0o711)
    with two_instances(tmp_path) as pair, BALANCERS[name](tmp_path, *(one.port for one in pair)) as balancer:
        stopped, answers = threading.Event(), list[int]()

        def asks(number: int) -> None:
            caller = Caller(balancer, pair[0])
            count = 0
            while not stopped.is_set() or count < 20:
                path = f"{BASE}/async/operation/status/withExternalReference/none-{number}"
                answers.append(caller.ask("GET", path)[0])
                count += stopped.is_set()
            caller.connection.close()

        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(asks, number) for number in range(3)]
            until(lambda: len(answers) > 50)
            pair[1].process.terminate()
            pair[1].process.wait(120)
            stopped.set()
            for one in asking:
                one.result(120)
        assert set(answers) == {404}, {code: answers.count(code) for code in set(answers)}
