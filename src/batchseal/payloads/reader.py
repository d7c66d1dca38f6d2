"""Reads spill files. Every byte it returns was verified against its frame's checksum.

What is stored wrongly, or is gone, raises SpillDamaged: that is final. What the operating system cannot give just now (no
descriptor is left, the folder is not mounted, the disk reports a fault) raises PayloadUnavailable: it is tried again.
"""

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from uuid import UUID

import xxhash
import zstandard

from batchseal.errors import PayloadUnavailable, SpillDamaged
from batchseal.payloads.frames import HEADER_BYTES, MAGIC, ZSTD, FrameHeader, FrameKind, unpack_header

SEARCH_BYTES = 1 << 20
BLOCK_BYTES = 4096  # behind a document follow small frames, whose headers come with the first one's


def open_payload(path: Path, flags: int) -> int:
    """A descriptor of a payload's file. Raises SpillDamaged where the folder is there and the file is not, and
    PayloadUnavailable for any other reason.
    """
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    except OSError as problem:
        raise unavailable(problem) from None
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as problem:
        raise unavailable(problem, "the folder of the stored payloads cannot be opened") from None
    try:
        # Looked for once more inside the open folder: it may have been mounted in between.
        return os.open(path.name, flags, dir_fd=folder)
    except FileNotFoundError as problem:
        raise SpillDamaged(f"the stored payload cannot be opened: {problem.strerror}") from None
    except OSError as problem:
        raise unavailable(problem) from None
    finally:
        os.close(folder)


def unavailable(problem: OSError, what: str = "the stored payload cannot be opened") -> PayloadUnavailable:
    return PayloadUnavailable(f"{what} just now: {problem.strerror}")


class SpillReader:
    """The frames of one operation's file, by kind and ordinal. Not for several threads at once."""

    def __init__(self, folder: Path, payload_id: UUID) -> None:
        """Raises SpillDamaged, PayloadUnavailable."""
        self.path = folder / f"{payload_id}.spill"
        self.payload_id = payload_id
        self._descriptor = open_payload(self.path, os.O_RDONLY)
        self._frames: dict[tuple[FrameKind, int], tuple[int, FrameHeader]] = {}
        self.end = 0
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "SpillReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def refresh(self) -> None:
        """Takes in the frames that were appended since. A half-written last one is left alone. Raises PayloadUnavailable."""
        try:
            size = os.fstat(self._descriptor).st_size
        except OSError as problem:
            raise unavailable(problem, "the stored payload cannot be read") from None
        offset = self.end
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
            self.end = offset = behind

    def _find_frame(self, offset: int, size: int) -> int | None:
        """The next header behind a damaged one."""
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
        """Fewer bytes only where the file ends. A system call may stop in front of a page that it cannot read: taken for the
        end, that would be damage.
        """
        try:
            data = os.pread(self._descriptor, count, offset)
            while 0 < len(data) < count:
                more = os.pread(self._descriptor, count - len(data), offset + len(data))
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

    def ordinals(self, kind: FrameKind) -> set[int]:
        """Documents with a frame of this kind whose content is what was written. A power cut may leave a header before
        pages that never reached the disk: such a frame counts as missing, and its work is done again.
        """
        found = ((ordinal, place) for (frame_kind, ordinal), place in self._frames.items() if frame_kind is kind)
        return {ordinal for ordinal, (offset, header) in found if self._stored(offset, header) is not None}

    def _stored(self, offset: int, header: FrameHeader) -> bytes | None:
        """A frame's stored bytes, or None where they do not match their checksum. Raises PayloadUnavailable."""
        stored = self._pread(header.stored_bytes, offset)
        whole = len(stored) == header.stored_bytes and xxhash.xxh3_64_intdigest(stored) == header.checksum
        return stored if whole else None

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        """The content of a frame. Raises SpillDamaged where it is missing or not what was written, PayloadUnavailable."""
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
