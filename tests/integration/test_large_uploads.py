"""What an upload of a large document holds in memory: a window, and not the document."""

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from harness.filled_pdf import filled_pdf
from harness.held_folder import held_folder
from harness.processes import ANONYMOUS_AND_SHARED, PeakMemory
from harness.service import RunningService
from tests.support.memory_folder import on_disk
from tests.support.service import BASE, authorization

LARGE_BYTES, PIECE_BYTES = 40_000_000, 3 << 20
# A window of 4 MB, what has come beside it, a part that is written, and what the heap keeps. The document is larger.
MOST_BYTES = 24_000_000
MULTIPART = "multipart/form-data; boundary=cut"


@pytest.fixture(scope="module")
def document() -> bytes:
    return filled_pdf(1, LARGE_BYTES)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningService]:
    """On the disk: a file in memory that is mapped counts as memory of the service."""
    with on_disk(), held_folder("large") as folder, RunningService("--workers", "1", folder=folder) as service:
        yield service


def described(reference: str, content: bytes | None) -> dict[str, object]:
    facts = {"externalReference": "d", "name": "a.pdf", "contentType": "application/pdf"}
    if content is not None:
        facts["base64Content"] = base64.b64encode(content).decode()
    entry = {"documentRequest": facts, "signatureInfo": {"signatureType": "PAdES"}}
    return {"externalReference": reference, "description": "", "returnSignedContent": False, "documents": [entry]}


def json_body(reference: str, content: bytes) -> bytes:
    return json.dumps(described(reference, content)).encode()


def multipart_body(reference: str, content: bytes) -> bytes:
    parts = [
        b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(described(reference, None)).encode(),
        b'Content-Disposition: form-data; name="files"; filename="a.pdf"\r\n\r\n' + content,
    ]
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"


def asked(service: RunningService, method: str, path: str, media_type: str = "", body: bytes = b"") -> bytes:
    """The body of the answer, which must be 200."""
    pieces = (body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES))
    headers = {"Authorization": authorization(service)}
    if body:
        headers |= {"Content-Type": media_type, "Content-Length": str(len(body))}
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)) as connection:
        connection.request(method, f"{BASE}/{path}", pieces if body else None, headers)
        with connection.getresponse() as response:
            answer = response.read()
            assert response.status == 200, answer[:500]
    return answer


def post(service: RunningService, path: str, media_type: str, body: bytes) -> dict[str, object]:
    answer: dict[str, object] = json.loads(asked(service, "POST", path, media_type, body))
    return answer


@pytest.mark.parametrize(
    ("path", "media_type", "body_of"),
    [
        ("document/sign/base64", "application/json", json_body),
        ("document/sign", MULTIPART, multipart_body),
    ],
    ids=["json", "multipart"],
)
def test_an_upload_holds_a_window(
    running: RunningService, document: bytes, path: str, media_type: str, body_of: Callable[[str, bytes], bytes]
) -> None:
    body = body_of(media_type, document)
    with PeakMemory(running.process.pid, fields=ANONYMOUS_AND_SHARED) as before:
        post(running, path, media_type, body_of(f"small {media_type}", filled_pdf(2, 200_000)))
    with PeakMemory(running.process.pid, fields=ANONYMOUS_AND_SHARED) as during:
        answer = post(running, path, media_type, body)
        signed = asked(running, "GET", f"operation/sign/detail/{answer['id']}/documents/0")
    assert signed.startswith(document)
    assert during.peak["service"] - before.peak["service"] < MOST_BYTES


def test_the_payload_holds_the_document_once(running: RunningService, document: bytes) -> None:
    post(running, "document/sign", MULTIPART, multipart_body("once", document))
    newest = max((running.folder / "temp" / "spill").glob("*.spill"), key=lambda path: path.stat().st_mtime_ns)
    assert LARGE_BYTES < newest.stat().st_size < LARGE_BYTES + 100_000


def test_a_large_document_that_is_refused_is_not_stored(running: RunningService, document: bytes) -> None:
    broken = document[: len(document) // 2]
    answer = post(running, "async/document/sign", MULTIPART, multipart_body("refused", broken))
    newest = max((running.folder / "temp" / "spill").glob("*.spill"), key=lambda path: path.stat().st_mtime_ns)
    assert answer
    assert newest.stat().st_size < 100_000
