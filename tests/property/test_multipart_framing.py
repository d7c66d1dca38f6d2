"""The framing of multipart bodies: a public library finds the same parts, and no content takes more work than other content."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from tests.support.work import calls_made

from batchseal.errors import InvalidRequest, TooLarge
from batchseal.intake.framing import MAX_PART_HEADER_BYTES, MAX_PART_HEADERS, Framing, Parts
from batchseal.intake.multipart import MAX_SEMICOLONS, MultipartIntake
from batchseal.intake.schema import Limits

PIECES, PIECE = 8, 1 << 16
MOST_CALLS = 40  # for a piece; ordinary content takes 18


class Found:
    """The parts of a body, each with its headers and content; "end" behind the last boundary, "wrong" where it is refused."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self._content = bytearray()
        self._headers: dict[bytes, bytes] = {}

    def begin(self) -> None:
        self._content, self._headers = bytearray(), {}

    def headers(self, headers: dict[bytes, bytes]) -> None:
        self._headers = dict(headers)

    def data(self, data: bytes | memoryview) -> None:
        self._content += data

    def end(self) -> None:
        self.events.append((self._headers, bytes(self._content)))

    def body_end(self) -> None:
        self.events.append("end")


def ours(pieces: list[bytes], boundary: bytes) -> list[object]:
    found = Found()
    framing = Framing(boundary, Parts(found.begin, found.headers, found.data, found.end, found.body_end))
    try:
        for piece in pieces:
            framing.feed(piece)
    except InvalidRequest:
        found.events.append("wrong")
    return found.events


def theirs(pieces: list[bytes], boundary: bytes) -> list[object]:
    found, headers = Found(), dict[bytes, bytes]()
    field, value = bytearray(), bytearray()

    def header_end() -> None:
        headers[bytes(field).lower()] = bytes(value)
        field.clear()
        value.clear()

    def headers_end() -> None:
        found.headers(headers)
        headers.clear()

    def take(into: bytearray, data: bytes, start: int, end: int) -> None:
        into.extend(data[start:end])

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": found.begin,
            "on_header_field": lambda data, start, end: take(field, data, start, end),
            "on_header_value": lambda data, start, end: take(value, data, start, end),
            "on_header_end": header_end,
            "on_headers_finished": headers_end,
            "on_part_data": lambda data, start, end: found.data(data[start:end]),
            "on_part_end": found.end,
            "on_end": found.body_end,
        },
        max_header_count=1000,
        max_header_size=1 << 20,
    )
    try:
        for piece in pieces:
            parser.write(piece)
    except MultipartParseError:
        found.events.append("wrong")
    return found.events


BOUNDARIES = [b"b", b"-", b"--", b"bb", b"-b-", b"aab" * 23]


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes, list[int]]:
    """A body that begins with its boundary, the boundary, and where the body is cut."""
    boundary = draw(st.sampled_from(BOUNDARIES))
    line = b"\r\n--" + boundary
    parts = [
        *(line, line + b"\r\n", line + b"--", line + b"-", line + b"\r", line + b"\n", line + b" \t", line + b"x"),
        *(
            line[:-1],
            line[:3],
            b"\r",
            b"\n",
            b"\r\n",
            b"\r\n\r\n",
            b"-",
            b" ",
            b"\t",
            b":",
            boundary,
            b"x" * 9,
            b"\x00",
        ),
        *(b"A: b\r\n", b"A:  b \r\n\r\n", b"a: c\nd\r\n", b"C-d:\r\n\r\n", b"A:b\r", b"A b: c\r\n"),
    ]
    good = line + b"\r\nA: b\r\n\r\n"
    body = b"".join(draw(st.lists(st.sampled_from([good, good, *parts]), max_size=14)))
    opening = draw(st.sampled_from([b"\r\n", b"\r\nA: b\r\n\r\n", b"\r\n\r\n", b"--", b"\r", b"-x", b"x"]))
    body = line[2:] + opening + body
    cuts = draw(st.lists(st.integers(1, len(body)), max_size=8))
    return body, boundary, sorted({0, *cuts, len(body)})


@given(bodies())
@example((b"--b\r\n\r\n" + b"\r\n--b\r" * 3 + b"\r\n--b--", b"b", [0, 12, 13, 20, 36]))
def test_a_library_finds_the_same_parts(case: tuple[bytes, bytes, list[int]]) -> None:
    body, boundary, cuts = case
    pieces = [body[first:last] for first, last in pairwise(cuts)]
    expected = theirs([body], boundary)
    assert ours(pieces, boundary) == expected == ours([body], boundary)
    assert ours([body[at : at + 1] for at in range(len(body))], boundary) == expected


def in_pieces(content: bytes, boundary: bytes) -> int:
    """The calls that a part with this content takes, in pieces as they come from a socket."""
    found = Found()
    framing = Framing(boundary, Parts(found.begin, found.headers, found.data, found.end, found.body_end))
    framing.feed(b"--" + boundary + b"\r\n\r\n")

    def feed() -> None:
        for at in range(0, len(content), PIECE):
            framing.feed(content[at : at + PIECE])

    return calls_made(feed)


@pytest.mark.parametrize("boundary", [b"a", b"a" * 70])
@pytest.mark.parametrize(
    "unit", [b"\r\n--%bx", b"\r\n--%b\r", b"\r\n--%b-x", b"\r\n--", b"\r", b"\r\n", b"\r\n--%b\n", b"\r\n-"]
)
def test_no_content_takes_more_work_than_other_content(unit: bytes, boundary: bytes) -> None:
    content = unit.replace(b"%b", boundary)
    assert in_pieces((content * PIECES * PIECE)[: PIECES * PIECE], boundary) <= PIECES * MOST_CALLS


@pytest.mark.parametrize("behind", [b" ", b"\t", b"--" + b"\r\n--a"])
def test_what_follows_a_boundary_takes_no_more_work_than_content(behind: bytes) -> None:
    assert in_pieces(b"\r\n--a" + (behind * PIECES * PIECE)[: (PIECES - 1) * PIECE], b"a") <= PIECES * MOST_CALLS


@pytest.mark.parametrize("size", [1, 100, PIECE])
@pytest.mark.parametrize(
    "headers",
    [
        b"A:" + b" " * (MAX_PART_HEADER_BYTES + 1) + b"b\r\n\r\n",
        b"A" * (MAX_PART_HEADER_BYTES + 1) + b": b\r\n\r\n",
        b"A: " + b"b" * MAX_PART_HEADER_BYTES + b"\r\n\r\n",
        b"A: b\r\n" * (MAX_PART_HEADERS + 2) + b"\r\n",
    ],
)
def test_limits_of_headers_hold_however_they_are_cut(headers: bytes, size: int) -> None:
    body = b"--b\r\n" + headers + b"x\r\n--b--"
    with pytest.raises(TooLarge, match="headers of a part"):
        ours([body[at : at + size] for at in range(0, len(body), size)], b"b")


@pytest.mark.parametrize("parameters", [b";" * 4000, b'name="' + b";" * 3990, b'a="b";' * 600, b"a=b;" * 900])
def test_the_parameters_of_a_header_are_bounded(parameters: bytes) -> None:
    intake = MultipartIntake(Limits(), "multipart/form-data; boundary=b")
    body = b"--b\r\nContent-Disposition: form-data; " + parameters + b"\r\n\r\nx\r\n--b--"

    def feed() -> None:
        with pytest.raises(InvalidRequest, match=f"more than {MAX_SEMICOLONS} semicolons"):
            intake.feed(body)

    assert calls_made(feed) < 1000
