"""Makes the buffers that a payload consists of, from frames: compressed where that is worth it, and with their headers."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import xxhash
import zstandard

from batchseal.payloads.frames import HEADER_BYTES, ZSTD, FrameHeader, FrameKind, pack_header
from batchseal.payloads.interface import GivenFrame
from batchseal.payloads.pieces import Pieces

if TYPE_CHECKING:
    from typing_extensions import Buffer

# PDF streams are deflated already: a sample of a few places tells cheaply whether zstd would save anything.
SAMPLES, SAMPLE_BYTES, PROBE_LEVEL = 4, 4 << 10, 1
WORTH_IT = 0.95  # a frame is compressed only where that saves 5 % or more
# Text that repeats itself, such as XML, is done in 60 % of the time without the entropy coding of what does not repeat. Base64 in
# it, and whatever else repeats little, needs that coding.
LEVEL, LEVEL_OF_REPETITIVE, REPETITIVE = 1, -1, 0.25
# Prepared documents are small and consist of digests: zstd would save nothing.
COMPRESSIBLE = (FrameKind.DOCUMENT, FrameKind.DESCRIPTIONS)
# A larger frame is stored as it is. Compressing it would hold a second copy while it is stored, and unpacking it a window of 2 MB
# for everybody who fetches it. No part of it could be read without all that stands before it.
MOST_COMPRESSED_BYTES = 1 << 20


# What is packed at once for a file, so that of frames that are made one by one (compressed, encrypted) few are held together.
WINDOW_BYTES = 1 << 20


class Packed(NamedTuple):
    """Frames that follow each other: their buffers, the stored length of each frame, and the offset behind them."""

    buffers: "list[Buffer | Pieces]"
    sizes: list[int]
    behind: int


class Compressor:
    """Compresses the content of frames where that is worth it. One thread at a time."""

    @cached_property
    def _probe(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=PROBE_LEVEL)

    @cached_property
    def _compressor(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=LEVEL)

    @cached_property
    def _fast(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=LEVEL_OF_REPETITIVE)

    def pack(self, kind: FrameKind, content: memoryview) -> tuple[memoryview, int]:
        """The bytes to store and the flags that say how they are stored."""
        if kind not in COMPRESSIBLE or len(content) > MOST_COMPRESSED_BYTES:
            return content, 0
        probe = sample(content)
        share = len(self._probe.compress(probe)) / max(1, len(probe))
        if share > WORTH_IT:
            return content, 0
        packed = (self._fast if share < REPETITIVE else self._compressor).compress(content)
        return (memoryview(packed), ZSTD) if len(packed) < len(content) else (content, 0)


class Packing:
    """One for each payload. One thread at a time."""

    def __init__(self, payload_id: UUID) -> None:
        self._payload_id = payload_id
        self._compressor = Compressor()

    def pack(self, frames: Iterable[GivenFrame], offset: int) -> Packed:
        """Frames that stand from `offset` on. What is not compressed is not copied either."""
        buffers: list[Buffer | Pieces] = []
        sizes: list[int] = []
        for window in self.windows(frames, offset):
            buffers += window.buffers
            sizes += window.sizes
            offset = window.behind
        return Packed(buffers, sizes, offset)

    def windows(self, frames: Iterable[GivenFrame], offset: int) -> Iterator[Packed]:
        """The same in windows of about WINDOW_BYTES, each of which is made when the one before it is done with."""
        buffers: list[Buffer | Pieces] = []
        sizes: list[int] = []
        begin = offset
        for kind, ordinal, content in frames:
            stored: memoryview | Pieces
            if isinstance(content, Pieces):
                stored, flags, raw_bytes, stored_bytes = content, 0, content.total_bytes, content.total_bytes
                checksum = checksum_of(content)
            else:
                view = memoryview(content).cast("B")
                stored, flags = self._compressor.pack(kind, view)
                raw_bytes, stored_bytes = len(view), len(stored)
                checksum = xxhash.xxh3_64_intdigest(stored)
            header = FrameHeader(kind, flags, ordinal, raw_bytes, stored_bytes, checksum)
            buffers += (pack_header(header, self._payload_id, offset), stored)
            offset += HEADER_BYTES + stored_bytes
            sizes.append(stored_bytes)
            if offset - begin >= WINDOW_BYTES:
                yield Packed(buffers, sizes, offset)
                buffers, sizes, begin = [], [], offset
        if buffers:
            yield Packed(buffers, sizes, offset)


def checksum_of(pieces: Pieces) -> int:
    """XXH3-64 of all of it."""
    whole = xxhash.xxh3_64()
    for piece in pieces:
        whole.update(piece)
    return whole.intdigest()


def sample(content: memoryview) -> bytes | memoryview:
    """Stretches of the content from its first bytes to its last ones, at equal distances; all of it if it is small."""
    if len(content) <= SAMPLES * SAMPLE_BYTES:
        return content
    step = (len(content) - SAMPLE_BYTES) // (SAMPLES - 1)
    return b"".join(content[at * step : at * step + SAMPLE_BYTES] for at in range(SAMPLES))
