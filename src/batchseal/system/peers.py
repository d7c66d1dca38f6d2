"""Who is at the other end of a Unix socket, as the kernel says (unix(7), SO_PEERCRED)."""

import os
import socket
import struct
from typing import NamedTuple

CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


class Peer(NamedTuple):
    """The process that has connected, or that listened when this end connected, and its user."""

    pid: int
    uid: int


def peer_of(descriptor: int) -> Peer:
    """The peer of a connected Unix socket. Raises OSError."""
    with socket.socket(fileno=os.dup(descriptor)) as own:
        pid, uid, _ = CREDENTIALS.unpack(own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return Peer(pid, uid)
