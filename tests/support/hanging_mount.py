"""A mount that hangs: a FUSE file system whose server never answers, as a network mount does whose server is gone."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MNT_DETACH = 2  # sys/mount.h
libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def hanging_mount(folder: Path) -> Iterator[None]:
    """Whoever asks for anything in the folder waits until the block ends. Raises OSError where nothing can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if libc.mount(b"hanging", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
            problem = ctypes.get_errno()
            raise OSError(problem, os.strerror(problem), str(folder))
        try:
            yield
        finally:
            libc.umount2(os.fsencode(folder), MNT_DETACH)
    finally:
        with suppress(OSError):
            os.close(device)  # whoever waits gets an error now


def can_mount(folder: Path) -> bool:
    try:
        with hanging_mount(folder):
            return True
    except OSError:
        return False
