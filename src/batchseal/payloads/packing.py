"""Makes the buffers that a payload consists of, from frames: compressed where that is worth it, and with their headers."""

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

import xxhash
import zstandard

from batchseal.payloads.frames import HEADER_BYTES, ZSTD, FrameHeader, FrameKind, pack_header
from batchseal.payloads.interface import Frame

if TYPE_CHECKING:
    from typing_extensions import Buffer

# PDF streams are deflated already: a sample of a few places tells cheaply whether zstd would save anything.
SAMPLES, SAMPLE_BYTES, PROBE_LEVEL = 4, 4 << 10, 1
WORTH_IT = 0.95  # a frame is compressed only where that saves 5 % or more
LEVEL = 3
# Prepared documents are small and consist of digests: zstd would save nothing.
COMPRESSIBLE = (FrameKind.DOCUMENT, FrameKind.DESCRIPTIONS)
# A larger frame is stored as it is. Compressing it would hold a second copy while it is stored, and unpacking it a window of 2 MB
# for everybody who fetches it. No part of it could be read without all that stands before it.
MOST_COMPRESSED_BYTES = 1 << 20


class Packing:
    """One for each payload. One thread at a time."""

    def __init__(self, payload_id: UUID) -> None:
        self._payload_id = payload_id

    def pack(self, frames: Iterable[Frame], offset: int) -> "tuple[list[Buffer], list[int], int]":
        """The buffers of frames that stand from `offset` on, the stored length of each frame, and the offset behind them.

        What is not compressed is not copied either.
        """
        buffers: list[Buffer] = []
        sizes: list[int] = []
        for kind, ordinal, content in frames:
            view = memoryview(content).cast("B")
            stored, flags = self._pack(view) if kind in COMPRESSIBLE else (view, 0)
            header = FrameHeader(kind, flags, ordinal, len(view), len(stored), xxhash.xxh3_64_intdigest(stored))
            buffers += (pack_header(header, self._payload_id, offset), stored)
            offset += HEADER_BYTES + len(stored)
            sizes.append(len(stored))
        return buffers, sizes, offset

    @cached_property
    def _probe(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=PROBE_LEVEL)

    @cached_property
    def _compressor(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=LEVEL)

    def _pack(self, content: memoryview) -> tuple[memoryview, int]:
        """The bytes to store and the flags that say how they are stored."""
        if len(content) > MOST_COMPRESSED_BYTES:
            return content, 0
        probe = sample(content)
        if len(self._probe.compress(probe)) > WORTH_IT * len(probe):
            return content, 0
        packed = self._compressor.compress(content)
        return (memoryview(packed), ZSTD) if len(packed) < len(content) else (content, 0)


def sample(content: memoryview) -> bytes | memoryview:
    """Stretches of the content from its first bytes to its last ones, at equal distances; all of it if it is small."""
    if len(content) <= SAMPLES * SAMPLE_BYTES:
        return content
    step = (len(content) - SAMPLE_BYTES) // (SAMPLES - 1)
    return b"".join(content[at * step : at * step + SAMPLE_BYTES] for at in range(SAMPLES))
