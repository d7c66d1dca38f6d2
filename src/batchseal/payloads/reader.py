"""Reads a payload that is a file. Every byte that it returns was verified against its frame's checksum.

A payload that is gone, or that is not what was written, raises PayloadDamaged: that is final. What the operating system cannot
give just now (no descriptor is left, the folder is not mounted, the disk reports a fault) raises PayloadUnavailable: the caller
tries again later.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from uuid import UUID

import xxhash
import zstandard

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.blocks import BlockChecksums, PackedFrame, StoredBlocks
from batchseal.payloads.extents import Extent as Part
from batchseal.payloads.extents import lock_to_read
from batchseal.payloads.frames import HEADER_BYTES, MAGIC, ZSTD, FrameHeader, FrameKind, unpack_header
from batchseal.payloads.interface import CheckedFrame
from batchseal.system.folders import SAFE, own_folder

SEARCH_BYTES = 1 << 20
BLOCK_BYTES = 4096  # small frames stand together behind the documents, so one read brings several headers


def open_payload(path: Path, flags: int) -> int:
    """Opens a payload's file and returns its descriptor.

    Raises PayloadDamaged where the folder exists and the file does not, PayloadUnavailable for every other reason.
    """
    descriptor = -1
    try:
        with own_folder(path.parent) as folder:
            try:
                descriptor = os.open(path.name, flags | SAFE, dir_fd=folder)
            except FileNotFoundError as problem:
                raise PayloadDamaged(f"the stored payload cannot be opened: {problem.strerror}") from None
            except OSError as problem:
                raise unavailable(problem) from None
    except OSError as problem:
        raise unavailable(problem, "the folder of the stored payloads cannot be opened") from None
    return descriptor


def unavailable(problem: OSError, what: str = "the stored payload cannot be opened") -> PayloadUnavailable:
    return PayloadUnavailable(f"{what} just now: {problem.strerror}")


@contextmanager
def available(what: str) -> Iterator[None]:
    """Raises PayloadUnavailable for what the operating system refuses in the block."""
    try:
        yield
    except OSError as problem:
        raise unavailable(problem, what) from None


class FileReader:
    """The frames of one payload, by kind and ordinal. A `PayloadReader`; one thread at a time.

    The payload is all of a file, or the `part` of a segment that an extent stands for.
    """

    def __init__(self, path: Path, payload_id: UUID, part: Part | None = None) -> None:
        """Raises PayloadDamaged, PayloadUnavailable."""
        self.payload_id = payload_id
        self._descriptor = open_payload(path, os.O_RDONLY)
        self._base = part.frames_offset if part is not None else 0
        self._frames: dict[tuple[FrameKind, int], tuple[int, FrameHeader]] = {}
        try:
            self._find_frames(self._file_bytes() if part is None else self._part_bytes(part))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def _file_bytes(self) -> int:
        try:
            return os.fstat(self._descriptor).st_size
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None

    def _part_bytes(self, part: Part) -> int:
        """The length of the frames. Whoever deletes the payload leaves it while this is open.

        A header that is damaged does not matter here, since the row says all that it says. One of zeros was deleted.
        """
        try:
            lock_to_read(self._descriptor, part.offset)
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None
        if not any(self._pread(HEADER_BYTES, part.offset - self._base)):
            raise PayloadDamaged("the stored payload cannot be opened: it was deleted")
        return part.length

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
            self._frames[header.kind, header.ordinal] = (offset + HEADER_BYTES, header)
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

    def _pread(self, count: int, offset: int) -> bytes:
        """Reads `count` bytes, or fewer where the file ends.

        A system call may stop early at a page that it cannot read. Taking that for the end of the file would report damage.
        """
        try:
            data = os.pread(self._descriptor, count, self._base + offset)
            while 0 < len(data) < count:
                more = os.pread(self._descriptor, count - len(data), self._base + offset + len(data))
                if not more:
                    break
                data += more
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None
        except MemoryError:
            raise PayloadUnavailable("there is no memory to read the stored payload just now") from None
        return data

    @cached_property
    def _decompressor(self) -> zstandard.ZstdDecompressor:
        return zstandard.ZstdDecompressor()

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        return (kind, ordinal) in self._frames

    def ordinals(self, kind: FrameKind) -> set[int]:
        """Documents that have a frame of this kind whose content is what was written.

        A power cut may leave a header without the pages behind it, which never reached the disk. Such a frame counts as missing,
        and its work is done again.
        """
        found = ((ordinal, place) for (frame_kind, ordinal), place in self._frames.items() if frame_kind is kind)
        return {ordinal for ordinal, (offset, header) in found if self._is_whole(offset, header)}

    def _is_whole(self, offset: int, header: FrameHeader) -> bool:
        """Whether the stored bytes of a frame match their checksum. A large frame is read in pieces."""
        if header.stored_bytes <= SEARCH_BYTES:
            return self._stored(offset, header) is not None
        return BlockChecksums.of(self._pread, offset, header) is not None

    def _stored(self, offset: int, header: FrameHeader) -> bytes | None:
        """The stored bytes of a frame, or None where they do not match their checksum. Raises PayloadUnavailable."""
        stored = self._pread(header.stored_bytes, offset)
        whole = len(stored) == header.stored_bytes and xxhash.xxh3_64_intdigest(stored) == header.checksum
        return stored if whole else None

    def _place(self, kind: FrameKind, ordinal: int) -> tuple[int, FrameHeader]:
        try:
            return self._frames[kind, ordinal]
        except KeyError:
            raise PayloadDamaged(f"the stored payload has no {kind.name.lower()} {ordinal}") from None

    def stored_bytes(self, kind: FrameKind, ordinal: int) -> int:
        return self._place(kind, ordinal)[1].stored_bytes

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        """Raises PayloadDamaged where the frame is missing or is not what was written, and PayloadUnavailable."""
        offset, header = self._place(kind, ordinal)
        checksums = BlockChecksums.of(self._pread, offset, header)
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
