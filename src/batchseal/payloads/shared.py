"""Payloads in a folder that several instances mount, such as an NFS volume.

    FOLDER/payloads/ID.part     it is being written, by the one writer that it ever has
    FOLDER/payloads/ID.payload  it is whole: written, fsynced, renamed, and the folder fsynced
    FOLDER/aside/ID             it has no row, since this was made (`orphans`)
    FOLDER/database.json        whose payloads these are; without it the volume is not mounted (`marker.py`)

There are no locks, no holes and no segments: all that is asked of the volume is that a rename is one step, and that others can
read what was fsynced. A volume that does not answer keeps a thread waiting and not the event loop.
"""

import errno
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from batchseal.errors import PayloadDamaged, PayloadsOfAnother, PayloadUnavailable
from batchseal.payloads.interface import Live, PayloadRecord, require_plain
from batchseal.payloads.local import RESERVED_BYTES, disk_bytes
from batchseal.payloads.marker import LOOK_SECONDS, MARKER, require_marker
from batchseal.payloads.reader import FileReader, available
from batchseal.payloads.shared_upload import PART, WHOLE, SharedUpload
from batchseal.payloads.watch import Watch, WatchPace
from batchseal.payloads.writing import BeingWritten
from batchseal.system.disk import sync, write_synced
from batchseal.system.folders import own_folder

PAYLOADS, ASIDE, CLOCK = "payloads", "aside", "clock"
# How much is free is asked for often, since others write to the same volume.
PACE = WatchPace(quiet_seconds=1.0)
# How long is waited for that once. A volume that hangs would otherwise keep the process for as long as it hangs.
FIRST_SECONDS = 2.0


class SharedPayloads:
    """A `Payloads` store."""

    name = "shared"
    is_local = False
    takes_parts = False
    delete_makes_room = True
    upload_bytes = 0

    def __init__(self, folder: Path, pace: WatchPace = PACE) -> None:
        self.folder = folder
        self.watch = Watch(self._measure, pace)
        self._free_bytes: int | None = None
        self._written = BeingWritten()
        self.place = FolderPlace(folder, self._written.ids)
        self._next_look = 0.0  # when who writes looks at the marker again; monotonic

    def path(self, payload_id: UUID) -> Path:
        return self.folder / PAYLOADS / f"{payload_id}{WHOLE}"

    @property
    def is_away(self) -> bool:
        return self.watch.is_away

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> SharedUpload:
        return SharedUpload(self.folder / PAYLOADS, payload_id, self._written, self._need_marker_lately)

    def open(self, record: PayloadRecord) -> FileReader:
        require_plain(record)
        with self._asking():
            try:
                return FileReader(self.path(record.id), record.id)
            except PayloadDamaged:
                self._need_marker()
                raise

    def reader_bytes(self, record: PayloadRecord) -> int:
        return 0

    def make_durable(self, record: PayloadRecord) -> None:
        """It is durable since its commit. Raises PayloadUnavailable where the volume is away."""
        with self._asking():
            self._need_marker()

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        with self._asking():
            return _remove([self.path(record.id) for record in records])

    def make_room(self, needed_bytes: int) -> int:
        """Nothing is kept here that could be had elsewhere."""
        return 0

    def stored_bytes(self) -> int:
        """By all instances."""
        with self._asking(), available("the stored payloads cannot be counted"):
            self._need_marker()
            return disk_bytes(path for path in _files(self.folder / PAYLOADS) if path.suffix == WHOLE)

    def free_bytes(self) -> int:
        """As it was a moment ago. Raises PayloadUnavailable while the volume is away."""
        self.watch.need()
        if self._free_bytes is None:  # the first time, which is in the event loop of a worker
            self.watch.need_answer(FIRST_SECONDS)
        assert self._free_bytes is not None
        return self._free_bytes

    def _measure(self) -> None:
        """Raises PayloadUnavailable."""
        self._need_marker()
        with available("the folder of the stored payloads cannot be looked at"):
            volume = os.statvfs(self.folder)
        self._free_bytes = volume.f_bavail * volume.f_frsize - RESERVED_BYTES

    def _need_marker(self) -> None:
        """A volume that is not mounted leaves an empty folder, and another one may be mounted. Raises PayloadUnavailable."""
        require_marker(self.place.read(MARKER), self.place.database)
        self._next_look = time.monotonic() + LOOK_SECONDS

    def _need_marker_lately(self) -> None:
        """The same for who writes, without a look for each payload."""
        if time.monotonic() >= self._next_look:
            with self._asking():
                self._need_marker()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.watch.let_through()
        try:
            yield
        except PayloadsOfAnother as problem:
            self.watch.belongs_to_another(problem.cause)
            raise
        except PayloadUnavailable as problem:
            self.watch.failed(problem.cause)
            raise
        except PayloadDamaged:
            self.watch.answered()
            raise
        self.watch.answered()

    async def sweep(self, live: Live) -> list[UUID]:
        """There is nothing of this instance alone. All instances are swept for by one of them (`orphans`)."""
        return []


class FolderPlace:
    """A `Place` (`orphans`): the folder as a sweep sees it."""

    def __init__(self, folder: Path, written_here: Callable[[], set[UUID]]) -> None:
        self._folder = folder
        self.written_here = written_here
        self.database: UUID | None = None  # whose payloads these must be; None where nobody has said it

    def keep_to(self, database: UUID) -> None:
        self.database = database

    def prepare(self) -> None:
        with available("the folder of the payloads cannot be written"):
            for name in (PAYLOADS, ASIDE):
                (self._folder / name).mkdir(mode=0o700, exist_ok=True)
            sync(self._folder)

    def now(self) -> datetime:
        with available("the folder of the payloads cannot be written"):
            path = self._folder / CLOCK
            path.write_bytes(b"")
            return _changed_at(path)

    def payloads(self) -> dict[UUID, datetime]:
        return self._listed(PAYLOADS, WHOLE)

    def marks(self) -> dict[UUID, datetime]:
        return self._listed(ASIDE, "")

    def _listed(self, name: str, suffix: str) -> dict[UUID, datetime]:
        found = dict[UUID, datetime]()
        with available("the stored payloads cannot be listed"):
            for path in _files(self._folder / name):
                with suppress(ValueError, FileNotFoundError):
                    if path.suffix == suffix:
                        found[UUID(path.stem)] = _changed_at(path)
        return found

    def mark(self, ids: Collection[UUID]) -> None:
        with available("a payload cannot be marked"):
            for payload_id in ids:
                (self._folder / ASIDE / str(payload_id)).touch(0o600)

    def unmark(self, ids: Collection[UUID]) -> None:
        _remove([self._folder / ASIDE / str(payload_id) for payload_id in ids])

    def remove(self, ids: Collection[UUID]) -> None:
        _remove([self._folder / PAYLOADS / f"{payload_id}{WHOLE}" for payload_id in ids])
        self.unmark(ids)

    def remove_unfinished(self, before: datetime) -> list[UUID]:
        """Files of uploads that nobody can have written to since then: each write changes the time of its file."""
        written = self.written_here()
        old = [one for one, at in self._listed(PAYLOADS, PART).items() if at <= before and one not in written]
        _remove([self._folder / PAYLOADS / f"{payload_id}{PART}" for payload_id in old])
        return old

    def read(self, name: str) -> bytes | None:
        with available("the folder of the payloads cannot be read"):
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                if not self._folder.is_dir():
                    raise
                return None

    def write(self, name: str, content: bytes) -> None:
        with available("the folder of the payloads cannot be written"):
            write_synced(self._folder / name, content, 0o600)


def _files(folder: Path) -> list[Path]:
    """Raises OSError, also where the folder is not there: that is not the same as an empty one."""
    with own_folder(folder) as descriptor:
        return [folder / name for name in os.listdir(descriptor)]


def _changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(os.stat(path).st_mtime, UTC)


def _remove(paths: Iterable[Path]) -> int:
    """Returns the bytes that are free now. A file that is gone is no error. Raises PayloadUnavailable."""
    freed = 0
    with available("a stored payload cannot be deleted"):
        for path in paths:
            with own_folder(path.parent) as folder:
                freed += disk_bytes([path])
                try:
                    os.unlink(path.name, dir_fd=folder)
                except OSError as problem:
                    if problem.errno not in (errno.ENOENT, errno.ESTALE):
                        raise
    return freed
