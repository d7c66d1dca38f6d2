"""Reads spill files. Every byte it returns was verified against its frame's checksum."""

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from uuid import UUID

import xxhash
import zstandard

from batchseal.errors import SpillDamaged
from batchseal.spill.frames import HEADER_BYTES, MAGIC, ZSTD, FrameHeader, FrameKind, unpack_header

SEARCH_BYTES = 1 << 20
BLOCK_BYTES = 4096  # behind a document follow small frames, whose headers come with the first one's


class SpillReader:
    """The frames of one operation's file, by kind and ordinal. Not for several threads at once."""

    def __init__(self, folder: Path, payload_id: UUID) -> None:
        self.path = folder / f"{payload_id}.spill"
        self.payload_id = payload_id
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as problem:
            raise SpillDamaged(f"the stored payload cannot be opened: {problem.strerror}") from None
        self._frames: dict[tuple[FrameKind, int], tuple[int, FrameHeader]] = {}
        self.end = 0
        self.refresh()

    def __enter__(self) -> "SpillReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def refresh(self) -> None:
        """Takes in the frames that were appended since. A half-written last one is left alone."""
        size = os.fstat(self._descriptor).st_size
        offset = self.end
        block, begin = b"", 0
        while offset + HEADER_BYTES <= size:
            if offset + HEADER_BYTES > begin + len(block):
                block, begin = os.pread(self._descriptor, BLOCK_BYTES, offset), offset
            head = block[offset - begin : offset - begin + HEADER_BYTES]
            header = unpack_header(head, self.payload_id, offset)
            if header is None:
                following = self._find_frame(offset + 1, size)
                if following is None:
                    break
                offset = following
                continue
            behind = offset + HEADER_BYTES + header.stored_bytes
            if behind > size:
                break
            self._frames[header.kind, header.ordinal] = (offset + HEADER_BYTES, header)
            self.end = offset = behind

    def _find_frame(self, offset: int, size: int) -> int | None:
        """The next header behind a damaged one."""
        while offset + HEADER_BYTES <= size:
            block = os.pread(self._descriptor, SEARCH_BYTES + HEADER_BYTES, offset)
            place = block.find(MAGIC)
            while 0 <= place <= len(block) - HEADER_BYTES:
                if unpack_header(block[place : place + HEADER_BYTES], self.payload_id, offset + place):
                    return offset + place
                place = block.find(MAGIC, place + 1)
            offset += max(1, len(block) - HEADER_BYTES + 1)
        return None

    @cached_property
    def _decompressor(self) -> zstandard.ZstdDecompressor:
        return zstandard.ZstdDecompressor()

    def ordinals(self, kind: FrameKind) -> set[int]:
        """Documents with a frame of this kind whose content is what was written. A power cut may leave a header before
        pages that never reached the disk: such a frame counts as missing, and its work is done again.
        """
        found = ((ordinal, place) for (frame_kind, ordinal), place in self._frames.items() if frame_kind is kind)
        return {ordinal for ordinal, (offset, header) in found if self._stored(offset, header) is not None}

    def _stored(self, offset: int, header: FrameHeader) -> bytes | None:
        """A frame's stored bytes, or None where they do not match their checksum."""
        stored = os.pread(self._descriptor, header.stored_bytes, offset)
        whole = len(stored) == header.stored_bytes and xxhash.xxh3_64_intdigest(stored) == header.checksum
        return stored if whole else None

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        """The content of a frame. Raises SpillDamaged where it is missing or not what was written."""
        try:
            offset, header = self._frames[kind, ordinal]
        except KeyError:
            raise SpillDamaged(f"the stored payload has no {kind.name.lower()} {ordinal}") from None
        if (stored := self._stored(offset, header)) is None:
            raise SpillDamaged(f"the stored {kind.name.lower()} {ordinal} does not match its checksum")
        if not header.flags & ZSTD:
            return stored
        try:
            return self._decompressor.decompress(stored, max_output_size=header.raw_bytes)
        except zstandard.ZstdError as problem:
            raise SpillDamaged(f"the stored {kind.name.lower()} {ordinal} cannot be unpacked: {problem}") from None
