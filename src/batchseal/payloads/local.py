"""Payloads as files in one local folder."""

import errno
import fcntl
import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.errors import PayloadDamaged
from batchseal.payloads.interface import Live, PayloadRecord, require_plain, unnamed
from batchseal.payloads.reader import FileReader, available, open_payload
from batchseal.payloads.rewriting import written_again
from batchseal.payloads.writer import FileUpload
from batchseal.system.disk import sync
from batchseal.system.folders import SAFE, own_folder
from batchseal.system.futures import in_pool

SUFFIX = ".spill"
# The embedded database writes its log to the same volume, 16 MB at a time.
RESERVED_BYTES = 48 << 20
# A sweep holds a descriptor for each file that it removes; what is left over comes with the next sweep.
SWEPT_AT_ONCE = 256
# So many files are looked at in a sweep.
FILES_AT_ONCE = 50_000

log = structlog.get_logger("payloads")


class LocalPayloads:
    """A `Payloads` store. The folder belongs to one instance alone."""

    name = "local"
    is_local = True
    takes_parts = True
    delete_makes_room = True
    upload_bytes = 0
    place = None
    is_away = False

    def __init__(self, folder: Path, files_at_once: int = FILES_AT_ONCE) -> None:
        self.folder = folder
        self._files_at_once = files_at_once
        self._swept_until = ""  # the name of the last file that a sweep has looked at; empty: the next one begins anew

    def path(self, payload_id: UUID) -> Path:
        return self.folder / f"{payload_id}{SUFFIX}"

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> FileUpload:
        return FileUpload(self.path(payload_id), payload_id)

    def open(self, record: PayloadRecord) -> FileReader:
        require_plain(record)
        return FileReader(self.path(record.id), record.id)

    def reader_bytes(self, record: PayloadRecord) -> int:
        return 0

    def make_room(self, needed_bytes: int) -> int:
        """Whatever lies here is a payload."""
        return 0

    def make_durable(self, record: PayloadRecord) -> None:
        try:
            descriptor = open_payload(self.path(record.id), os.O_RDWR)
        except PayloadDamaged:
            return
        try:
            with available("the stored payload cannot be synced"):
                try:
                    os.fsync(descriptor)
                except OSError:
                    # Whoever tries again must not be told that all is well.
                    if not written_again(descriptor, 0, os.fstat(descriptor).st_size):
                        os.ftruncate(descriptor, 0)
                    raise
                sync(self.folder)
        finally:
            os.close(descriptor)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        freed = 0
        with available("a stored payload cannot be deleted"), own_folder(self.folder) as folder:
            for record in records:
                path = self.path(record.id)
                freed += disk_bytes([path])
                with suppress(FileNotFoundError):
                    os.unlink(path.name, dir_fd=folder)
        return freed

    def stored_bytes(self) -> int:
        with available("the stored payloads cannot be counted"):
            return disk_bytes(self._unlocked().values())

    def free_bytes(self) -> int:
        with available("the folder of the stored payloads cannot be looked at"):
            volume = os.statvfs(self.folder)
        return volume.f_bavail * volume.f_frsize - RESERVED_BYTES

    async def sweep(self, live: Live) -> list[UUID]:
        """What the operating system refuses is left to the next sweep."""
        try:
            return await self._sweep(live)
        except OSError as problem:
            log.warning("payloads that nobody needs are looked for later", cause=problem.strerror)
            return []

    async def _sweep(self, live: Live) -> list[UUID]:
        files = await in_pool(None, self._unlocked)
        unknown = list(await unnamed(files, live))
        with _locked({payload_id: files[payload_id] for payload_id in unknown[:SWEPT_AT_ONCE]}) as locked:
            # A writer may have created its file and not yet locked it when the folder was listed. While this sweep holds the
            # locks no writer gets one, so the second answer of `live` is final.
            orphans = list(await unnamed(locked, live)) if locked else []
            for payload_id in orphans:
                log.info("removing an orphaned payload", file=locked[payload_id].name)
                with own_folder(self.folder) as folder, suppress(FileNotFoundError):
                    os.unlink(locked[payload_id].name, dir_fd=folder)
        return orphans

    def _unlocked(self) -> dict[UUID, Path]:
        """Files whose writer has released them: payloads of registered operations, and uploads that were cut off.

        They are the next ones by their names. Raises OSError, also where the folder is not there: that is not the same
        as an empty one.
        """
        found: dict[UUID, Path] = {}
        with own_folder(self.folder) as folder, os.scandir(folder) as entries:
            later = (one.name for one in entries if one.name.endswith(SUFFIX) and one.name > self._swept_until)
            names = heapq.nsmallest(self._files_at_once, later)
        self._swept_until = names[-1] if len(names) == self._files_at_once else ""
        for name in names:
            path = self.folder / name
            if (descriptor := _lock(path)) >= 0:
                os.close(descriptor)
                with suppress(ValueError):
                    found[UUID(path.stem)] = path
        return found


@contextmanager
def _locked(files: Mapping[UUID, Path]) -> Iterator[dict[UUID, Path]]:
    """Those of the files that have no writer. None of them gets a writer before the block ends."""
    locks: dict[UUID, int] = {}
    try:
        for payload_id, path in files.items():
            locks[payload_id] = _lock(path)
        yield {payload_id: files[payload_id] for payload_id, descriptor in locks.items() if descriptor >= 0}
    finally:
        for descriptor in locks.values():
            if descriptor >= 0:
                os.close(descriptor)


def _lock(path: Path) -> int:
    """A descriptor that holds the lock of the file; -1 where the file is gone or its writer holds the lock."""
    try:
        with own_folder(path.parent) as folder:
            descriptor = os.open(path.name, os.O_RDONLY | SAFE, dir_fd=folder)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(descriptor)
        if problem.errno != errno.EWOULDBLOCK:
            raise
        return -1
    return descriptor


def disk_bytes(paths: Iterable[Path]) -> int:
    """What files take on their volume. A file that is gone takes nothing."""
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += os.stat(path).st_blocks * 512
    return total
