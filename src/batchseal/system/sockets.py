"""Looks at connections whose descriptors belong to other code of this process, and ends them."""

import ctypes
import fcntl
import os
import socket
import struct
import termios
from contextlib import suppress

# struct tcp_info of linux/tcp.h: the bytes received from the peer, since Linux 4.1.
BYTES_RECEIVED, BYTES_RECEIVED_AT = struct.Struct("=Q"), 128
# What FIONREAD fills in: the bytes that have arrived and that nobody has read.
UNREAD = struct.Struct("=i")
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


def open_descriptors() -> list[int]:
    """The descriptors of this process that were open a moment ago."""
    return [int(name) for name in os.listdir("/proc/self/fd")]


def copy_of_socket(descriptor: int) -> socket.socket | None:
    """A socket of our own for the connection of this descriptor, or None if it is no socket, or closed. Close it again."""
    with suppress(OSError):
        copy = os.dup(descriptor)
        try:
            return socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
    return None


def is_listening(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def port_of(one: socket.socket) -> int:
    """The port of a socket on this side, or 0 if it is of another kind, such as a Unix socket."""
    with suppress(OSError):
        name = one.getsockname()
        return int(name[1]) if isinstance(name, tuple) and len(name) >= 2 else 0
    return 0


def received_bytes(descriptor: int) -> tuple[int, int]:
    """How many bytes its owner has read from this connection since it began, and how many have arrived that it has not read.

    Zeros if the connection is closed.
    """
    try:
        # This borrows the descriptor, which belongs to the server. A connection that took its number meanwhile does no harm.
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    except OSError:
        return 0, 0
    try:
        told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED_AT + BYTES_RECEIVED.size)
        (unread,) = UNREAD.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(UNREAD.size)))
    except OSError:
        return 0, 0
    finally:
        one.detach()
    if len(told) < BYTES_RECEIVED_AT + BYTES_RECEIVED.size:
        return 0, int(unread)
    return max(0, int(BYTES_RECEIVED.unpack_from(told, BYTES_RECEIVED_AT)[0]) - int(unread)), int(unread)
