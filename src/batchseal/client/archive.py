"""Reads a zip archive as it arrives, without storing it. Only entries without compression are read, as the service sends them.

The service writes the size of an entry after its data (APPNOTE.TXT 4.3.9). To find the end of the data, the reader must know
the size before; the caller of this module knows it from the operation's result. An evidence record is in DER, which begins with
its length.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from batchseal.errors import RequestFailed

ENTRY_PIECE_BYTES = 1 << 20
LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
LOCAL, DESCRIPTOR = b"PK\x03\x04", b"PK\x07\x08"
SIZES_FOLLOW = 1 << 3
STORED = 0
ZIP64_FIELD = 1


class Source(Protocol):
    """A stream of bytes. `read` returns at most `count` bytes, and b"" at the end."""

    def read(self, count: int, /) -> bytes: ...


def read_entries(source: Source, size_of: Callable[[str], int | None]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yields the name and the content (in pieces) of each entry. The next entry skips what is left of a content.

    `size_of` returns the size in bytes of the entry with that name, None for one that is a value in DER; it may raise for an
    unexpected name. Raises RequestFailed if the archive ends too early, has a compressed entry, or has a content that does not
    match its size or checksum.
    """
    while (head := exactly(source, 4)) == LOCAL:
        rest = exactly(source, LOCAL_HEADER.size - 4)
        _, _, flags, method, _, _, crc, _, _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(head + rest)
        name = exactly(source, name_bytes).decode("utf-8", "replace")
        extra = exactly(source, extra_bytes)
        if method != STORED:
            raise RequestFailed(f"the result's entry {name!r} is compressed; only stored entries are expected")
        # If the sizes follow the data, so does the checksum: None here.
        expected = None if flags & SIZES_FOLLOW else crc
        head, size = b"", size_of(name)
        if size is None:
            head, size = read_der_head(source, name)
        content = read_content(source, name, size, expected, wide=has_zip64(extra), head=head)
        yield name, content
        for _ in content:  # Skip what the caller did not read.
            pass
    while source.read(ENTRY_PIECE_BYTES):  # The central directory at the end of the archive is not needed.
        pass


def read_der_head(source: Source, name: str) -> tuple[bytes, int]:
    """Tag and length of a value in DER (X.690 8.1.3), and how many bytes follow them. Raises RequestFailed."""
    head = exactly(source, 2)
    if head[1] < 0x80:
        return head, head[1]
    count = head[1] & 0x7F
    if not 0 < count <= 4:
        raise RequestFailed(f"the result's entry {name!r} is not in DER")
    length = exactly(source, count)
    return head + length, int.from_bytes(length, "big")


def read_content(
    source: Source, name: str, size: int, crc: int | None, *, wide: bool, head: bytes = b""
) -> Iterator[bytes]:
    """Yields `head`, which was read already, and `size` more bytes of an entry, then checks its CRC-32. Raises RequestFailed.

    If `crc` is None, a data descriptor follows the data; `wide` says that its sizes have eight bytes each (zip64).
    """
    actual = zlib.crc32(head)
    if head:
        yield head
    while size:
        piece = source.read(min(size, ENTRY_PIECE_BYTES))
        if not piece:
            raise RequestFailed("the result ends too early")
        actual = zlib.crc32(piece, actual)
        size -= len(piece)
        yield piece
    if crc is None:
        signature, crc = struct.unpack("<4sI", exactly(source, 8))
        exactly(source, 16 if wide else 8)
        if signature != DESCRIPTOR:
            raise RequestFailed(f"the result's entry {name!r} does not end where it should")
    if actual != crc:
        raise RequestFailed(f"the result's entry {name!r} does not match its checksum")


def has_zip64(extra: bytes) -> bool:
    """Whether the extra fields of an entry contain the zip64 field, which makes sizes eight bytes long (APPNOTE.TXT 4.5.3)."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == ZIP64_FIELD:
            return True
        extra = extra[4 + length :]
    return False


def exactly(source: Source, count: int) -> bytes:
    """Reads exactly `count` bytes. Raises RequestFailed if there are fewer."""
    data = source.read(count)
    while len(data) < count:
        more = source.read(count - len(data))
        if not more:
            raise RequestFailed("the result ends too early")
        data += more
    return data
