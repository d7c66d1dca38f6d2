"""The limits of the scanner: each is met at the same byte however the body is cut, and says which it is."""

import base64
import re
from typing import Any

import pytest

from batchseal._native import scanner
from batchseal._native.scanner import RequestScanner, ScanFailure

KERNELS = [name for name, _, supported, _ in scanner.kernels() if supported]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request):
    yield scanner.use_kernels(request.param)
    scanner.use_kernels()


def refusal(*pieces: bytes, **limits: int) -> tuple[int, ScanFailure]:
    """Documents finished in front of the failure, and the failure."""
    s = RequestScanner(**limits)
    finished = sum(len(s.feed(p)) for p in pieces)
    assert s.finish() is None
    assert s.failure is not None
    assert s.feed(b"{}") == []
    return finished, s.failure


def check(body: bytes, kind: str, place: str, offset: int, message: str, **limits: int) -> None:
    """All of the failure, the same for every cut; {} in the message stands for the place."""
    found = re.match(r"documents\[(\d+)\]", place)
    message = message.replace("{}", place or "the top level")
    whole = refusal(body, **limits)
    assert whole[1] == ScanFailure(kind, place, offset, found and int(found[1]), f"{message}, byte {offset}")
    assert refusal(*(body[i : i + 1] for i in range(len(body))), **limits) == whole
    for at in range(1, len(body)):
        assert refusal(body[:at], body[at:], **limits) == whole, at


def in_content(text: str) -> bytes:
    return b'{"documents":[{},{"documentRequest":{"base64Content":"%s"}}]}' % text.encode()


CONTENT = "documents[1].documentRequest.base64Content"
CONTENT_STARTS = in_content("").index(b'""') + 1


def test_depth():
    deep = '{"a":' + "[" * 15 + "]" * 15 + "}"
    s = RequestScanner()
    s.feed(deep.encode())
    assert s.finish() == deep.encode()
    place = "a" + "[0]" * 15
    check(b'{"a":' + b"[" * 20, "depth", place, 20, "nested deeper than the limit of 16 at {}")
    check(b'{"a":{"b":{}}}', "depth", "a.b", 10, "nested deeper than the limit of 2 at {}", max_depth=2)
    for bomb in (b'{"a":' + b"[" * 1_000_000, b'{"a":' * 1_000_000):
        assert refusal(bomb)[1].kind == "depth"
    s = RequestScanner(max_depth=1000)
    s.feed(b'{"a":' * 1000 + b"0" + b"}" * 1000)
    assert s.failure is None


def test_documents():
    body = b'{"documents":[{},{},{}]}'
    assert RequestScanner(max_documents=3).feed(body) != []
    what = "more documents than the limit of 2 at {}"
    check(body, "limit_documents", "documents[2]", 20, what, max_documents=2)
    assert refusal(body, max_documents=2)[0] == 2


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 100, 101, 102])
def test_document_bytes(limit):
    what = f"the document is larger than the limit of {limit} at {{}}"
    for over in (1, 2, 3, 4, 200):
        text = base64.b64encode(bytes(limit)).decode()
        s = RequestScanner(max_document_bytes=limit)
        assert [d.content is not None and len(d.content) for d in s.feed(in_content(text))] == [False, limit]
        text = base64.b64encode(bytes(limit + over)).decode()
        _, failure = refusal(in_content(text), max_document_bytes=limit)
        check(in_content(text), "limit_document_bytes", CONTENT, failure.offset, what, max_document_bytes=limit)
        assert CONTENT_STARTS < failure.offset <= CONTENT_STARTS + limit // 3 * 4 + 3


def test_document_bytes_of_a_long_one_with_escapes():
    text = base64.encodebytes(bytes(60_000)).decode().replace("\n", "\\r\\n")
    body = in_content(text)
    offsets = set()
    for n in (100, 4096, 33_333, 100_000):
        pieces = [body[i : i + n] for i in range(0, len(body), n)]
        offsets.add(refusal(*pieces, max_document_bytes=50_000)[1].offset)
    assert len(offsets) == 1
    s: Any = RequestScanner(max_document_bytes=60_000)
    assert len(s.feed(body)[1].content) == 60_000


def test_text():
    document = '{"a":"' + "x" * 100 + '"}'
    other = '{"documentRequest":{"base64Content":"QUJD"}}'
    body = f'{{"n":"{"y" * 60}","documents":[{document},{other}]}}'.encode()
    s = RequestScanner(max_skeleton_bytes=len(document))
    assert [len(d.skeleton) for d in s.feed(body)] == [108, 42]
    what = "the document's attributes are larger than the limit of 107 at {}"
    check(body, "limit_text", "documents[0]", body.index(b'"}', 80) + 1, what, max_skeleton_bytes=107)
    what = "the request's attributes are larger than the limit of 50 at {}"
    check(body, "limit_text", "n", 50, what, max_skeleton_bytes=50)
    number = b'{"a":1' + b"1" * 50
    check(number, "limit_text", "a", 20, what.replace("50", "20"), max_skeleton_bytes=20)
