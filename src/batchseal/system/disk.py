"""The disk: files that are complete and durable once they have their name, and room that is there before it is needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def sync(path: Path) -> None:
    """A file's content, or the names in a folder, are on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_synced(path: Path, name: Path) -> None:
    """The new name is on the disk when this returns, and so are the other names in its folder."""
    path.rename(name)
    sync(name.parent)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write the new content of `path` to. When the block ends, the content is fsynced and has the name.

    Until then, and if the block raises, `path` stays as it was. The umask applies to `mode`, as with `open`. Only one process
    at a time may replace the same path: the draft beside it has a fixed name, so that one left by a crash is not kept.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with _new_file(draft, mode) as file:
        yield file
    rename_synced(draft, path)


def write_synced(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Like `replacing`, for content that is at hand."""
    with replacing(path, mode) as file:
        file.write(content)


def create_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Makes a complete file or none, fsynced with its name. Where several processes try at once, the first one's file stays
    and the others' content is dropped: read `path` afterwards. The umask applies to `mode`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.draft")
    with _new_file(draft, mode) as file:
        file.write(content)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync(path.parent)


@contextmanager
def _new_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Fsynced when the block ends, removed if it raises."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def open_mapped(path: Path, size_bytes: int) -> int:
    """Descriptor of a file of this size or more, to be mapped. It has its room from the beginning: a write to a mapped page for
    which a full disk has none ends the process. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
