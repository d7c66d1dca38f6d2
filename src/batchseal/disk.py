"""What is on the disk for good: of a file its content, of a folder its names."""

import os
from pathlib import Path


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
