"""Payloads that share segments: read, made durable, deleted, counted and swept, by whatever process.

Deleting a payload gives its blocks back to the disk at once (a hole in the file). A segment goes once all of it is a hole and
nobody writes it. The lock of the file (flock) says that somebody puts payloads into it; those of its extents say which of them
are in use (`extents`).
"""

import errno
import fcntl
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.errors import PayloadDamaged
from batchseal.payloads.extents import (
    HEADER_BYTES,
    Extent,
    data_of,
    extents_of,
    is_written,
    lock_to_delete,
    lock_to_read,
)
from batchseal.payloads.group_sync import GroupSync
from batchseal.payloads.interface import Live, PayloadRecord, require_plain
from batchseal.payloads.reader import FileReader, available, open_payload
from batchseal.payloads.rewriting import written_again
from batchseal.payloads.segment_writer import SUFFIX
from batchseal.system.folders import SAFE, own_folder
from batchseal.system.futures import in_pool
from batchseal.system.holes import punch

# So many extents are looked at in a sweep, and as many more as the last segment has.
EXTENTS_AT_ONCE = 50_000
NO_SEGMENT = UUID(int=0)

log = structlog.get_logger("payloads")


@dataclass(frozen=True, slots=True)
class _Look:
    """What a sweep saw of a segment: whether its writer has ended, and the extents that nobody wrote."""

    segment: UUID
    is_ended: bool
    unwritten: list[Extent]


def extent_of(record: PayloadRecord) -> Extent:
    return Extent(record.id, record.offset, record.length)


class Segments:
    """The segments in a folder, which belongs to one instance alone."""

    def __init__(self, folder: Path, extents_at_once: int = EXTENTS_AT_ONCE) -> None:
        self.folder = folder
        self._extents_at_once = extents_at_once
        self._syncs = GroupSync()
        self._swept_until = (
            NO_SEGMENT  # the last segment that a sweep has looked at; NO_SEGMENT: the next one begins anew
        )

    def path(self, segment: UUID) -> Path:
        return self.folder / f"{segment}{SUFFIX}"

    def open(self, record: PayloadRecord) -> FileReader:
        require_plain(record)
        assert record.segment is not None
        return FileReader(self.path(record.segment), record.id, extent_of(record))

    def make_durable(self, record: PayloadRecord) -> None:
        assert record.segment is not None
        path = self.path(record.segment)
        try:
            descriptor = open_payload(path, os.O_RDWR)
        except PayloadDamaged:
            return
        try:
            with available("the stored payload cannot be synced"):
                try:
                    self._syncs.run(path, lambda: os.fdatasync(descriptor))
                except OSError:
                    # Each of those who share the sync does this for its own payload.
                    _write_again(descriptor, extent_of(record))
                    raise
        finally:
            os.close(descriptor)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        by_segment: dict[UUID, list[PayloadRecord]] = defaultdict(list)
        for record in records:
            assert record.segment is not None
            by_segment[record.segment].append(record)
        with available("a stored payload cannot be deleted"):
            return sum(self._delete(segment, records) for segment, records in by_segment.items())

    def _delete(self, segment: UUID, records: Iterable[PayloadRecord]) -> int:
        with self._opened(self.path(segment)) as descriptor:
            if descriptor < 0:
                return 0
            before = _disk_bytes(descriptor)
            for record in records:
                extent = extent_of(record)
                if lock_to_delete(descriptor, extent.offset, extent.behind):
                    punch(descriptor, extent.offset, extent.taken_bytes)
            freed = before - _disk_bytes(descriptor)
            if _has_no_data(descriptor) and _lock(descriptor):
                freed += _disk_bytes(descriptor)
                self._unlink(segment)
            return max(0, freed)

    def stored_bytes(self) -> int:
        """What payloads take that are not written any more. Of a segment that somebody writes, the space ahead does not count."""
        with available("the stored payloads cannot be counted"):
            return sum(map(self._stored_bytes, self._names()))

    def _stored_bytes(self, segment: UUID) -> int:
        with self._opened(self.path(segment)) as descriptor:
            if descriptor < 0:
                return 0
            if _lock(descriptor):
                return _disk_bytes(descriptor)
            return sum(extent.taken_bytes for extent in _unwritten(descriptor, segment))

    # --- the sweep ----------------------------------------------------------------------------------------------------

    async def sweep(self, live: Live) -> list[UUID]:
        """Like `Payloads.sweep`. Gives back, too, what a crash left ahead of the payloads or half written."""
        try:
            looked = await in_pool(None, self._look)
            if not looked:
                return []
            # A writer locks its extent before there is anything to be seen of it, and releases it once the row is committed. So
            # whatever was unlocked when it was listed is named by now, or never will be.
            named: dict[UUID, dict[int, Extent]] = {one.segment: {} for one in looked}
            async with aclosing(live()) as parts:
                async for records in parts:
                    for record in records:
                        if record.segment is not None and (those := named.get(record.segment)) is not None:
                            those[record.offset] = extent_of(record)
            return await in_pool(
                None, lambda: [gone for one in looked for gone in self._remove(one, named[one.segment])]
            )
        except OSError as problem:
            log.warning("payloads that nobody needs are looked for later", cause=problem.strerror)
            return []

    def _look(self) -> "list[_Look]":
        """At the next segments by their names, until they have enough extents."""
        found, extents = list[_Look](), 0
        for segment in sorted(name for name in self._names() if name > self._swept_until):
            with self._opened(self.path(segment)) as descriptor:
                if descriptor >= 0:
                    found.append(_Look(segment, _lock(descriptor), list(_unwritten(descriptor, segment))))
                    extents += len(found[-1].unwritten)
            if extents >= self._extents_at_once:
                self._swept_until = segment
                return found
        self._swept_until = NO_SEGMENT
        return found

    def _remove(self, look: "_Look", named: dict[int, Extent]) -> list[UUID]:
        removed = []
        with self._opened(self.path(look.segment)) as descriptor:
            if descriptor < 0:
                return []
            for extent in look.unwritten:
                if extent.offset not in named and lock_to_delete(descriptor, extent.offset, extent.behind):
                    log.info("removing an orphaned payload", file=self.path(look.segment).name, offset=extent.offset)
                    punch(descriptor, extent.offset, extent.taken_bytes)
                    removed.append(extent.payload_id)
            if look.is_ended and _lock(descriptor):
                self._trim(look.segment, descriptor, list(named.values()))
        return removed

    def _trim(self, segment: UUID, descriptor: int, named: list[Extent]) -> None:
        """What no row names of a segment that nobody writes. The headers are not asked: one of them may be damaged."""
        size, end = os.fstat(descriptor).st_size, 0
        for extent in sorted(named, key=lambda one: one.offset):
            self._free(descriptor, end, extent.offset)
            end = max(end, extent.behind)
        if self._free(descriptor, end, size):
            if end == 0:
                return self._unlink(segment)
            os.ftruncate(descriptor, min(end, size))
        return None

    def _free(self, descriptor: int, start: int, stop: int) -> bool:
        """False where somebody reads what lies between: the next sweep comes to it."""
        if start >= stop:
            return True
        if not lock_to_delete(descriptor, start, stop):
            return False
        for first, behind in list(data_of(descriptor, start, stop)):
            punch(descriptor, first, behind - first)
        return True

    # --- files --------------------------------------------------------------------------------------------------------

    def _names(self) -> list[UUID]:
        """Raises OSError, also where the folder is not there: that is not the same as an empty one."""
        with own_folder(self.folder) as folder:
            names = os.listdir(folder)
        found = []
        for name in names:
            if name.endswith(SUFFIX):
                with suppress(ValueError):
                    found.append(UUID(name.removesuffix(SUFFIX)))
        return found

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """The segment, open for writing; -1 if it is gone. What it locks is locked until the block ends."""
        descriptor = -1
        with own_folder(self.folder) as folder, suppress(FileNotFoundError):
            descriptor = os.open(path.name, os.O_RDWR | SAFE, dir_fd=folder)
        try:
            yield descriptor
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _unlink(self, segment: UUID) -> None:
        with own_folder(self.folder) as folder, suppress(FileNotFoundError):
            os.unlink(self.path(segment).name, dir_fd=folder)


def _write_again(descriptor: int, extent: Extent) -> None:
    """Whoever tries again must not be told that all is well. A payload that was deleted meanwhile stays so."""
    with suppress(OSError):  # what cannot be read is destroyed below
        lock_to_read(descriptor, extent.offset)
        if not any(os.pread(descriptor, HEADER_BYTES, extent.offset)):
            return
    if not written_again(descriptor, extent.offset, extent.behind):
        punch(descriptor, extent.offset, extent.taken_bytes)


def _unwritten(descriptor: int, segment: UUID) -> Iterator[Extent]:
    return (extent for extent in extents_of(descriptor, segment) if not is_written(descriptor, extent.offset))


def _has_no_data(descriptor: int) -> bool:
    return next(data_of(descriptor), None) is None


def _disk_bytes(descriptor: int) -> int:
    return os.fstat(descriptor).st_blocks * 512


def _lock(descriptor: int) -> bool:
    """Whether nobody puts payloads into the segment, and nobody else looks through it. Then this descriptor has its lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True
