"""What nobody should send: framing, headers, names, and PDFs made to exhaust a reader. Refused by name; neighbours are signed."""

import base64
import io
import json
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from harness.service import RunningService
from tests.support.service import (
    ASYNC,
    BASE,
    FAST,
    SYNC,
    authorization,
    batch,
    connect,
    documents,
    entry,
    finished,
    get,
    post,
    reply,
)


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with RunningService(*FAST, "--max-body-bytes=50000000") as running:
        yield running
        # Whatever came, it stands and serves.
        assert post(running, batch("still there", documents(1)), SYNC)[0] == 200


def raw(service: RunningService, data: bytes, timeout: float = 20) -> tuple[int, dict[str, str], bytes]:
    with connect(service, timeout) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return reply(connection)


FRAMING = {
    "length and chunks": b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a negative length": b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a folded header": b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "space before the colon": b"GET /health/live HTTP/1.1\r\nHost : x\r\n\r\n",
    "a bad chunk": b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


# Those that name an address which wants credentials: without them a 401 would come of anything.
AUTHORIZED = [name for name, data in FRAMING.items() if b"%s" in data]


@pytest.mark.parametrize("name", FRAMING)
def test_framing_that_two_readers_may_read_differently_is_refused(service: RunningService, name: str) -> None:
    data = FRAMING[name].replace(b"%s", ASYNC.encode())
    if name in AUTHORIZED:
        data = data.replace(b"Host: x", b"Host: x\r\nAuthorization: " + authorization(service).encode())
    status, _, _ = raw(service, data)
    # 0: the connection was ended without a word, as it may be for what is not HTTP.
    assert status in (0, 400), status


def test_nothing_is_smuggled_behind_a_length_and_chunks(service: RunningService) -> None:
    """What one reader takes for the next request, another takes for the body: there is one reply, and no next request."""
    body = batch("length and chunks", documents(1))
    lines = f"POST {ASYNC} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(service)}\r\n"
    lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with connect(service, 20) as connection:
        connection.sendall(lines.encode() + chunked + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                said += piece
    assert said.count(b"HTTP/1.1 ") == 1, said
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200")), said


def test_endless_headers_are_cut(service: RunningService) -> None:
    status, _, _ = raw(service, b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"a" * 2_000_000)
    assert status in (0, 400, 431)


def test_very_many_headers_are_cut(service: RunningService) -> None:
    many = b"".join(b"X-%d: a\r\n" % n for n in range(20_000))
    status, _, _ = raw(service, b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")
    assert status in (0, 400, 431)


def test_a_body_over_the_limit_is_refused_unread(service: RunningService) -> None:
    began = time.monotonic()
    request = f"POST {ASYNC} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(service)}\r\n"
    status, _, _ = raw(service, (request + "Content-Length: 50000001\r\n\r\n").encode())
    assert status == 413
    assert time.monotonic() - began < 120


def test_an_endless_body_is_cut(service: RunningService) -> None:
    request = f"POST {ASYNC} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(service)}\r\n"
    request += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    with connect(service, 30) as connection:
        connection.sendall(request.encode())
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(200):
                connection.sendall(chunk)
        assert reply(connection)[0] in (0, 413)


JSON = {
    "deep": b'{"a":' + b"[" * 100_000,
    "twice the same key": b'{"externalReference":"a","externalReference":"b"}',
    "not UTF-8": b'{"externalReference":"\xff\xfe"}',
    "a lone surrogate": b'{"externalReference":"\\ud800","description":"d","documents":[]}',
    "NUL in a reference": b'{"externalReference":"a\\u0000b","description":"d","documents":[]}',
    "a huge number": b'{"externalReference":' + b"9" * 100_000 + b"}",
    "no documents": b'{"externalReference":"a","description":"d","documents":[]}',
    "nothing": b"",
    "an array": b"[]",
    "4 KB of reference": b'{"externalReference":"' + b"r" * 4096 + b'","description":"d","documents":[]}',
}


@pytest.mark.parametrize("name", JSON)
def test_json_that_is_not_a_request_is_refused(service: RunningService, name: str) -> None:
    status, _, said = post(service, JSON[name])
    assert 400 <= status < 500, (status, said)
    assert json.loads(said)["causeMessage"]


NAMES = (
    "../../etc/passwd",
    "..\\..\\windows",
    "a\r\nSet-Cookie: x=1",
    "/etc/passwd",
    "a\x1b[31mb",
    "..",
    "C:\\x",
    "é" * 100,
)


def test_names_stay_names(service: RunningService) -> None:
    request: dict[str, Any] = {"externalReference": "x/../\r\ny: z", "description": "d", "documents": []}
    for number, name in enumerate(NAMES):
        one = entry(number, documents(1)[0])
        one["documentRequest"] |= {"name": name, "externalReference": name}
        request["documents"].append(one)
    status, headers, said = post(service, json.dumps(request).encode())
    assert status == 200, said
    assert "set-cookie" not in headers
    assert "y" not in headers
    operation = json.loads(said)["id"]
    finished(service, request["externalReference"])
    status, headers, body = get(service, f"{BASE}/operation/sign/detail/{operation}/documents")
    assert status == 200
    assert "set-cookie" not in headers
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        entries = archive.namelist()
    assert len(set(entries)) == len(NAMES)
    for name in entries:
        assert not name.startswith(("/", "\\")), name
        assert ".." not in name.replace("\\", "/").split("/"), name
        assert "/" not in name and "\\" not in name, name
        assert not any(ord(character) < 32 for character in name), repr(name)
    for ordinal in range(len(NAMES)):
        status, headers, _ = get(service, f"{BASE}/operation/sign/detail/{operation}/documents/{ordinal}")
        assert status == 200
        assert "set-cookie" not in headers


@pytest.mark.parametrize("path", ["%0d%0aSet-Cookie:%20a=1", "%00", "..%2f..%2fetc", "%ff%fe", "a" * 9000, "%"])
def test_paths_put_nothing_into_the_reply(service: RunningService, path: str) -> None:
    status, headers, _ = get(service, f"{BASE}/async/operation/status/withExternalReference/{path}")
    assert status in (0, 400, 404, 414)
    assert "set-cookie" not in headers


# --- PDFs --------------------------------------------------------------------------------------------------------


def pdf(objects: dict[int, bytes], root: int = 1, trailer: bytes = b"") -> bytes:
    """With a cross-reference table."""
    out, places = bytearray(b"%PDF-1.7\n"), {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    size = max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        out += b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 00000 f \n"
    return bytes(out) + b"trailer<</Size %d/Root %d 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, root, trailer, start)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(data), entries, data)


CATALOG, PAGES = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[3 0 R]>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
BOMB = zlib.compress(zlib.compress(bytes(100 << 20), 1), 9)
DEEP = {n: b"<</Type/Pages/Count 1/Kids[%d 0 R]/Parent %d 0 R>>" % (n + 1, n - 1) for n in range(3, 5_000)}

HOSTILE = {
    "xref loop": pdf({1: CATALOG, 2: PAGES, 3: PAGE}, trailer=b"/Prev 9"),
    "pages loop": pdf({1: CATALOG, 2: b"<</Type/Pages/Count 1/Kids[2 0 R]>>"}),
    "deep page tree": pdf({1: CATALOG, 2: PAGES, **DEEP, 5_000: PAGE}),
    "huge object number": pdf({1: CATALOG, 2: PAGES, 3: PAGE}).replace(b"xref\n0 4", b"xref\n0 4294967295"),
    "huge size": pdf({1: CATALOG, 2: PAGES, 3: PAGE}).replace(b"/Size 4", b"/Size 99999999999999999999"),
    "deep nesting": pdf({1: CATALOG, 2: PAGES, 3: b"[" * 500_000}),
    "flate bomb in an object stream": (
        b"%PDF-1.7\n1 0 obj\n"
        + stream(BOMB, b"/Type/XRef/W[1 2 1]/Size 99999999/Filter[/FlateDecode/FlateDecode]/Root 2 0 R")
        + b"\nendobj\nstartxref\n9\n%%EOF\n"
    ),
    "no objects": b"%PDF-1.7\n%%EOF",
    "not a PDF": b"\x00" * 1000,
    "startxref beyond the end": pdf({1: CATALOG, 2: PAGES, 3: PAGE})[:-20] + b"startxref\n999999999\n%%EOF",
}
# A loop of /Prev that begins at the table itself.
PLAIN = HOSTILE["xref loop"]
HOSTILE["xref loop"] = PLAIN.replace(b"/Prev 9", b"/Prev %d" % PLAIN.index(b"xref\n0"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_harms_nobody(service: RunningService, name: str) -> None:
    began = time.monotonic()
    status, _, said = post(service, batch(f"hostile {name}", [documents(1)[0], HOSTILE[name], documents(2)[1]]), SYNC)
    seconds = time.monotonic() - began
    assert status == 200, said[:300]
    answer = json.loads(said)
    first, hostile, last = answer["documentList"]
    assert (first["signStatus"], last["signStatus"]) == ("SIGNED", "SIGNED")
    assert seconds < 60
    if hostile["signStatus"] == "ERROR_SIGNING":
        assert "invoice-1.pdf" in hostile["causeMessage"]
        assert answer["status"] == "EXECUTION_FAILED"
    else:
        assert base64.b64decode(hostile["signedContent"]).startswith(HOSTILE[name])
