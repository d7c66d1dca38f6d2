"""Takes a multipart body apart as it arrives (RFC 2046 5.1.1, RFC 7578): the headers of its parts, and what is in them.

Owns the preamble, the boundaries and the form of headers, with their limits. What a part means is left to `multipart`. A byte of
content costs the same whatever stands around it: a boundary is looked for by compiled code, also where one begins again and
again. How the body is cut into pieces changes nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from batchseal.errors import InvalidRequest, TooLarge

MAX_PART_HEADERS = 16
MAX_PART_HEADER_BYTES = 4096
# RFC 2046 allows a preamble before the first boundary. Clients in use do not send one.
MAX_PREAMBLE_BYTES = 4096

CR, LF = 0x0D, 0x0A
# What the name of a header is made of (RFC 9110 5.6.2).
NO_TOKEN = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
SPACES = re.compile(rb" *")
# The header that says what a part is. Of two, readers take the first or the last one.
ONCE = b"content-disposition"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is called with what is found, in its order. Each may raise ApiError."""

    part_begins: Callable[[], None]
    headers_end: Callable[[dict[bytes, bytes]], None]
    """Called with the headers of a part, by their names in lower case."""
    part_data: Callable[[memoryview], None]
    """Called with the next piece of a part."""
    part_ends: Callable[[], None]
    body_ends: Callable[[], None]


class Framing:
    """Reads a body with this boundary. What is found goes to `parts`, in its order."""

    def __init__(self, boundary: bytes, parts: Parts) -> None:
        self._parts = parts
        self._opening = b"--" + boundary
        self._delimiter = b"\r\n" + self._opening
        # A line that begins like a boundary and goes on in another way is content.
        self._ends_part = re.compile(re.escape(self._delimiter) + rb"(?:\r\n|--|[ \t])")
        self._held = b""  # what came last and can be understood only with what follows
        self._before_bytes = 0  # of the body, before what is held
        self._headers: dict[bytes, bytes] = {}
        self._header_count = 0
        # Each step reads from an offset and returns where it stopped, or None if it needs more bytes than there are.
        self._step: Callable[[bytes, int], int | None] = self._preamble

    def feed(self, data: bytes) -> None:
        """Takes the next piece of the body. Raises InvalidRequest, TooLarge, and what `parts` raises."""
        buffer = self._held + data if self._held else data
        at = 0
        while at < len(buffer) and (stopped := self._step(buffer, at)) is not None:
            at = stopped
        self._held = buffer[at:]
        self._before_bytes += at

    # --- the steps ------------------------------------------------------------------------------------------------

    def _preamble(self, buffer: bytes, at: int) -> int | None:
        """What stands before the first boundary is skipped. Nothing of it was taken before, so `at` is 0."""
        if buffer.startswith(self._opening):
            self._step = self._behind_opening
            return len(self._opening)
        begin = buffer.find(b"\n" + self._opening) + 1
        if begin > MAX_PREAMBLE_BYTES or (not begin and len(buffer) > MAX_PREAMBLE_BYTES + len(self._opening)):
            raise InvalidRequest("the multipart body does not begin with its boundary")
        if not begin:
            return None
        self._step = self._behind_opening
        return begin + len(self._opening)

    def _behind_opening(self, buffer: bytes, at: int) -> int | None:
        """The first boundary ends its line, or is the last one too."""
        first, second = buffer[at : at + 1], buffer[at + 1 : at + 2]
        if first not in (b"\r", b"-"):
            raise self._wrong(at)
        if not second:
            return None
        if second != (b"\n" if first == b"\r" else b"-"):
            raise self._wrong(at + 1)
        if first == b"-":
            return self._end(at + 2)
        return self._begin(at + 2)

    def _header(self, buffer: bytes, at: int) -> int | None:
        """One header, or the empty line behind the last one. All limits are checked in the order of the bytes."""
        if buffer[at] == CR:
            return self._blank_line(buffer, at)
        if len(self._headers) >= MAX_PART_HEADERS or self._header_count > MAX_PART_HEADERS:
            raise TooLarge("the headers of a part are too long")
        colon = buffer.find(b":", at)
        name_end = colon if colon >= 0 else len(buffer)
        if wrong := NO_TOKEN.search(buffer, at, min(name_end, at + MAX_PART_HEADER_BYTES)):
            raise self._wrong(wrong.start())
        self._bound(name_end - at)
        if colon < 0:
            return None
        if colon == at:
            raise self._wrong(at)
        spaces = SPACES.match(buffer, colon + 1)
        assert spaces is not None
        begin = spaces.end()
        self._bound(begin - colon)
        end = buffer.find(b"\r", begin)
        self._bound(name_end - at + (end if end >= 0 else len(buffer)) - begin)
        if end < 0 or end + 1 == len(buffer):
            return None
        if buffer[end + 1] != LF:
            raise self._wrong(end + 1)
        name = buffer[at:name_end].lower()
        if name == ONCE and name in self._headers:
            raise InvalidRequest("a part has more than one Content-Disposition header")
        self._headers[name] = buffer[begin:end]
        self._header_count += 1
        return end + 2

    def _blank_line(self, buffer: bytes, at: int) -> int | None:
        if at + 1 == len(buffer):
            return None
        if buffer[at + 1] != LF:
            raise self._wrong(at + 1)
        self._parts.headers_end(self._headers)
        self._step = self._content
        return at + 2

    def _content(self, buffer: bytes, at: int) -> int | None:
        """The content of a part up to the next boundary, or all that cannot be the beginning of one."""
        # The plain search is several times as fast, and finds nothing in nearly all pieces.
        found = buffer.find(self._delimiter, at)
        if found >= 0 and (boundary := self._ends_part.search(buffer, found)) is not None:
            self._pass_on(buffer, at, boundary.start())
            match buffer[boundary.end() - 1 : boundary.end()]:
                case b"\n":
                    self._parts.part_ends()
                    return self._begin(boundary.end())
                case b"-":
                    self._parts.part_ends()
                    return self._end(boundary.end())
            self._step = self._padding
            return boundary.end()
        end = self._beginning_of_boundary(buffer, at)
        self._pass_on(buffer, at, end)
        return None if end == at else end

    def _padding(self, buffer: bytes, at: int) -> int | None:
        """Spaces and tabs between a boundary and the end of its line."""
        left = buffer[at:].lstrip(b" \t")
        begin = len(buffer) - len(left)
        if not left.startswith(b"\r\n"):
            if len(left) > 1 or (left and left != b"\r"):
                raise self._wrong(begin + (left[0] == CR))
            return None if begin == at else begin
        self._parts.part_ends()
        return self._begin(begin + 2)

    def _epilogue(self, buffer: bytes, at: int) -> int | None:
        """What stands behind the last boundary is ignored (RFC 2046 5.1.1)."""
        return len(buffer)

    # --- what they share ------------------------------------------------------------------------------------------

    def _begin(self, at: int) -> int:
        self._headers, self._header_count = {}, 0
        self._parts.part_begins()
        self._step = self._header
        return at

    def _end(self, at: int) -> int:
        self._parts.body_ends()
        self._step = self._epilogue
        return at

    def _pass_on(self, buffer: bytes, at: int, end: int) -> None:
        if end > at:
            self._parts.part_data(memoryview(buffer)[at:end])

    def _beginning_of_boundary(self, buffer: bytes, at: int) -> int:
        """Where the end of the buffer may be the beginning of a boundary; its length if it is none."""
        delimiter, size = self._delimiter, len(buffer)
        for whole in (delimiter, delimiter + b"\r", delimiter + b"-"):
            if size - len(whole) >= at and buffer.endswith(whole):
                return size - len(whole)
        # A boundary holds no CR but its first byte.
        begin = buffer.rfind(b"\r", max(at, size - len(delimiter) + 1))
        return begin if begin >= 0 and delimiter.startswith(buffer[begin:]) else size

    def _bound(self, header_bytes: int) -> None:
        if header_bytes > MAX_PART_HEADER_BYTES:
            raise TooLarge("the headers of a part are too long")

    def _wrong(self, at: int) -> InvalidRequest:
        return InvalidRequest(f"the framing of the multipart body is wrong at about byte {self._before_bytes + at}")
