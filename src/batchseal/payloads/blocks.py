"""Reads a large frame twice, in blocks: once to check it against its checksum, and once more while its content goes out.

The first pass keeps a checksum of each block. The second pass compares each block with it, so that nothing goes out that changed
in between. At most one block is in memory.
"""

import io
from array import array
from collections.abc import Callable
from typing import IO, cast

import xxhash
import zstandard

from batchseal.errors import PayloadDamaged
from batchseal.payloads.frames import FrameHeader

# A multiple of three, so that each block but the last one becomes 64 KB of base64 without a rest. The checksums of a document of
# 100 MB take 17 KB.
BLOCK_BYTES = 48 << 10

# Reads so many bytes at an offset of the file, or fewer where the file ends. Raises PayloadUnavailable.
Pread = Callable[[int, int], bytes]


class BlockChecksums:
    """The checksum (XXH3-64) of each block of a frame whose own checksum was right."""

    def __init__(self, of_blocks: "array[int]") -> None:
        self._of_blocks = of_blocks

    @classmethod
    def of(cls, pread: Pread, offset: int, header: FrameHeader) -> "BlockChecksums | None":
        """The first pass. None where the stored bytes do not match the checksum of the frame."""
        whole, of_blocks = xxhash.xxh3_64(), array("Q")
        for at in range(0, header.stored_bytes, BLOCK_BYTES):
            block = pread(min(BLOCK_BYTES, header.stored_bytes - at), offset + at)
            whole.update(block)
            of_blocks.append(xxhash.xxh3_64_intdigest(block))
        return cls(of_blocks) if whole.intdigest() == header.checksum else None

    def match(self, number: int, block: bytes) -> bool:
        return xxhash.xxh3_64_intdigest(block) == self._of_blocks[number]


class StoredBlocks:
    """A `CheckedFrame` that is stored as it is: any part of it can be read."""

    def __init__(self, pread: Pread, offset: int, total_bytes: int, checksums: BlockChecksums, what: str) -> None:
        self.total_bytes = total_bytes
        self.what = what
        self._pread = pread
        self._offset = offset
        self._checksums = checksums

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.total_bytes)
        if start >= stop:
            return b""
        blocks = [self._block(number) for number in range(start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1)]
        whole = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        first = start // BLOCK_BYTES * BLOCK_BYTES
        return whole if len(whole) == stop - start else whole[start - first : stop - first]

    def _block(self, number: int) -> bytes:
        at = number * BLOCK_BYTES
        block = self._pread(min(BLOCK_BYTES, self.total_bytes - at), self._offset + at)
        if not self._checksums.match(number, block):
            raise PayloadDamaged(f"{self.what} has changed since it was checked")
        return block


class PackedFrame:
    """A `CheckedFrame` that is compressed: it is unpacked from its beginning on, and again from there for an earlier part.

    Release 0.1 compressed documents of any size. Unpacking one holds up to 2 MB: the window of its compression.
    """

    def __init__(self, stored: StoredBlocks, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._stored = stored
        self._begin()

    def _begin(self) -> None:
        self._unpacking = zstandard.ZstdDecompressor().stream_reader(
            cast("IO[bytes]", Source(self._stored)), read_size=BLOCK_BYTES, read_across_frames=False
        )
        self._at = 0

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.total_bytes)
        if start >= stop:
            return b""
        if start < self._at:
            self._begin()
        while self._at < start:
            self._unpacked(min(BLOCK_BYTES, start - self._at))
        return self._unpacked(stop - start)

    def _unpacked(self, count: int) -> bytes:
        try:
            found = self._unpacking.read(count)
        except zstandard.ZstdError as problem:
            raise PayloadDamaged(f"{self._stored.what} cannot be unpacked: {problem}") from None
        if len(found) != count:
            raise PayloadDamaged(f"{self._stored.what} is shorter than it was")
        self._at += count
        return found


class Source(io.RawIOBase):
    """The stored bytes as a file from which the decompressor reads."""

    def __init__(self, stored: StoredBlocks) -> None:
        super().__init__()
        self._stored = stored
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """The next bytes, `count` of them or as many as are left."""
        found = self._stored.read(self._at, self._at + count)
        self._at += len(found)
        return found
