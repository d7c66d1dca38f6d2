"""The index of a payload: where each of its frames stands, so that nobody has to go along them over a network.

    index = the header of each frame, as it stands before the frame, in order

The frames of a payload follow each other from its first byte on, so their places follow from their lengths. In the store the
index is the content of one more frame behind them, of a kind of its own that no `PayloadReader` shows. Its place stands in the
record of the payload. Each header is seeded with its offset and the UUID, so an index of another payload is never taken for one.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import xxhash

from batchseal.errors import PayloadUnavailable
from batchseal.payloads.frames import HEADER_BYTES, INDEX_KIND, FrameHeader, pack_header, unpack_header

if TYPE_CHECKING:
    from typing_extensions import Buffer


def index_frame(headers: "bytes | bytearray", payload_id: UUID, offset: int) -> bytes:
    """The frame that stands at `offset`, behind all others, whose headers it holds."""
    content = bytes(headers)
    header = FrameHeader(INDEX_KIND, 0, 0, len(content), len(content), xxhash.xxh3_64_intdigest(content))  # type: ignore[arg-type]
    return pack_header(header, payload_id, offset) + content


def read_index(frame: "Buffer", payload_id: UUID, offset: int) -> list[tuple[int, FrameHeader]] | None:
    """The offset and the header of each frame, in order, from the frame that stood at `offset`. None where it is damaged."""
    data = bytes(frame)
    header = unpack_header(data[:HEADER_BYTES], payload_id, offset)
    content = data[HEADER_BYTES:]
    if header is None or len(content) != header.stored_bytes or xxhash.xxh3_64_intdigest(content) != header.checksum:
        return None
    found = list(_headers(content, payload_id))
    if len(found) * HEADER_BYTES != len(content):
        return None
    behind = found[-1][0] + HEADER_BYTES + found[-1][1].stored_bytes if found else 0
    return found if behind == offset else None


def _headers(content: bytes, payload_id: UUID) -> Iterator[tuple[int, FrameHeader]]:
    at = 0
    for first in range(0, len(content), HEADER_BYTES):
        header = unpack_header(content[first : first + HEADER_BYTES], payload_id, at)
        if header is None:
            return
        yield at, header
        at += HEADER_BYTES + header.stored_bytes


def read_headers(descriptor: int, payload_id: UUID, length: int) -> bytes:
    """What `index_frame` takes, from a file of frames. Raises PayloadUnavailable where the file is not what was written."""
    found, at = bytearray(), 0
    while at < length:
        head = os.pread(descriptor, HEADER_BYTES, at)
        header = unpack_header(head, payload_id, at)
        if header is None:
            raise PayloadUnavailable("the local file of a payload is not what was written")
        found += head
        at += HEADER_BYTES + header.stored_bytes
    return bytes(found)
