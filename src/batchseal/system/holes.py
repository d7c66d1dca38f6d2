"""Gives the space of a part of a file back to the disk."""

import ctypes
import errno
import os
from collections.abc import Callable

# Flags of fallocate(2).
KEEP_SIZE, PUNCH_HOLE = 1, 2
ZEROS = bytes(64 << 10)
# What a file system says that cannot do it: then zeros are written instead, and the space comes back with the end of the file.
CANNOT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def punch(descriptor: int, start: int, length: int, fallocate: Callable[..., int] | None = None) -> None:
    """This part of the file reads as zeros afterwards. The file keeps its length. Raises OSError.

    `fallocate` is that of the C library, unless another one is given. It sets `ctypes.set_errno`.
    """
    call = fallocate or getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if call is None:
        return write_zeros(descriptor, start, length)
    offset, count = ctypes.c_int64(start), ctypes.c_int64(length)
    while call(descriptor, PUNCH_HOLE | KEEP_SIZE, offset, count) != 0:
        number = ctypes.get_errno()
        if number in CANNOT:
            return write_zeros(descriptor, start, length)
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return None


def write_zeros(descriptor: int, start: int, length: int) -> None:
    """Writes zeros, which the disk has space for afterwards. Raises OSError."""
    stop = start + length
    while start < stop:
        start += os.pwritev(descriptor, [memoryview(ZEROS)[: stop - start]] * _pieces(stop - start), start)


def _pieces(length: int) -> int:
    """How many buffers are written in one call: never more than `length`, nor than the system takes."""
    return max(1, min(1024, length // len(ZEROS)))
