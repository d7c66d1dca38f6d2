"""Bad input gets its code and a message that names the place, and leaves nothing behind; refusals arrive early."""

import base64
import http.client
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.service import measure
from tests.acceptance.conftest import Running

HUGE_BYTES = 300 << 20


def basic(running: Running) -> str:
    return "Basic " + base64.b64encode(f"{running.client_id}:{running.secret}".encode()).decode()


def post(running: Running, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", running.service.port, timeout=120)
    headers = {"Authorization": basic(running), "Content-Type": "application/json", **headers}
    connection.request("POST", f"{running.base}/async/document/sign/base64/", body, headers)
    reply = connection.getresponse()
    answer = json.loads(reply.read())
    connection.close()
    return reply.status, answer


def good_body(content: bytes, reference: str) -> bytes:
    document = {
        "documentRequest": {
            "externalReference": "d",
            "name": "first.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES"},
    }
    second = json.loads(json.dumps(document))
    second["documentRequest"]["name"] = "second.pdf"
    request = {"externalReference": reference, "description": "x", "documents": [document, second]}
    return json.dumps(request).encode()


def in_second(body: bytes, old: bytes, new: bytes) -> bytes:
    at = body.rindex(old)
    return body[:at] + new + body[at + len(old) :]


Change = Callable[[bytes], bytes]
CASES: dict[str, tuple[Change, int, str, str]] = {
    "truncated": (lambda b: b[:-20], 400, "0.0.2", ""),
    "not JSON": (lambda b: b"<xml/>", 400, "0.0.2", ""),
    "no documents": (lambda b: b'{"externalReference":"r","description":"d"}', 400, "0.0.2", "documents"),
    "bad base64": (lambda b: in_second(b, b"JVBER", b"JV*ER"), 400, "0.0.2", "documents[1]"),
    "padding bits": (lambda b: in_second(b, b"JVBER", b'QR==","x":"'), 400, "0.0.2", "documents[1]"),
    "no name": (lambda b: in_second(b, b'"name"', b'"nome"'), 400, "0.0.2", "documents[1].documentRequest.name"),
    "a type that is none": (lambda b: in_second(b, b"application/pdf", b"image/png"), 400, "0.0.6", "documents[1]"),
    "duplicate key": (lambda b: in_second(b, b'"contentType"', b'"name"'), 400, "0.0.2", "documents[1]"),
    "long name": (lambda b: in_second(b, b"second.pdf", b"n" * 300), 413, "0.0.4", "documents[1].documentRequest.name"),
    "long description": (lambda b: b.replace(b'"x"', b'"%s"' % (b"x" * 4001)), 413, "0.0.4", "description has 4001"),
    "long reason": (
        lambda b: in_second(b, b'"signatureType"', b'"reason": "%s", "signatureType"' % (b"r" * 1001)),
        413,
        "0.0.4",
        "documents[1].signatureInfo.reason has 1001",
    ),
    "a list for a text": (
        lambda b: in_second(b, b'"second.pdf"', b"[7]"),
        400,
        "0.0.2",
        "a text is expected, a list was sent",
    ),
    "too deep": (lambda b: b'{"documents":' + b"[" * 5000, 400, "0.0.2", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_the_code_and_the_place(running: Running, invoices: list[Path], name: str) -> None:
    change, status, code, place = CASES[name]
    before = running.stored_payloads()
    got, answer = post(running, change(good_body(invoices[0].read_bytes(), f"bad {name}")))
    assert (got, answer["errorCode"]) == (status, code), answer
    assert place in answer["causeMessage"]
    assert answer["errorCodeDescription"]
    assert running.stored_payloads() == before


ENCRYPTED = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>> endobj
4 0 obj <</Filter/Standard/V 1/R 2/O<00>/U<00>/P -4>> endobj
trailer <</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>
"""


@pytest.mark.parametrize("form", ["JSON", "request first", "files first"])
@pytest.mark.parametrize("content", [ENCRYPTED, b"%PDF-1.7 and nothing else", b"no PDF at all"])
def test_documents_that_cannot_be_signed_are_no_fault_of_the_service(
    running: Running, form: str, content: bytes
) -> None:
    """The way of a refusal through worker, signer and database, for both forms of a body."""
    entry = json.loads(good_body(content, ""))["documents"][0]
    request = {
        "externalReference": f"unsignable {form} {content[:30]!r}",
        "description": "x",
        "documents": [entry, entry],
    }
    url, auth = f"{running.service.url}{running.base}/document/sign/", (running.client_id, running.secret)
    if form == "JSON":
        reply = requests.post(url + "base64/", json=request, auth=auth, timeout=120)
    else:
        del entry["documentRequest"]["base64Content"]
        parts: list[Any] = [("files", ("f.pdf", content))] * 2
        parts.insert(0 if form == "request first" else 2, ("signRequest", (None, json.dumps(request))))
        reply = requests.post(url, files=parts, auth=auth, timeout=120)
    answer = reply.json()
    assert (reply.status_code, answer["errorCode"]) == (422, "batchseal.not_signable"), answer
    assert answer["causeMessage"].startswith("first.pdf: ")
    assert answer["causeMessage"].count("first.pdf") == 1
    url = f"{running.service.url}{running.base}/operation/sign/detail/{answer['id']}/contentInResponse/false"
    operation = requests.get(url, auth=auth, timeout=120).json()
    assert operation["status"] == "EXECUTION_FAILED"
    assert {document["signError"] for document in operation["documentList"]} == {"SIGN_OPERATION_INTERNAL_ERROR"}
    assert {document["causeMessage"] for document in operation["documentList"]} == {answer["causeMessage"]}


def test_nothing_is_left_and_nothing_grows(running: Running, invoices: list[Path]) -> None:
    """All cases a hundred times over: no file, no row, no memory."""
    content = invoices[0].read_bytes()
    bodies = [change(good_body(content, f"grow {name}")) for name, (change, *_) in CASES.items()]
    for body in bodies * 5:  # what is allocated once
        post(running, body)
    files, memory = running.stored_payloads(), memory_taken(running)
    for body in bodies * 100:
        post(running, body)
    assert running.stored_payloads() == files
    client = running.client()
    for name in CASES:
        with pytest.raises(Exception, match="no operation"):
            client.status(f"grow {name}")
    client.close()
    assert memory_taken(running) - memory < 3 << 20


def memory_taken(running: Running) -> int:
    return measure(running.service.process.pid, "Pss_Anon")["service"]


def pieces() -> Iterator[bytes]:
    for _ in range(HUGE_BYTES >> 20):
        yield b" " * (1 << 20)


def test_a_refusal_reaches_urllib(running: Running) -> None:
    url = f"{running.service.url}{running.base}/async/document/sign/base64/"
    request = urllib.request.Request(url, bytes(HUGE_BYTES), {"Authorization": "Basic bm86Ym9keQ=="}, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=120)
    assert refused.value.code == 401
    assert json.loads(refused.value.read())["errorCode"] == "1.1.0"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_refusal_reaches_requests(running: Running, chunked: bool) -> None:
    url = f"{running.service.url}{running.base}/async/document/sign/base64/"
    data = pieces() if chunked else bytes(HUGE_BYTES)
    reply = requests.post(url, data=data, auth=("no", "body"), timeout=120)
    assert reply.status_code == 401


def test_a_refusal_reaches_curl(running: Running, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(HUGE_BYTES)
    # No slash at the end: curl would add the file's name.
    url = f"{running.service.url}{running.base}/async/document/sign/base64"
    began = time.monotonic()
    command: list[str | Path] = [
        "curl",
        "-sS",
        "-u",
        "no:body",
        "-H",
        "Expect:",
        "-T",
        huge,
        "-X",
        "POST",
        "-w",
        "%{http_code}",
        url,
    ]
    for _ in range(5):  # a caller that pauses for longer than 2 s, as on a busy machine, finds its connection closed
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("401")
    assert time.monotonic() - began < 200
