"""Ends a connection whose descriptor belongs to other code of this process."""

import ctypes
import os
import socket
from contextlib import suppress

# A sockaddr (sys/socket.h) without an address: connect(2) with it dissolves a connection.
NO_ADDRESS = socket.AF_UNSPEC.to_bytes(2, "little") + bytes(14)


def reset_connection(descriptor: int, inode: int) -> bool:
    """Resets the TCP connection of this descriptor, and drops what it has received and nobody has read.

    Does nothing if the descriptor is not that of the socket `inode` any more. The owner gets an error when it reads. Returns
    whether the connection was reset.

    A shutdown(2) would not do: the owner would first read all that has arrived, and what still arrives.
    """
    with suppress(OSError):
        copy = os.dup(descriptor)  # the number may be closed and used again at any time, this copy is not
        try:
            if os.fstat(copy).st_ino == inode:
                return bool(ctypes.CDLL(None).connect(copy, NO_ADDRESS, len(NO_ADDRESS)) == 0)
        finally:
            os.close(copy)
    return False
