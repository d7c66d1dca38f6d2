"""What the scanner refuses: kind, place, offset, document and words, for every kernel and every cut."""

import base64
import json
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


@pytest.mark.parametrize(
    ("body", "place", "offset", "what"),
    [
        (b"x", "", 0, "a value is expected"),
        (b"{}x", "", 2, "something follows the request"),
        (b"{} {}", "", 3, "something follows the request"),
        (b"\xef\xbb{}", "", 2, "a value is expected"),
        (b"{a:1}", "", 1, "a key or '}' is expected"),
        (b'{"a":1,}', "", 7, "a key is expected"),
        (b'{"a" 1}', "a", 5, "':' is expected after a key"),
        (b'{"a":1 "b":2}', "", 7, "',' or '}' is expected"),
        (b'{"a":[1,]}', "a", 8, "a value is expected"),
        (b'{"a":[1}', "a", 7, "',' or ']' is expected"),
        (b'{"a":[1,tru]}', "a[1]", 11, "a value is expected"),
        (b'{"a":nan}', "a", 6, "a value is expected"),
        (b'{"a":NaN}', "a", 5, "a value is expected"),
        (b'{"a":01}', "a", 6, "not a valid number"),
        (b'{"a":-}', "a", 6, "not a valid number"),
        (b'{"a":1.}', "a", 7, "not a valid number"),
        (b'{"a":1e+}', "a", 8, "not a valid number"),
        (b'{"a":.5}', "a", 5, "a value is expected"),
        (b'{"a":+5}', "a", 5, "a value is expected"),
        (b'{"a":"\t"}', "a", 6, "a control character in a string"),
        (b'{"a":"\\x"}', "a", 7, "an unknown escape"),
        (b'{"a":"\\u12g4"}', "a", 10, "four hexadecimal digits must follow \\u"),
        (b"{'a':1}", "", 1, "a key or '}' is expected"),
        (b'{"documents":[{},{"b":?}]}', "documents[1].b", 22, "a value is expected"),
        (b'{"documents":[{} {}]}', "documents", 17, "',' or ']' is expected"),
    ],
)
def test_syntax(body, place, offset, what):
    check(body, "syntax", place, offset, f"{what} at {{}}")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"\x80", 0),
        (b"\xc0\x80", 0),  # overlong
        (b"\xc1\xbf", 0),
        (b"\xe0\x9f\xbf", 1),  # overlong
        (b"\xed\xa0\x80", 1),  # a surrogate
        (b"\xf0\x8f\xbf\xbf", 1),  # overlong
        (b"\xf4\x90\x80\x80", 1),  # beyond U+10FFFF
        (b"\xf5\x80\x80\x80", 0),
        (b"\xff", 0),
        (b"\xe2\x82x", 2),
        (b"\xe2\x82", 2),
        (b"\xc3\xa9\xc3\xc3\xa9", 3),
    ],
)
def test_utf8(text, at):
    check(b'{"a":"' + text + b'"}', "utf8", "a", 6 + at, "not valid UTF-8 at {}")
    check(b'{"' + text + b'":1}', "utf8", "", 2 + at, "not valid UTF-8 at {}")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("\\ud800", 0),
        ("\\udfff", 0),
        ("\\ud83dx", 0),
        ("\\ud83d\\n", 0),
        ("\\ud83d\\u0041", 6),
        ("\\ud83d\\ud83d", 6),
    ],
)
def test_lone_surrogates(text, at):
    # The offset is where the escape begins that cannot stand there.
    s: Any = RequestScanner()
    s.feed(b'{"a":"' + text.encode() + b'"}')
    offset = s.failure.offset
    assert offset in (6, 6 + at)
    check(f'{{"a":"{text}"}}'.encode(), "utf8", "a", offset, "half of a surrogate pair at {}")


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("QUJD!", 4, "with a character outside the alphabet"),
        ("QU JD", 2, "with a character outside the alphabet"),
        ("QUJD\\u0020", 4, "with a character outside the alphabet"),
        ("QUJD\\t", 4, "with a character outside the alphabet"),
        ("QUJD\\u0141", 4, "with a character outside the alphabet"),
        ("QUJDé", 4, "with a character outside the alphabet"),
        ("QU-_", 2, "with a character outside the alphabet"),
        ("QR==", 2, "with non-zero bits under the padding"),
        ("QUJ\\u003d", 3, "with non-zero bits under the padding"),
        ("QQ=", 3, "without its padding"),
        ("QUI", 3, "without its padding"),
        ("Q", 1, "without its padding"),
        ("=", 0, "with padding in the wrong place"),
        ("QUJD====", 4, "with padding in the wrong place"),
        ("QQ==QQ==", 4, "with data after the padding"),
        ("QQ==\\r\\nQ", 8, "with data after the padding"),
        ("QQ=\\/", 3, "with data after the padding"),
    ],
)
def test_base64(text, at, what):
    check(in_content(text), "base64", CONTENT, CONTENT_STARTS + at, f"base64 {what} at {{}}")


def test_base64_at_every_place_of_a_long_content():
    text = base64.b64encode(bytes(range(256)) * 40).decode().replace("/", "\\/")
    for place in range(0, len(text), 37):
        if "\\" in text[place - 1 : place + 1]:
            continue
        body = in_content(text[:place] + "*" + text[place:])
        for pieces in ((body,), (body[: len(body) // 2], body[len(body) // 2 :])):
            finished, failure = refusal(*pieces)
            assert (finished, failure.kind, failure.offset) == (1, "base64", CONTENT_STARTS + place)


@pytest.mark.parametrize(
    ("text", "kind", "at", "what"),
    [
        ("QU\tJD", "syntax", 2, "a control character in a string"),
        ("QU\nJD", "syntax", 2, "a control character in a string"),
        ("QU\\xJD", "syntax", 3, "an unknown escape"),
        ("\\ud800", "utf8", 0, "half of a surrogate pair"),
    ],
)
def test_other_faults_within_content(text, kind, at, what):
    check(in_content(text), kind, CONTENT, CONTENT_STARTS + at, f"{what} at {{}}")


@pytest.mark.parametrize("value", ["5", "-0.5", "true", "false", "{}", "[]", '{"a":1}', '["QUJD"]'])
def test_wrong_types(value):
    body = in_content("").replace(b'""', value.encode())
    check(body, "wrong_type", CONTENT, CONTENT_STARTS - 1, "{} must be a string")
    if value[0] != "[":
        body = b'{"documents":' + value.encode() + b"}"
        check(body, "wrong_type", "documents", 13, "{} must be an array")
    if value[0] != "{":
        body = b'{"documents":[{},' + value.encode() + b"]}"
        check(body, "wrong_type", "documents[1]", 17, "{} must be an object")
        check(value.encode(), "wrong_type", "", 0, "the body must be a JSON object")


def test_a_document_is_not_null():
    check(b'{"documents":[null]}', "wrong_type", "documents[0]", 14, "{} must be an object")


@pytest.mark.parametrize(
    ("body", "place", "offset", "key"),
    [
        (b'{"a":1,"a":2}', "", 7, "a"),
        (b'{"a":1,"\\u0061":2}', "", 7, "a"),
        (b'{"":1,"":2}', "", 6, ""),
        (b'{"\xc3\xa9":1,"\\u00e9":2}', "", 8, "\\u00e9"),
        (b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}', "", 18, "\\ud83d\\ude00"),
        (b'{"documents":[],"documents":[]}', "", 16, "documents"),
        (
            b'{"documents":[{"documentRequest":{"name":"a","name":"b"}}]}',
            "documents[0].documentRequest",
            45,
            "name",
        ),
        (b'{"x":[0,{"q r":{"b":1,"c":2,"b":3}}]}', 'x[1]["q r"]', 28, "b"),
        (b'{"a\\"\\n\\u0000\\\\":1,"a\\"\\n\\u0000\\\\":1}', "", 19, 'a\\"\\u000a\\u0000\\\\'),
        (b'{"%b":1,"%b":1}' % (b"k" * 64, b"k" * 64), "", 70, "k" * 64),
        (b'{"%b":1,"%b":1}' % (b"k" * 65, b"k" * 65), "", 71, "k" * 64 + "..."),
        (b'{"%b":1,"%b":1}' % ("é".encode() * 30, "é".encode() * 30), "", 66, "\\u00e9" * 10 + "..."),
    ],
)
def test_duplicate_keys(body, place, offset, key):
    check(body, "duplicate_key", place, offset, f'duplicate key "{key}" at {{}}')


def test_duplicates_among_many_keys():
    for count in (2, 15, 16, 17, 18, 33, 100, 3000):
        for again in {0, count // 2, count - 1}:
            keys = [f"key {i}" for i in range(count)]
            body = "{" + ",".join(f'"{k}":{{"a":1}}' for k in [*keys, keys[again]]) + "}"
            _, failure = refusal(body.encode())
            assert (failure.kind, failure.offset) == ("duplicate_key", body.rindex(f'"key {again}"'))


def test_the_same_key_in_different_objects_is_fine():
    value = {f"k{i}": {f"k{j}": 1 for j in range(40)} for i in range(40)}
    s = RequestScanner()
    s.feed(json.dumps({"k0": [value, value], "documents": [value, value]}).encode())
    assert (s.failure, s.finish() is None) == (None, False)


def test_truncated_at_every_byte():
    body = (
        b'\xef\xbb\xbf {"r":"\\ud83d\\ude00 \xc3\xa9",'
        b'"documents":[{"documentRequest":{"base64Content":"QUJD\\r\\nQQ=="}},'
        b'{"n":[-1.5e3,true]}]}'
    )
    for end in range(len(body)):
        finished, failure = refusal(body[:end])
        what = "the body is empty" if end == 0 else "the body ends in the middle"
        assert (failure.kind, failure.offset) == ("truncated", end)
        assert finished == (end >= body.index(b"}},") + 2) + (end >= len(body) - 2)
        assert failure.message == f"{what} at {failure.place or 'the top level'}, byte {end}"
    assert refusal(body[:82])[1].place == "documents[0].documentRequest.base64Content"
    assert (refusal(body[:-7])[1].place, refusal(body[:-7])[1].ordinal) == ("documents[1].n[1]", 1)
    assert refusal(b" \r\n\t")[1].kind == "truncated"


def test_messages_quote_no_content():
    secret = "c2VjcmV0"
    for body in (
        f'{{"documents":[{{"documentRequest":{{"base64Content":"{secret}*"}}}}]}}',
        f'{{"a":"{secret}" "{secret}"}}',
        f'{{"a":["{secret}",{secret}]}}',
        f'{{"a":"{secret}\\x"}}',
        f'{{"a":"{secret}","a":"{secret}"}}',
        f'{{"documents":"{secret}"}}',
    ):
        failure = refusal(body.encode())[1]
        assert secret not in repr(failure)
        assert failure.message.isascii()
