"""Writes files so that they survive a crash.

A file is complete and fsynced before it gets its name, and a file that will be mapped gets its disk space when it is made.
Files are made, opened and renamed relative to their open folder, and no link is followed (`folders.py`).
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batchseal.system.folders import Folder, open_folder


def sync(path: Path) -> None:
    """Fsyncs the content of a file, or the names in a folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_synced(path: Path, name: Path) -> None:
    """Renames a file or a folder, and fsyncs the folder that holds the new name. Raises OSError."""
    path.rename(name)
    sync(name.parent)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Gives a file to write the new content of `path` to. When the block ends, the content is fsynced and renamed to `path`.

    Until then, and if the block raises, `path` stays as it was. The umask applies to `mode`, as with `open`. Only one process
    at a time may replace the same path: the draft has a fixed name beside it, so that the draft of a crashed process is
    overwritten.
    """
    with open_folder(path.parent, strict=False) as folder:
        draft = f".{path.name}.draft"
        folder.remove(draft)
        with _new_file(folder, draft, mode) as file:
            yield file
        os.rename(draft, path.name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        folder.sync()


def write_synced(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Like `replacing`, for content that is already in memory."""
    with replacing(path, mode) as file:
        file.write(content)


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a file is to hold. The umask applies to `mode`."""

    path: Path
    content: bytes
    mode: int = 0o666


def write_synced_together(files: Sequence[NewFile]) -> None:
    """Like `write_synced` for several files of one folder, which wait for the disk at the same time.

    They get their names in this order, once all of them are complete and fsynced.
    """
    with open_folder(files[0].path.parent, strict=False) as folder, ExitStack() as opened:
        drafts = []
        for file in files:
            draft = f".{file.path.name}.draft"
            folder.remove(draft)
            drafts.append(opened.enter_context(_new_file(folder, draft, file.mode, synced=False)))
            drafts[-1].write(file.content)
            drafts[-1].flush()
        with ThreadPoolExecutor(len(drafts)) as pool:
            for _ in pool.map(os.fsync, [draft.fileno() for draft in drafts]):
                pass
        for file in files:
            draft = f".{file.path.name}.draft"
            os.rename(draft, file.path.name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        folder.sync()


def create_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Makes a file unless it exists. It is complete, and fsynced with its name, or it does not exist at all.

    If several processes try at the same time, the file of the first one stays and the content of the others is dropped, so read
    `path` afterwards. The umask applies to `mode`.
    """
    with open_folder(path.parent, strict=False) as folder:
        draft = f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.draft"
        with _new_file(folder, draft, mode) as file:
            file.write(content)
        try:
            with suppress(FileExistsError):
                os.link(draft, path.name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        finally:
            folder.remove(draft)
        folder.sync()


def read_own(path: Path) -> bytes:
    """The content of a file that root or this account has made. Raises OSError, PermissionError for one of anybody else."""
    with open_folder(path.parent, strict=False) as folder, os.fdopen(folder.open(path.name, os.O_RDONLY), "rb") as file:
        return file.read()


@contextmanager
def _new_file(folder: Folder, name: str, mode: int, *, synced: bool = True) -> Iterator[BinaryIO]:
    """Gives a new file to write to. It is fsynced when the block ends, if it is to be `synced`; removed if the block raises."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder.descriptor)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if synced:
                file.flush()
                os.fsync(descriptor)
    except BaseException:
        folder.remove(name)
        raise


def open_mapped(path: Path, size_bytes: int) -> int:
    """Opens a file for mapping, makes it at least `size_bytes` long, and returns its descriptor. Raises OSError.

    The disk space is allocated now: a write to a mapped page for which a full disk has no space would kill the process (SIGBUS).
    """
    with open_folder(path.parent, strict=False) as folder:
        descriptor = folder.open(path.name, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
