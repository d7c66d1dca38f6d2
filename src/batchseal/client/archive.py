"""Reads a zip archive as it arrives, without a copy of it on disk. Stored entries only, as the service sends them.

The sizes of entries written to a stream follow their data (APPNOTE.TXT 4.3.9), where they come too late to find the end
of stored data: the caller knows them from the operation's result.
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
    def read(self, count: int, /) -> bytes: ...


def read_entries(source: Source, size_of: Callable[[str], int]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and content of each entry; the content must be taken before the next entry is.

    `size_of` gives the size of an entry, or raises. Raises RequestFailed for what is no such archive, and at the end of
    a content that does not match its checksum.
    """
    while (head := exactly(source, 4)) == LOCAL:
        rest = exactly(source, LOCAL_HEADER.size - 4)
        _, _, flags, method, _, _, crc, _, _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(head + rest)
        name = exactly(source, name_bytes).decode("utf-8", "replace")
        extra = exactly(source, extra_bytes)
        if method != STORED:
            raise RequestFailed(f"the result's entry {name!r} is compressed, which is not expected")
        # A checksum of None follows the data.
        expected = None if flags & SIZES_FOLLOW else crc
        content = read_content(source, name, size_of(name), expected, wide=has_zip64(extra))
        yield name, content
        for _ in content:  # what the caller left
            pass
    while source.read(ENTRY_PIECE_BYTES):  # the directory tells nothing new
        pass


def read_content(source: Source, name: str, size: int, crc: int | None, *, wide: bool) -> Iterator[bytes]:
    actual = 0
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
    """Whether the extra fields hold the one that makes sizes eight bytes long (APPNOTE.TXT 4.5.3)."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == ZIP64_FIELD:
            return True
        extra = extra[4 + length :]
    return False


def exactly(source: Source, count: int) -> bytes:
    data = source.read(count)
    while len(data) < count:
        more = source.read(count - len(data))
        if not more:
            raise RequestFailed("the result ends too early")
        data += more
    return data
