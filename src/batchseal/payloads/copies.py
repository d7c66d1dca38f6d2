"""What an instance keeps on its own disk of payloads that it has put into a store elsewhere.

    ID.spill   it is being written, or is not yet in the store: the only one that there is
    ID.copy    it is in the store: kept for reading, until it is purged or its room is needed

Nothing here is fsynced, so a file may hold anything after the machine went down. The folder is therefore one of this boot, and
those of earlier boots are removed.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.frame_reader import FrameReader
from batchseal.payloads.frames import FrameHeader, FrameKind
from batchseal.payloads.interface import CheckedFrame, Live, PayloadRecord, unnamed
from batchseal.payloads.local import LocalPayloads, disk_bytes
from batchseal.payloads.reader import FileReader, available
from batchseal.payloads.writer import FileUpload
from batchseal.system.folders import own_folder
from batchseal.system.futures import in_pool

SUFFIX = ".copy"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger("payloads")


class CopyReader(FileReader):
    """Reads a copy. A frame that is not what was written is read from the store, and the copy goes: it was never fsynced."""

    def __init__(self, copies: "LocalCopies", record: PayloadRecord, in_store: Callable[[], FrameReader]) -> None:
        """Raises PayloadDamaged, PayloadUnavailable."""
        self._copies = copies
        self._in_store = in_store
        self._other: FrameReader | None = None
        super().__init__(copies.path(record.id), record.id)

    def close(self) -> None:
        super().close()
        if self._other is not None:
            self._other.close()

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        with suppress(PayloadDamaged, PayloadUnavailable):
            return super().checked(kind, ordinal)
        return self._from_store().checked(kind, ordinal)

    def _is_whole(self, offset: int, header: FrameHeader) -> bool:
        with suppress(PayloadUnavailable):
            if super()._is_whole(offset, header):
                return True
        return self._from_store()._is_whole(offset, header)

    def _stored(self, offset: int, header: FrameHeader) -> bytes | None:
        with suppress(PayloadUnavailable):
            if (stored := super()._stored(offset, header)) is not None:
                return stored
        return self._from_store()._stored(offset, header)

    def _from_store(self) -> FrameReader:
        """The payload in the store. A frame stands there where it stands in the copy."""
        if self._other is None:
            self._copies.drop(self.payload_id)
            self._other = self._in_store()
        return self._other


class LocalCopies:
    """Any thread may use it. `folder` belongs to one instance alone, and is there."""

    def __init__(self, folder: Path, boot_id: str | None = None) -> None:
        self._above = folder
        self.folder = folder / f"boot-{boot_id or BOOT_ID.read_text('ascii').strip()}"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._unsettled = LocalPayloads(self.folder)

    def path(self, payload_id: UUID) -> Path:
        """The file of a payload that is in the store."""
        return self.folder / f"{payload_id}{SUFFIX}"

    def create(self, payload_id: UUID) -> FileUpload:
        return self._unsettled.create(payload_id)

    def has(self, payload_id: UUID) -> bool:
        """Whether there is a copy of a payload that is in the store."""
        return self.path(payload_id).exists()

    def unsettled(self, payload_id: UUID) -> Path | None:
        """The file of a payload that is perhaps not in the store; None where there is none."""
        path = self._unsettled.path(payload_id)
        return path if path.exists() else None

    def settle(self, payload_id: UUID) -> None:
        """The payload is in the store from now on."""
        with suppress(OSError), own_folder(self.folder) as folder:
            name, copy = self._unsettled.path(payload_id).name, self.path(payload_id).name
            os.rename(name, copy, src_dir_fd=folder, dst_dir_fd=folder)

    def open(self, record: PayloadRecord, in_store: Callable[[], FrameReader]) -> FileReader | None:
        """None where there is no file here, or it cannot be used: the store has what counts, which `in_store` reads."""
        with suppress(PayloadDamaged, PayloadUnavailable):
            reader = CopyReader(self, record, in_store)
            if reader.found_bytes == record.index_offset:
                return reader
            reader.close()
            self.drop(record.id)
        with suppress(PayloadDamaged, PayloadUnavailable):
            return FileReader(self._unsettled.path(record.id), record.id)
        return None

    def drop(self, payload_id: UUID) -> None:
        """Removes a copy that is not what was written."""
        log.warning("a copy of a payload is damaged and is removed; the store has the payload", payload=str(payload_id))
        with suppress(PayloadUnavailable):
            self._remove([self.path(payload_id)])

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        """Returns the bytes that are free now. Raises PayloadUnavailable."""
        given = list(records)
        freed = self._unsettled.delete(given)
        return freed + self._remove([self.path(record.id) for record in given])

    def make_room(self, needed_bytes: int) -> int:
        """Removes copies, the oldest first, until so much is free. Returns how much is. Raises PayloadUnavailable."""
        freed = 0
        for path in self._copies():
            if freed >= needed_bytes:
                break
            freed += self._remove([path])
        if freed:
            log.info("copies of payloads removed", why="room is needed", freed_bytes=freed)
        return freed

    def stored_bytes(self) -> int:
        with available("the copies of payloads cannot be counted"):
            return self._unsettled.stored_bytes() + disk_bytes(self._copies())

    def free_bytes(self) -> int:
        return self._unsettled.free_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        """Removes what no row names, and all of earlier boots."""
        swept = await self._unsettled.sweep(live)
        try:
            copies = await in_pool(None, self._copies)
        except PayloadUnavailable as problem:
            log.warning("copies that nobody needs are looked for later", cause=problem.cause)
            return swept
        orphans = await unnamed((found for path in copies if (found := _id(path)) is not None), live)
        unknown = [path for path in copies if (found := _id(path)) is None or found in orphans]
        with suppress(PayloadUnavailable):
            await in_pool(None, lambda: self._remove(unknown))
        await in_pool(None, self._remove_earlier_boots)
        return swept

    def _copies(self) -> list[Path]:
        """The oldest first. Raises PayloadUnavailable."""
        found = list[tuple[int, Path]]()
        with available("the copies of payloads cannot be listed"), own_folder(self.folder) as folder:
            for name in os.listdir(folder):
                if name.endswith(SUFFIX):
                    with suppress(FileNotFoundError):
                        found.append((os.stat(name, dir_fd=folder).st_mtime_ns, self.folder / name))
        return [path for _, path in sorted(found)]

    def _remove(self, paths: Iterable[Path]) -> int:
        freed = 0
        with available("a copy of a payload cannot be removed"), own_folder(self.folder) as folder:
            for path in paths:
                freed += disk_bytes([path])
                with suppress(FileNotFoundError):
                    os.unlink(path.name, dir_fd=folder)
        return freed

    def _remove_earlier_boots(self) -> None:
        for path in self._above.glob("boot-*"):
            if path != self.folder:
                shutil.rmtree(path, ignore_errors=True)


def _id(path: Path) -> UUID | None:
    with suppress(ValueError):
        return UUID(path.stem)
    return None
