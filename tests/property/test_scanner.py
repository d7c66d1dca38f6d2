"""The scanner against other code: ijson and pybase64 read random SignRequests, json judges mutated ones.

All kernels and several cuts must give the very same outcome, refusals included.
"""

import base64
import io
import json
import random
from typing import Any

import ijson
import pybase64
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchseal._native import scanner
from batchseal._native.scanner import RequestScanner

KERNELS = [
    "portable",
    *(n for n, k, supported, _ in scanner.kernels() if supported and k == n and n != "portable"),
]

NAMES = st.sampled_from(["documents", "documentRequest", "base64Content", "name", "externalReference", "a", "é€😀", ""])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(), inner, max_size=4),
    max_leaves=6,
)
CONTENT = st.binary(max_size=300).map(lambda b: base64.b64encode(b).decode())
DOCUMENT_REQUESTS = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=3).flatmap(
    lambda rest: (CONTENT | st.none()).map(lambda content: {**rest, "base64Content": content})
)
DOCUMENTS = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=3).flatmap(
    lambda rest: DOCUMENT_REQUESTS.map(lambda request: {**rest, "documentRequest": request})
)
REQUESTS = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=3).flatmap(
    lambda rest: st.lists(DOCUMENTS, max_size=4).map(lambda documents: {**rest, "documents": documents})
)


class Writer:
    """Writes JSON with the freedom of RFC 8259 (order, space, escapes); content in MIME lines."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def space(self) -> str:
        return "".join(self.rng.choices(" \t\r\n", k=self.rng.choice((0, 0, 0, 1, 2))))

    def string(self, value: str) -> str:
        escapes = {
            "/": ["\\/", "/"],
            "\n": ["\\n"],
            "\r": ["\\r"],
            "\t": ["\\t"],
            "\b": ["\\b"],
            "\f": ["\\f"],
        }
        often = self.rng.choice((0.0, 0.05, 0.9))
        out = []
        for c in value:
            unit = c.encode("utf-16-be")
            hexadecimal = "".join(f"\\u{int.from_bytes(unit[i : i + 2]):04x}" for i in range(0, len(unit), 2))
            if c in '"\\':
                out.append("\\" + c if self.rng.random() < 0.9 else hexadecimal)
            elif c in escapes:
                out.append(self.rng.choice(escapes[c]))
            elif c < " " or self.rng.random() < often:
                out.append(hexadecimal.upper().replace("U", "u") if self.rng.random() < 0.5 else hexadecimal)
            else:
                out.append(c)
        return '"' + "".join(out) + '"'

    def content(self, value: str) -> str:
        line = self.rng.choice((1000, 76, 7))
        lines = [value[i : i + line] for i in range(0, len(value), line)]
        return self.string(self.rng.choice(("\r\n", "\n")).join(lines))

    def value(self, value: Any, path: tuple[str, ...] = ()) -> str:
        s = self.space
        if path == ("documents", "*", "documentRequest", "base64Content") and value is not None:
            return self.content(value)
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, list):
            items = [s() + self.value(v, (*path, "*")) + s() for v in value]
            return "[" + (",".join(items) or s()) + "]"
        if isinstance(value, dict):
            pairs = list(value.items())
            self.rng.shuffle(pairs)
            items = [f"{s()}{self.string(k)}{s()}:{s()}{self.value(v, (*path, k))}{s()}" for k, v in pairs]
            return "{" + (",".join(items) or s()) + "}"
        return json.dumps(value)


def pieces(rng: random.Random, body: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(12)))
    return [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def scan(cut: list[bytes], **limits: int) -> tuple[Any, ...]:
    s = RequestScanner(**limits)
    documents = [
        (d.ordinal, d.skeleton, d.content if d.content is None else bytes(d.content)) for p in cut for d in s.feed(p)
    ]
    return documents, s.finish(), s.failure


def outcome(body: bytes, rng: random.Random, **limits: int) -> tuple[Any, ...]:
    """What all kernels say about all cuts."""
    try:
        scanner.use_kernels("portable")
        first = scan([body], **limits)
        for name in KERNELS:
            scanner.use_kernels(name)
            for cut in ([body], pieces(rng, body), [body[i : i + 1] for i in range(len(body))]):
                assert scan(cut, **limits) == first, (name, cut)
    finally:
        scanner.use_kernels()
    return first


def encoded(request: Any, rng: random.Random) -> bytes:
    text = Writer(rng).space() + Writer(rng).value(request) + Writer(rng).space()
    return rng.choice((b"", b"", b"\xef\xbb\xbf")) + text.encode("utf-8", "surrogatepass")


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.integers(0, 2**32))
def test_ijson_and_pybase64_read_the_same(request, seed):
    rng = random.Random(seed)
    body = encoded(request, rng)
    documents, text, failure = outcome(body, rng, max_depth=100)
    assert failure is None

    plain = body.removeprefix(b"\xef\xbb\xbf")  # ijson refuses the mark
    expected = list(ijson.items(io.BytesIO(plain), "documents.item", use_float=False))
    assert len(documents) == len(expected)
    for (ordinal, skeleton, content), theirs in zip(documents, expected, strict=True):
        there = theirs["documentRequest"]["base64Content"]
        if there is None:
            assert content is None
        else:
            assert content == pybase64.b64decode(there.replace("\r", "").replace("\n", ""), validate=True)
            theirs["documentRequest"]["base64Content"] = True
        assert next(ijson.items(io.BytesIO(skeleton), "")) == theirs
        sent = dict(request["documents"][ordinal])
        sent["documentRequest"] = {
            **sent["documentRequest"],
            "base64Content": None if there is None else True,
        }
        assert json.loads(skeleton) == sent
    assert json.loads(text) == {**request, "documents": len(expected)}


class Refused(Exception):
    """By the judge."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("duplicate key")
    return found


def refuse_constant(name: str) -> None:
    raise Refused(name)  # NaN and Infinity are not JSON


def walk(value: Any, depth: int = 1) -> None:
    """Lone surrogates and depth, which Python's json lets pass."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list | dict):
        if depth > 16:
            raise Refused("depth")
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            walk(inner, depth + 1)


def judge(body: bytes) -> bool:
    """Is it a request to be accepted, by Python's json and binascii and the few rules of the contract?"""
    try:
        text = body.decode().removeprefix("\ufeff")
        request = json.loads(text, object_pairs_hook=unique, parse_constant=refuse_constant)
        walk(request)
        if not isinstance(request, dict):
            return False
        documents = request.get("documents")
        if not isinstance(documents, list | None):
            return False
        for document in documents or []:
            inner = document.get("documentRequest")
            if isinstance(inner, dict) and inner.get("base64Content") is not None:
                content = inner["base64Content"].replace("\r", "").replace("\n", "")
                if base64.b64encode(base64.b64decode(content, validate=True)).decode() != content:
                    return False
    except (ValueError, RecursionError, Refused, AttributeError):
        return False
    return True


PUNCTUATION = [bytes([c]) for c in b'"\\{}[],:0-=/+\xff\xc3\xa9\0\x1f\x7f \n']
FRAGMENTS = [
    *PUNCTUATION,
    *(
        b".5",
        b"e+",
        b"true",
        b"null",
        b"NaN",
        b"Infinity",
        b"1e400",
        b"==",
        b"QUJD",
        b'"documents":',
        b'"a":1,',
    ),
    *(b"\\ud83d", b"\\u0041", b"[" * 17, b"\xef\xbb\xbf", b"\xed\xa0\x80"),
]


def mutated(body: bytes, rng: random.Random) -> bytes:
    out = bytearray(body)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((0, 0, 1, 1, 2, 10)))
        span = out[at:end]
        out[at:end] = rng.choice((b"", rng.choice(FRAGMENTS), rng.choice(FRAGMENTS), rng.randbytes(1), bytes(span) * 2))
    return bytes(out)


@settings(max_examples=250, deadline=None)
@given(REQUESTS, st.integers(0, 2**32))
@example({"documents": []}, 0)
def test_python_accepts_the_same_mutations(request, seed):
    rng = random.Random(seed)
    body = encoded(request, rng)
    for _ in range(4):
        candidate = mutated(body, rng)
        _, text, failure = outcome(candidate, rng)
        assert (failure is None) == (text is not None)
        assert (failure is None) == judge(candidate), (candidate, failure)
        if failure is not None:
            assert 0 <= failure.offset <= len(candidate)


@settings(max_examples=100, deadline=None)
@given(
    REQUESTS,
    st.integers(0, 2**32),
    st.integers(1, 5),
    st.integers(0, 200),
    st.integers(2, 200),
    st.integers(0, 3),
)
def test_limits_are_met_at_the_same_byte_by_all(request, seed, depth, content, text, documents):
    rng = random.Random(seed)
    limits = {
        "max_depth": depth,
        "max_document_bytes": content,
        "max_skeleton_bytes": text,
        "max_documents": documents,
    }
    outcome(encoded(request, rng), rng, **limits)
