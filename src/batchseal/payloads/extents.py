"""The places of payloads in a segment, and who uses them.

    segment = extents, each of which begins at a multiple of 4,096 bytes; zeros everywhere else
    extent  = header (48 bytes, little endian) + the frames of one payload + zeros up to the next multiple of 4,096
    header  = magic "BSX1" | 0 u32 | UUID of the payload (16 bytes) | length of the frames u64 | 0 u64 | XXH3-64 of all before u64

The checksum of a header is seeded with the UUID of the segment and the offset of the extent, so no document can contain a header.

Two bytes of an extent are locked, in the way of open file descriptions (fcntl(2)): the first by the writer, until the row of the
payload is committed, and the second by each reader. The system releases the locks of a process that dies.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import xxhash

ALIGNMENT = 4096  # file systems free space in blocks of this size
MAGIC = b"BSX1"
HEADER = struct.Struct("<4sI16sQQ")
HEADER_BYTES = HEADER.size + 8
# Of `struct flock`: type, whence, start, length, process id.
LOCK = struct.Struct("hhqqi4x")
BUSY = (errno.EAGAIN, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a payload lies: `offset` is that of the header, `length` that of the frames behind it."""

    payload_id: UUID
    offset: int
    length: int

    @property
    def frames_offset(self) -> int:
        return self.offset + HEADER_BYTES

    @property
    def taken_bytes(self) -> int:
        """What it takes of the segment and of the disk."""
        return taken_bytes(self.length)

    @property
    def behind(self) -> int:
        return self.offset + self.taken_bytes


def taken_bytes(length: int) -> int:
    """What an extent takes whose frames have this length."""
    return -(-(HEADER_BYTES + length) // ALIGNMENT) * ALIGNMENT


def pack_header(extent: Extent, segment: UUID) -> bytes:
    head = HEADER.pack(MAGIC, 0, extent.payload_id.bytes, extent.length, 0)
    return head + _checksum(head, segment, extent.offset).to_bytes(8, "little")


def unpack_header(data: bytes, segment: UUID, offset: int) -> Extent | None:
    """The extent at `offset`, or None where these bytes are not the header of one."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    head = data[: HEADER.size]
    if _checksum(head, segment, offset) != int.from_bytes(data[HEADER.size : HEADER_BYTES], "little"):
        return None
    _, _, payload_id, length, _ = HEADER.unpack(head)
    return Extent(UUID(bytes=payload_id), offset, length)


def _checksum(head: bytes, segment: UUID, offset: int) -> int:
    return xxhash.xxh3_64_intdigest(head, (segment.int ^ (offset * 0x9E3779B97F4A7C15)) & (1 << 64) - 1)


# --- what lies in a segment: all raise OSError ------------------------------------------------------------------------


def extents_of(descriptor: int, segment: UUID, start: int = 0, stop: int | None = None) -> Iterator[Extent]:
    """The extents that begin between two offsets (None: the end of the file), in order. Their content is not checked."""
    for first, behind in data_of(descriptor, start, stop):
        offset = first // ALIGNMENT * ALIGNMENT
        while offset < behind:
            found = unpack_header(os.pread(descriptor, HEADER_BYTES, offset), segment, offset)
            if found is not None:
                yield found
            offset += ALIGNMENT if found is None else found.taken_bytes


def data_of(descriptor: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
    """The stretches between two offsets that take space on the disk. Where the file system cannot tell, that is all of it."""
    size = os.fstat(descriptor).st_size
    stop = size if stop is None else min(stop, size)
    while start < stop:
        try:
            first = os.lseek(descriptor, start, os.SEEK_DATA)
            behind = os.lseek(descriptor, first, os.SEEK_HOLE)
        except OSError as problem:
            if problem.errno == errno.ENXIO:  # there is no data behind `start`
                return
            first, behind = start, stop
        if first < stop:
            yield first, min(behind, stop)
        start = behind


# --- who uses an extent ----------------------------------------------------------------------------------------------


def lock_to_write(descriptor: int, offset: int) -> None:
    """Says that the extent at `offset` is written. The descriptor is open for writing. Raises OSError."""
    _set_lock(descriptor, fcntl.F_WRLCK, offset, 1)


def release_writing(descriptor: int, offset: int) -> None:
    """Ends `lock_to_write`, for each of the descriptors that share it. Raises OSError."""
    _set_lock(descriptor, fcntl.F_UNLCK, offset, 1)


def lock_to_read(descriptor: int, offset: int) -> None:
    """Says that the extent is read, until the descriptor is closed. Nothing is said where somebody is just deleting it."""
    with suppress(BlockingIOError, PermissionError):
        _set_lock(descriptor, fcntl.F_RDLCK, offset + 1, 1)


def lock_to_delete(descriptor: int, start: int, stop: int) -> bool:
    """Keeps others from using what lies between two offsets, until the descriptor is closed. False where somebody uses it.

    The descriptor is open for writing. Raises OSError.
    """
    try:
        _set_lock(descriptor, fcntl.F_WRLCK, start, stop - start)
    except OSError as problem:
        if problem.errno not in BUSY:
            raise
        return False
    return True


def is_written(descriptor: int, offset: int) -> bool:
    """Whether somebody else holds `lock_to_write`. Raises OSError."""
    asked = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return bool(LOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _set_lock(descriptor: int, kind: int, start: int, length: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, LOCK.pack(kind, os.SEEK_SET, start, length, 0))
