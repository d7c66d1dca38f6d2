"""The spill file's format: one append-only file an operation, a sequence of frames.

    frame   = header (40 bytes, little endian) + stored bytes
    header  = magic "BSF1" | kind u8 | flags u8 | 0 u16 | ordinal u32 | raw length u64 | stored length u64
              | XXH3-64 of the stored bytes u64 | XXH32 of all before u32

The header's checksum is seeded with the payload's UUID and the frame's offset: bytes inside a document never pass for a
header, so a reader can find the next frame behind a damaged one. A later frame of a kind and ordinal replaces an earlier one.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

import xxhash

HEADER = struct.Struct("<4sBBHIQQQ")
HEADER_BYTES = HEADER.size + 4
MAGIC = b"BSF1"
ZSTD = 1

# Bounds what a reader allocates on a header's word.
MAX_FRAME_BYTES = 1 << 32


class FrameKind(IntEnum):
    DOCUMENT = 1  # the original, byte for byte
    PREPARED = 2  # a PreparedDigest
    SIGNATURE = 3  # a SignatureValue
    CREDENTIAL = 4  # the Credential that documents were prepared for
    DESCRIPTIONS = 5  # what a later preparation needs of the request
    TRIES = 6  # sign calls that open documents were in
    TIMESTAMP = 7  # a time stamp token over a signature value


@dataclass(frozen=True, slots=True)
class FrameHeader:
    kind: FrameKind
    flags: int
    ordinal: int
    raw_bytes: int
    stored_bytes: int
    checksum: int


def _seed(payload_id: UUID, offset: int) -> int:
    return (payload_id.int ^ (offset * 0x9E3779B1)) & 0xFFFFFFFF


def pack_header(header: FrameHeader, payload_id: UUID, offset: int) -> bytes:
    head = HEADER.pack(
        MAGIC,
        header.kind,
        header.flags,
        0,
        header.ordinal,
        header.raw_bytes,
        header.stored_bytes,
        header.checksum,
    )
    return head + xxhash.xxh32_intdigest(head, _seed(payload_id, offset)).to_bytes(4, "little")


def unpack_header(data: bytes, payload_id: UUID, offset: int) -> FrameHeader | None:
    """The header at `offset`, or None where these 40 bytes are none."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    if xxhash.xxh32_intdigest(data[: HEADER.size], _seed(payload_id, offset)) != int.from_bytes(data[-4:], "little"):
        return None
    _, kind, flags, _, ordinal, raw, stored, checksum = HEADER.unpack_from(data)
    if raw > MAX_FRAME_BYTES or stored > MAX_FRAME_BYTES:
        return None
    return FrameHeader(FrameKind(kind), flags, ordinal, raw, stored, checksum)
