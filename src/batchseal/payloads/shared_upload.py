"""Writes a payload into a folder that several instances mount: under a temporary name, and under its own once it is whole."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from batchseal.payloads.interface import STORES_LARGE_AS_IT_IS, PayloadRecord
from batchseal.payloads.writer import FileUpload
from batchseal.payloads.writing import BeingWritten
from batchseal.system.crash_sites import crash_site
from batchseal.system.folders import own_folder

WHOLE, PART = ".payload", ".part"


class SharedUpload(FileUpload):
    """An `Upload`. It takes no lock, since locks of a network file system may be lost, or may never have been there.

    Nobody else writes to either name: the UUID was made for this upload. The commit is durable in any case.
    """

    def __init__(self, folder: Path, payload_id: UUID, written: BeingWritten, need_marker: Callable[[], None]) -> None:
        """`need_marker` raises PayloadUnavailable where the folder is not the one that it should be."""
        super().__init__(folder / f"{payload_id}{PART}", payload_id)
        self._whole = f"{payload_id}{WHOLE}"
        self._written = written
        self._need_marker = need_marker
        self._is_renamed = False

    def begin(self) -> None:
        """Raises NoSpace, PayloadUnavailable."""
        self._need_marker()
        try:
            with own_folder(self.path.parent) as folder:
                if _exists(self._whole, folder):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                self._descriptor = os.open(self.path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        except OSError as problem:
            raise self._no_space("the folder of the payloads takes no file", problem) from None
        self._is_created = True
        self._written.begins(self.payload_id)
        crash_site("payload-created")

    def publish(self) -> None:
        """The payload gets its name with the commit."""

    def commit(self, *, durable: bool) -> PayloadRecord:
        """Raises NoSpace."""
        self._sync(os.fsync)
        try:
            with own_folder(self.path.parent) as folder:
                os.rename(self.path.name, self._whole, src_dir_fd=folder, dst_dir_fd=folder)
                self._is_renamed = True
                os.fsync(folder)
        except OSError as problem:
            raise self._no_space("the folder of the payloads cannot be synced", problem) from None
        self._is_committed = True
        crash_site("payload-committed")
        return PayloadRecord(id=self.payload_id, stored_bytes=self.stored_bytes, version=STORES_LARGE_AS_IT_IS)

    def release(self) -> None:
        super().release()
        self._written.ended(self.payload_id)

    def abandon(self) -> None:
        super().abandon()
        if self._is_renamed:
            with suppress(OSError), own_folder(self.path.parent) as folder:
                os.unlink(self._whole, dir_fd=folder)
        self._written.ended(self.payload_id)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
