"""Evidence records through the real service: in the zip, at an address of their own, late, given up, and after a kill."""

import hashlib
import http.client
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from asn1crypto import pem
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.service import RunningService
from harness.validators import judging
from harness.validators.ers import bouncy_castle_judges
from harness.waiting import until
from tests.support.certomancer import process
from tests.support.evidence_records import read_record, root_of, verify
from tests.support.service import ASYNC, BASE, FAST, SYNC, batch, client_of, credentials, entry, finished

from batchseal.client.batch import BatchBody, find_documents
from batchseal.client.seal import BatchResult, fetch, seal_batch

ASKED = "?evidenceRecord=true"
PDF = invoice(1, size_bytes=4_000)


class Gate(ThreadingHTTPServer):
    """Stands before a time stamp authority, counts its answers, and is closed (503) where `is_open` is false."""

    daemon_threads = True

    def __init__(self, authority: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.authority = urlsplit(authority)
        self.is_open = True
        self.asked = self.given = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/tsa"


class Passing(BaseHTTPRequestHandler):
    server: Gate

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = 503, b""
        if self.server.is_open:
            to = self.server.authority
            connection = http.client.HTTPConnection(to.hostname or "", to.port or 80, timeout=120)
            connection.request("POST", to.path, body, {"Content-Type": "application/timestamp-query"})
            reply = connection.getresponse()
            status, answer = reply.status, reply.read()
            connection.close()
        with self.server.lock:
            self.server.asked += 1
            self.server.given += status == 200
        self.send_response(status)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@contextmanager
def gate_before(authority: str) -> Iterator[Gate]:
    gate = Gate(authority)
    thread = threading.Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield gate
    finally:
        gate.shutdown()
        thread.join()
        gate.server_close()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), "--credential=p256") as one:
        yield one


@pytest.fixture
def gate(sandbox: Sandbox) -> Iterator[Gate]:
    with gate_before(f"{sandbox.address}/tsa") as one:
        yield one


def started(sandbox: Sandbox, gate: Gate, *flags: str, folder: Path | None = None, **said: Any) -> RunningService:
    """A service that the sandbox signs for. `said` is what its client services file says of signatures."""
    service = RunningService(
        *FAST,
        f"--service-domain={sandbox.address}",
        f"--timestamp-urls={gate.url}",
        f"--timestamp-roots={sandbox.root}",
        *flags,
        folder=folder,
    )
    entries = json.loads(sandbox.services.read_text())
    for one in entries.values():
        one["signature"] = said
    service.services_file.parent.mkdir(parents=True, exist_ok=True)
    service.services_file.write_text(json.dumps(entries))
    return service


def send(service: RunningService, body: bytes, path: str = ASYNC + ASKED) -> requests.Response:
    headers = {"Content-Type": "application/json"}
    return requests.post(service.url + path, body, headers=headers, auth=credentials(service), timeout=120)


def get(service: RunningService, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{service.url}{BASE}{path}", auth=credentials(service), headers=headers, timeout=120)


def metrics_of(service: RunningService) -> str:
    return requests.get(f"{service.url}/metrics", timeout=120).text


def record_path(operation: int, ordinal: int) -> str:
    return f"/operation/sign/detail/{operation}/documents/{ordinal}/evidenceRecord"


def record_of(service: RunningService, operation: int, ordinal: int = 0) -> bytes:
    """The record of a document once it is there."""
    until(lambda: get(service, record_path(operation, ordinal)).status_code != 409, pause=0.1)
    reply = get(service, record_path(operation, ordinal))
    assert reply.status_code == 200, reply.text
    return reply.content


def archive_of(service: RunningService, operation: int) -> dict[str, bytes]:
    reply = get(service, f"/operation/sign/detail/{operation}/documents")
    assert reply.status_code == 200
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def judged(archive: dict[str, bytes], folder: Path, root: bytes, taken: int = 40) -> int:
    """Every document is followed by its record, which verifies; Bouncy Castle judges some of them. Returns how many there are."""
    names = list(archive)
    pairs, tokens = list(zip(names[::2], names[1::2], strict=True)), set()
    files = []
    imprint = verify(archive[names[1]], archive[names[0]], root).info["message_imprint"]["hashed_message"].native
    for number, (name, record) in enumerate(pairs):
        assert record == f"{name}.ers"
        lists, token = read_record(archive[record])
        assert root_of(lists, hashlib.sha256(archive[name]).digest()) == imprint
        tokens.add(token.dump())
        if number % max(1, len(pairs) // taken) == 0:
            files.append((folder / f"{number}.ers", folder / f"{number}"))
            files[-1][0].write_bytes(archive[record])
            files[-1][1].write_bytes(archive[name])
    assert len(tokens) == 1
    with judging():
        assert all(one.is_about and one.is_stamped for one in bouncy_castle_judges(files))
    return len(pairs)


def test_one_time_stamp_is_spent_for_2500_documents(sandbox: Sandbox, gate: Gate, tmp_path: Path) -> None:
    # No two are alike: documents that are signed to the same bytes share a leaf.
    body = batch("2500", [PDF + b"%% %d\n" % number for number in range(2500)])
    before = sandbox.stamps()
    with started(sandbox, gate) as service:
        assert send(service, body).status_code == 200
        operation = finished(service, "2500", 120).operation_id
        record = record_of(service, operation, 1234)
        archive = archive_of(service, operation)
        assert judged(archive, tmp_path, sandbox.root_der) == 2500
        assert archive["doc 1234.invoice-1234.pdf.ers"] == record
        assert len(verify(record, archive["doc 1234.invoice-1234.pdf"]).lists) == 12
    assert gate.given == gate.asked == 1 == sandbox.stamps() - before


def test_both_forms_of_a_request_can_ask_and_what_is_wrong_is_refused(
    sandbox: Sandbox, gate: Gate, tmp_path: Path
) -> None:
    documents = [entry(0, PDF), entry(1, b"%PDF-1.4 nothing"), entry(2, PDF)]
    body = {"externalReference": "sync", "description": "d", "documents": documents}
    with started(sandbox, gate) as service:
        reply = send(service, json.dumps(body).encode(), SYNC + "/?evidenceRecord=True")
        assert reply.status_code == 200, reply.text
        operation = reply.json()["id"]
        record_of(service, operation)
        archive = archive_of(service, operation)
        assert judged(archive, tmp_path, sandbox.root_der) == 2
        missing = get(service, record_path(operation, 1))
        assert (missing.status_code, missing.json()["errorCode"]) == (404, "batchseal.not_found")
        assert "invoice-1.pdf" in missing.json()["causeMessage"]
        assert get(service, record_path(operation, 3)).status_code == 404
        assert get(service, record_path(operation + 1, 0)).status_code == 404
        plain = send(service, batch("plain", [PDF]), ASYNC + "?evidenceRecord=false").json()["id"]
        finished(service, "plain")
        assert get(service, record_path(plain, 0)).status_code == 404
        assert list(archive_of(service, plain)) == ["doc 0.invoice-0.pdf"]
        wrong = send(service, batch("wrong", [PDF]), ASYNC + "?evidenceRecord=1")
        assert (wrong.status_code, wrong.json()["errorCode"]) == (400, "0.0.6")
        assert "evidenceRecord" in wrong.json()["causeMessage"]


def test_a_record_follows_its_results_over_a_kill(sandbox: Sandbox, gate: Gate, tmp_path: Path) -> None:
    gate.is_open, folder = False, tmp_path / "service"
    folder.mkdir()
    with started(sandbox, gate, folder=folder) as service:
        send(service, batch("late", [PDF] * 3))
        operation = finished(service, "late").operation_id
        early = get(service, record_path(operation, 0))
        assert (early.status_code, early.json()["errorCode"]) == (409, "batchseal.record_pending")
        assert 1 <= int(early.headers["Retry-After"]) <= 60
        assert len(archive_of(service, operation)) == 3
        until(lambda: gate.asked)
        # The service notes a moment after the answer that the record is late.
        until(lambda: "batchseal_evidence_records_late 1.0" in metrics_of(service))
        ready = requests.get(f"{service.url}/health/ready", auth=credentials(service), timeout=120).json()
        assert "evidence records wait for a time stamp" in json.dumps(ready)
        service.kill()
    gate.is_open = True
    with started(sandbox, gate, folder=folder) as service:
        record_of(service, operation)
        assert judged(archive_of(service, operation), tmp_path, sandbox.root_der) == 3
        # A service that finds an audit trail has its head time-stamped too, and says so a moment after the answer.
        head = "the head of the audit chain was time-stamped"
        until(lambda: gate.given - service.log.read_text().count(head) == 1)


def test_a_record_that_was_given_up_says_so(sandbox: Sandbox, gate: Gate) -> None:
    gate.is_open = False
    with started(sandbox, gate, "--upstream-patience=1", evidenceRecord=True) as service:
        send(service, batch("gone", [PDF]), ASYNC)
        operation = finished(service, "gone").operation_id
        until(lambda: get(service, record_path(operation, 0)).status_code == 410, pause=0.1)
        reply = get(service, record_path(operation, 0)).json()
        assert reply["errorCode"] == "batchseal.record_given_up"
        until(lambda: "batchseal_evidence_records_given_up_total 1.0" in metrics_of(service))
        until(lambda: "an evidence record was given up" in service.log.read_text())
        assert len(archive_of(service, operation)) == 1


def test_our_own_client_stores_the_records_beside_the_documents(sandbox: Sandbox, gate: Gate, tmp_path: Path) -> None:
    paths = [tmp_path / "a.pdf", tmp_path / "b.bin", tmp_path / "c.ers"]
    for path, content in zip(paths, (PDF, b"a file", b"another one"), strict=True):
        path.write_bytes(content)
    with started(sandbox, gate, evidenceRecord=True) as service:
        client = client_of(service)
        body = BatchBody(find_documents(paths), "own", "d")
        # The record may be late: then only the documents are there, and whoever asks again has both.
        result = seal_batch(client, body, tmp_path / "first", lambda *_: None)
        record_of(service, result.operation_id)
        again = send(service, b"".join(body), ASYNC)
        assert again.status_code == 409
        signed = fetched_again(client, body, tmp_path / "out", result.operation_id)
        client.close()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        name + end for name in ("a.pdf", "b.bin.p7m", "c.ers.p7m") for end in ("", ".ers")
    }
    assert [path.name for path in signed] == ["a.pdf", "b.bin.p7m", "c.ers.p7m"]
    for path in signed:
        verify(path.with_name(path.name + ".ers").read_bytes(), path.read_bytes(), sandbox.root_der)


def fetched_again(client: Any, body: BatchBody, out: Path, operation: int) -> list[Path]:
    out.mkdir()
    result = BatchResult(operation, "EXECUTED")
    fetch(client, body.documents, out, result, lambda *_: None)
    return result.signed


def test_certomancer_stamps_the_record(sandbox: Sandbox, tmp_path: Path) -> None:
    with process(tmp_path / "peer"):
        authority = f"{(tmp_path / 'peer' / 'services').read_text()}/tsa/tsa"
        root = tmp_path / "peer" / "root.pem"
        with gate_before(authority) as gate, started(sandbox, gate, f"--timestamp-roots={root}") as service:
            send(service, batch("peer", [PDF] * 7))
            operation = finished(service, "peer").operation_id
            record_of(service, operation)
            assert judged(archive_of(service, operation), tmp_path, pem.unarmor(root.read_bytes())[2]) == 7
            assert gate.given == 1
