"""Finds spill files that nobody writes any more."""

import fcntl
import os
from pathlib import Path
from uuid import UUID


def abandoned(folder: Path) -> dict[UUID, Path]:
    """Files whose writer has let go of them: registered operations, and uploads that were cut off. By payload."""
    found: dict[UUID, Path] = {}
    for path in folder.glob("*.spill"):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found[UUID(path.stem)] = path
        except (BlockingIOError, ValueError):
            continue
        finally:
            os.close(descriptor)
    return found
