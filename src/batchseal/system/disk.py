"""The disk: what is on it for good, and room that is there before it is needed."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """A file's content, or the names in a folder, are on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def rename_synced(path: Path, name: Path) -> None:
    """The new name is on the disk when this returns, and so are the other names in its folder."""
    path.rename(name)
    sync(name.parent)
