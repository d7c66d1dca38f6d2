"""Frames as they are stored: where each one begins, and how a byte of a file is changed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from batchseal.payloads.frames import HEADER_BYTES, FrameHeader, unpack_header


def headers_of(data: bytes, payload_id: UUID) -> Iterator[tuple[FrameHeader, int]]:
    """The headers of frames, each with its offset."""
    offset = 0
    while header := unpack_header(data[offset : offset + HEADER_BYTES], payload_id, offset):
        yield header, offset
        offset += HEADER_BYTES + header.stored_bytes


def overwrite(path: Path, offset: int, change: Callable[[int], int]) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([change(byte)]))
