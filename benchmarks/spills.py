"""A spill file judged from its bytes alone."""

from collections import Counter
from pathlib import Path
from uuid import UUID

from batchseal.payloads.frames import HEADER_BYTES, FrameKind, unpack_header


def count_signatures(spill: Path) -> tuple[Counter[int], int]:
    """How many signatures the file holds for each document, by ordinal; and how many bytes at its end are no frame."""
    data, offset, found = spill.read_bytes(), 0, Counter[int]()
    while header := unpack_header(data[offset : offset + HEADER_BYTES], UUID(spill.stem), offset):
        if header.kind is FrameKind.SIGNATURE:
            found[header.ordinal] += 1
        offset += HEADER_BYTES + header.stored_bytes
    return found, len(data) - offset
