"""An instance is known by its temp folder: the folder's lock says whether it runs, and a file in the folder says who it is.

Whether the folder may be used at all is judged in `places.py`.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

from batchseal.errors import ConfigurationError
from batchseal.system.disk import read_own, write_synced
from batchseal.system.folders import open_folder

LOCK_NAME = "lock"


def open_lock(temp_folder: Path) -> int:
    """Opens the lock file of the folder, which is made if it is missing. Returns its descriptor. Raises OSError."""
    with open_folder(temp_folder, strict=False) as folder:
        return folder.open(LOCK_NAME, os.O_RDWR | os.O_CREAT)


def take_lock(descriptor: int, temp_folder: Path) -> None:
    """Takes the folder's lock for as long as the descriptor stays open. Raises ConfigurationError if another service has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"--temp-folder {temp_folder}: another service works in this folder") from None


def in_use(temp_folder: Path) -> bool:
    """Whether a running service holds the folder's lock."""
    try:
        with open_folder(temp_folder, strict=False) as folder:
            lock = folder.open(LOCK_NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def instance_identity(temp_folder: Path) -> UUID:
    """The identity of this instance: a UUID that is kept in the temp folder, and made there if it is missing.

    An address could not serve as the identity: it may change, and several instances may share one.
    """
    path = temp_folder / "instance-id"
    with suppress(OSError, ValueError):
        return UUID(read_own(path).decode("ascii").strip())
    identity = uuid4()
    write_synced(path, f"{identity}\n".encode("ascii"))
    return identity
