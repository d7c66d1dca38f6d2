"""The file system in memory that Linux has, for what need not be on a disk."""

import hashlib
import os
from pathlib import Path

MEMORY = Path("/dev/shm")


def is_memory(folder: Path, needed_bytes: int) -> bool:
    """Whether this folder is a file system in memory that this process can write to and that has so much room."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
        status = os.statvfs(folder)
    except OSError:
        return False
    mounted = any(line.split()[1:3] == [str(folder), "tmpfs"] for line in mounts)
    return mounted and os.access(folder, os.W_OK) and status.f_bavail * status.f_frsize >= needed_bytes


def memory_prefix(folder: Path) -> str:
    """How the names begin of what is made in memory for this folder, which must exist.

    Containers may share the memory, and each may have a folder with this path.
    """
    status = folder.stat()
    identity = b"%b\0%d\0%d" % (os.fsencode(folder), status.st_dev, status.st_ino)
    return f"batchseal-{hashlib.sha256(identity).hexdigest()[:16]}-"
