"""Finds the frames of a payload, wherever it lies. Every byte that it returns was verified against its frame's checksum."""

from abc import ABC, abstractmethod
from functools import cached_property
from types import TracebackType
from typing import Self
from uuid import UUID

import xxhash
import zstandard

from batchseal.errors import PayloadDamaged
from batchseal.payloads.blocks import BlockChecksums, PackedFrame, StoredBlocks
from batchseal.payloads.frame_table import FrameTable
from batchseal.payloads.frames import HEADER_BYTES, MAGIC, ZSTD, FrameHeader, FrameKind, unpack_header
from batchseal.payloads.interface import CheckedFrame

SEARCH_BYTES = 1 << 20
BLOCK_BYTES = 4096  # small frames stand together behind the documents, so one read brings several headers


class FrameReader(ABC):
    """The frames of one payload, by kind and ordinal. A `StoredReader`; one thread at a time.

    A store says how bytes are read (`_pread`), and fills `_frames` when the payload is opened.
    """

    def __init__(self, payload_id: UUID) -> None:
        self.payload_id = payload_id
        self.found_bytes = 0  # what all frames take that were found by their headers
        self._frames = FrameTable()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _pread(self, count: int, offset: int) -> bytes:
        """Reads `count` bytes of the payload, or fewer where it ends. Raises PayloadUnavailable."""

    def _find_frames(self, size: int) -> None:
        """Reads all headers. A last frame that was written in part is left out."""
        offset = 0
        block, begin = b"", 0
        while offset + HEADER_BYTES <= size:
            if offset + HEADER_BYTES > begin + len(block):
                block, begin = self._pread(min(BLOCK_BYTES, size - offset), offset), offset
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
            self._frames.add(offset + HEADER_BYTES, header)
            self.found_bytes += behind - offset
            offset = behind

    def _find_frame(self, offset: int, size: int) -> int | None:
        """Where the next header is, behind a damaged one."""
        while offset + HEADER_BYTES <= size:
            block = self._pread(min(SEARCH_BYTES + HEADER_BYTES, size - offset), offset)
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

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        return self._frames.has(kind, ordinal)

    def ordinals(self, kind: FrameKind) -> set[int]:
        """Documents that have a frame of this kind whose content is what was written.

        A power cut may leave a header without the pages behind it, which never reached the disk. Such a frame counts as missing,
        and its work is done again.
        """
        return {header.ordinal for offset, header in self._frames.of_kind(kind) if self._is_whole(offset, header)}

    def _is_whole(self, offset: int, header: FrameHeader) -> bool:
        """Whether the stored bytes of a frame match their checksum. A large frame is read in pieces."""
        if header.stored_bytes <= SEARCH_BYTES:
            return self._stored(offset, header) is not None
        return self._checksums(offset, header) is not None

    def _checksums(self, offset: int, header: FrameHeader) -> BlockChecksums | None:
        """Of the blocks of a frame, or None where its stored bytes do not match its checksum. Raises PayloadUnavailable."""
        return BlockChecksums.of(self._pread, offset, header)

    def _stored(self, offset: int, header: FrameHeader) -> bytes | None:
        """The stored bytes of a frame, or None where they do not match their checksum. Raises PayloadUnavailable."""
        stored = self._pread(header.stored_bytes, offset)
        whole = len(stored) == header.stored_bytes and xxhash.xxh3_64_intdigest(stored) == header.checksum
        return stored if whole else None

    def _place(self, kind: FrameKind, ordinal: int) -> tuple[int, FrameHeader]:
        try:
            return self._frames.find(kind, ordinal)
        except KeyError:
            raise PayloadDamaged(f"the stored payload has no {kind.name.lower()} {ordinal}") from None

    def stored_bytes(self, kind: FrameKind, ordinal: int) -> int:
        return self._place(kind, ordinal)[1].stored_bytes

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        """Raises PayloadDamaged where the frame is missing or is not what was written, and PayloadUnavailable."""
        offset, header = self._place(kind, ordinal)
        checksums = self._checksums(offset, header)
        what = f"the stored {kind.name.lower()} {ordinal}"
        if checksums is None:
            raise PayloadDamaged(f"{what} does not match its checksum")
        stored = StoredBlocks(self._pread, offset, header.stored_bytes, checksums, what)
        return PackedFrame(stored, header.raw_bytes) if header.flags & ZSTD else stored

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        """Raises PayloadDamaged where the frame is missing or is not what was written, and PayloadUnavailable."""
        offset, header = self._place(kind, ordinal)
        if (stored := self._stored(offset, header)) is None:
            raise PayloadDamaged(f"the stored {kind.name.lower()} {ordinal} does not match its checksum")
        if not header.flags & ZSTD:
            return stored
        try:
            return self._decompressor.decompress(stored, max_output_size=header.raw_bytes)
        except zstandard.ZstdError as problem:
            raise PayloadDamaged(f"the stored {kind.name.lower()} {ordinal} cannot be unpacked: {problem}") from None
