"""The request scanner on what it accepts: skeletons, contents, any cut, every kernel, and its buffers."""

import base64
import ctypes
import gc
import hashlib
import json
import random
import threading
from typing import Any

import pytest

from batchseal._native import scanner
from batchseal._native.scanner import DocumentBuffer, RequestScanner

KERNELS = [name for name, _, supported, _ in scanner.kernels() if supported]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request):
    yield scanner.use_kernels(request.param)
    scanner.use_kernels()


def scan(*pieces, **limits):
    """Documents as (ordinal, skeleton, content), the request's skeleton, the failure."""
    s = RequestScanner(**limits)
    documents = [
        (d.ordinal, d.skeleton, None if d.content is None else bytes(d.content)) for p in pieces for d in s.feed(p)
    ]
    return documents, s.finish(), s.failure


def text_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def body_with(content: str) -> bytes:
    """A request whose one document has this JSON text between the quotes of base64Content."""
    return b'{"documents":[{"documentRequest":{"base64Content":"%s"}}]}' % content.encode()


REQUEST = (
    '\ufeff {"externalReference" : "FT 2021\\/5 \\ud83d\\ude00 çã€😀", '
    '"unknown": [1, -0.5e+3, {"a": [true, false, null]}],\r\n'
    '"documents": [ {"signatureInfo": {"signatureType": "PAdES", "applyTimestamp": false, '
    '"reason": "\\u00e7\\n"},\t'
    '"documentRequest": {"name": "a.pdf", "base64Content": "JVBERi0xLjcKJ\\/cw\\u002BfQ=", '
    '"base64content": "x"}},'
    '{"documentRequest":{"base64Content":null,"name":""},"base64Content":"not base64"},'
    '{"documentRequest":{"base64\\u0043ontent":"QUJD\\r\\nREVG"}},{"documentRequest":[{"base64Content":"-"}]},'
    '{"documentRequest":{"x":{"base64Content":"-"}}}, {} ], "returnSignedContent":true } \n'
).encode()

SKELETONS = [
    '{"signatureInfo":{"signatureType":"PAdES","applyTimestamp":false,"reason":"\\u00e7\\n"},'
    '"documentRequest":{"name":"a.pdf","base64Content":true,"base64content":"x"}}',
    '{"documentRequest":{"base64Content":null,"name":""},"base64Content":"not base64"}',
    '{"documentRequest":{"base64\\u0043ontent":true}}',
    '{"documentRequest":[{"base64Content":"-"}]}',
    '{"documentRequest":{"x":{"base64Content":"-"}}}',
    "{}",
]
CONTENTS = [base64.b64decode("JVBERi0xLjcKJ/cw+fQ="), None, b"ABCDEF", None, None, None]
OUTCOME = (
    [(i, s.encode(), c) for i, (s, c) in enumerate(zip(SKELETONS, CONTENTS, strict=True))],
    '{"externalReference":"FT 2021\\/5 \\ud83d\\ude00 çã€😀","unknown":[1,-0.5e+3,{"a":[true,false,null]}],'
    '"documents":6,"returnSignedContent":true}'.encode(),
    None,
)


def test_whole():
    assert scan(REQUEST) == OUTCOME


def test_cut_at_every_byte():
    for at in range(len(REQUEST) + 1):
        assert scan(REQUEST[:at], REQUEST[at:]) == OUTCOME, at


def test_one_byte_at_a_time():
    assert scan(*(REQUEST[i : i + 1] for i in range(len(REQUEST)))) == OUTCOME
    assert scan(b"", *(piece for i in range(len(REQUEST)) for piece in (REQUEST[i : i + 1], b""))) == OUTCOME


@pytest.mark.parametrize("body", [b"{}", b' { "documents" : [ ] } ', b'{"documents":null}', b'{"documents":[{}]}'])
def test_small_requests(body):
    documents, request, failure = scan(body)
    assert failure is None
    assert [d[1] for d in documents] == ([b"{}"] if b"{}" in body[2:] else [])
    expected = json.loads(body)
    if expected.get("documents") is not None:
        expected["documents"] = len(expected["documents"])
    assert json.loads(request) == expected


def test_content_of_all_lengths_and_escapes():
    rng = random.Random(1)
    ways = [
        lambda t: t,
        lambda t: t.replace("/", "\\/"),
        lambda t: "\\r\\n".join(t[i : i + 76] for i in range(0, len(t), 76)),
        lambda t: "\\n".join(t[i : i + 61] for i in range(0, len(t), 61)) + "\\n",
        lambda t: t.replace("+", "\\u002b").replace("=", "\\u003D").replace("/", "\\/"),
        lambda t: "".join(f"\\u{ord(c):04x}" if rng.random() < 0.2 else c for c in t),
    ]
    for n in [*range(200), 3000, 9001, 70_000, 300_001]:
        content = rng.randbytes(n)
        for way in ways:
            body = body_with(way(text_of(content)))
            cuts = sorted(rng.randrange(len(body)) for _ in range(rng.randrange(4)))
            pieces = [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True)]
            documents, _, failure = scan(*pieces)
            assert failure is None
            assert documents == [(0, b'{"documentRequest":{"base64Content":true}}', content)], n


def test_large_text_beside_the_content():
    for n in (31, 32, 33, 63, 64, 65, 4096, 100_000):
        image = "A" * n
        body = json.dumps({"documents": [{"signatureInfo": {"visible": {"imageValue": image + 'é"\\' + image}}}]})
        for raw in (body.encode(), body.replace("\\u00e9", "é").encode()):
            (document,), _, failure = scan(raw)
            assert failure is None
            assert json.loads(document[1]) == json.loads(body)["documents"][0]


def test_many_keys_in_an_object():
    many = {f"key {i}": i for i in range(5000)}
    body = json.dumps({"a": many, "documents": [{"b": many}, {"b": many}]}).encode()
    documents, request, failure = scan(body)
    assert failure is None
    assert json.loads(request)["a"] == many
    assert all(json.loads(d[1]) == {"b": many} for d in documents)


def test_sizes_that_jump_about():
    rng = random.Random(2)
    contents = [rng.randbytes(rng.choice((0, 10, 5000, 70_000, 1_500_000))) for _ in range(60)]
    body = json.dumps({"documents": [{"documentRequest": {"base64Content": text_of(c)}} for c in contents]}).encode()
    s, held = RequestScanner(), list[Any]()
    for i in range(0, len(body), 300_000):
        held += s.feed(body[i : i + 300_000])
    assert [bytes(d.content) for d in held] == contents
    # No document sits in a buffer that is more than four times too large (the smallest hold 4 or 8 KiB).
    assert all(d.content.capacity <= max(8192, 4 * len(d.content) + 4) for d in held)


def test_progress():
    s = RequestScanner()
    assert (s.documents_seen, s.bytes_seen, s.failure) == (0, 0, None)
    s.feed(b'{"documents":[{},{')
    assert (s.documents_seen, s.bytes_seen) == (2, 18)
    s.feed(b"}]}")
    assert s.finish() == b'{"documents":2}' == s.finish()
    s.close()
    s.close()
    for call in (lambda: s.feed(b""), s.finish):
        with pytest.raises(ValueError, match="closed"):
            call()


def document(content: bytes) -> DocumentBuffer:
    (scanned,) = RequestScanner().feed(body_with(text_of(content)))
    assert scanned.content is not None
    return scanned.content


def test_a_document_is_a_read_only_buffer():
    content = random.Random(3).randbytes(100_000)
    buffer = document(content)
    view = memoryview(buffer)
    assert (view.readonly, view.format, view.shape, len(buffer)) == (True, "B", (100_000,), 100_000)
    assert view == content
    assert hashlib.sha256(buffer).digest() == hashlib.sha256(content).digest()
    with pytest.raises((BufferError, TypeError)):
        ctypes.c_char.from_buffer(buffer)
    with pytest.raises(BufferError):
        buffer.release()
    with pytest.raises(BufferError):
        buffer.append(b"more")
    view.release()
    buffer.release()
    buffer.release()
    assert (len(buffer), buffer.capacity, bytes(buffer)) == (0, 0, b"")


def test_a_view_outlives_its_document():
    content = random.Random(4).randbytes(50_000)
    view = memoryview(document(content))
    gc.collect()
    others = [document(bytes(50_000)) for _ in range(4)]
    assert view == content
    del others


def test_appending_for_multipart():
    buffer, content = DocumentBuffer(), random.Random(5).randbytes(1_000_000)
    for i in range(0, len(content), 60_000):
        buffer.append(content[i : i + 60_000])
    assert bytes(buffer) == content
    with pytest.raises(BufferError):
        buffer.append(buffer)


def test_nothing_is_left_behind():
    gc.collect()
    before = scanner.live_buffers()
    content = text_of(bytes(500_000))
    bodies = [
        body_with(content),
        body_with(content)[:-5],  # truncated, with a document read
        body_with(content)[:300_000],  # within the content
        body_with(content + "!"),
        body_with(content) + b"x",
        b'{"documents":[' + b",".join([body_with(content)[14:-2]] * 3) + b",[]]}",
    ]
    for body in bodies * 3:
        s = RequestScanner()
        documents = s.feed(body)
        del documents
        if s.failure is not None:
            assert scanner.live_buffers() == before
        del s
        assert scanner.live_buffers() == before


def test_the_cache_is_bounded():
    bound = scanner.set_buffer_cache()
    try:
        scanner.set_buffer_cache(1 << 20)
        held = [document(bytes(200_000)) for _ in range(20)]
        del held
        assert 0 < scanner.cached_buffer_bytes() <= 1 << 20
        scanner.set_buffer_cache(0)
        assert scanner.cached_buffer_bytes() == 0
    finally:
        scanner.set_buffer_cache(bound)


def test_scanners_on_threads():
    content = random.Random(6).randbytes(150_000)
    body = b'{"documents":[' + b",".join([body_with(text_of(content))[14:-2]] * 20) + b"]}"
    wrong = []

    def work():
        s: Any = RequestScanner()
        found = [bytes(d.content) for i in range(0, len(body), 99_991) for d in s.feed(body[i : i + 99_991])]
        if found != [content] * 20 or s.finish() != b'{"documents":20}':
            wrong.append(s.failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_arguments():
    anything: tuple[Any, ...] = ("text", 5, None)
    for wrong in anything:
        with pytest.raises(TypeError):
            RequestScanner().feed(wrong)
    for limits in ({"max_depth": 0}, {"max_depth": 1001}, {"max_skeleton_bytes": 1}, {"max_documents": -1}):
        with pytest.raises(ValueError, match=r"max_skeleton_bytes|out of its range"):
            RequestScanner(**limits)
    with pytest.raises(ValueError, match="portable"):
        scanner.use_kernels("mmx")


def test_the_request_in_front_of_the_documents_is_known_while_they_arrive():
    s, so_far = RequestScanner(), '{"externalReference":"FT 2021\\/5","documents":'
    assert s.request_so_far == b""
    s.feed(
        b'\xef\xbb\xbf { "externalReference" : "FT 2021\\/5", "documents" : [ {"documentRequest": {"base64Content":"'
    )
    for piece in (b"AAAA" * 1000, b'"}}, ', b'{"documentRequest": '):
        assert s.request_so_far == so_far.encode()
        s.feed(piece)
    s.feed(b"{}}], ")
    assert s.request_so_far == so_far.encode() + b"2,"
    s.feed(b'"x":1}')
    assert s.request_so_far == s.finish() == so_far.encode() + b'2,"x":1}'
    s.close()
    with pytest.raises(ValueError, match="closed"):
        s.request_so_far  # noqa: B018
