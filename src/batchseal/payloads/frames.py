"""The format of a payload: a sequence of frames, written once.

    frame   = header (40 bytes, little endian) + stored bytes
    header  = magic "BSF1" | kind u8 | flags u8 | 0 u16 | ordinal u32 | raw length u64 | stored length u64
              | XXH3-64 of the stored bytes u64 | XXH32 of all before u32

The checksum of a header is seeded with the UUID of the payload and the offset of the frame. Bytes inside a document can
therefore never pass for a header, so a reader can find the next frame behind a damaged one. Where two frames have the same kind
and ordinal, the later one counts.
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

# A header cannot make a reader allocate more than this.
MAX_FRAME_BYTES = 1 << 32


class FrameKind(IntEnum):
    """What a frame holds. The numbers are stored and never change."""

    UNKNOWN = 0  # written by a later release; readers pass over it
    DOCUMENT = 1  # an original, byte for byte
    PREPARED = 2  # a document that is ready to be signed
    SIGNATURE = 3  # release 0.1: a signature value
    CREDENTIAL = 4  # the credential that documents were prepared for
    DESCRIPTIONS = 5  # what was asked for each document
    TRIES = 6  # release 0.1: how many sign calls each open document was in
    TIMESTAMP = 7  # release 0.1: a time stamp token
    SHARED = 8  # what several prepared documents have in common


KINDS = {kind.value: kind for kind in FrameKind}
# The kind of the frame that holds the index of a payload in an object store (`frame_index`). It is the store's own, and none of
# those above.
INDEX_KIND = 100


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
    """The header at `offset`, or None where these 40 bytes are not a header."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    if xxhash.xxh32_intdigest(data[: HEADER.size], _seed(payload_id, offset)) != int.from_bytes(data[-4:], "little"):
        return None
    _, kind, flags, _, ordinal, raw, stored, checksum = HEADER.unpack_from(data)
    if raw > MAX_FRAME_BYTES or stored > MAX_FRAME_BYTES:
        return None
    return FrameHeader(KINDS.get(kind, FrameKind.UNKNOWN), flags, ordinal, raw, stored, checksum)
