"""Which names and addresses mean this machine. `ipaddress` would cost the supervisor memory for this one question."""

import socket

# The first bytes of ::ffff:127.0.0.0/104 (RFC 4291 2.5.5.2), and ::1.
MAPPED, ONE = bytes(10) + b"\xff\xff\x7f", bytes(15) + b"\x01"


def is_loopback(host: str) -> bool:
    """Whether `host` names the loopback interface: `localhost`, 127.0.0.0/8, ::1, or an IPv4 address of these inside IPv6."""
    text = host.strip("[]").lower()
    if text == "localhost":
        return True
    for family, loopback in ((socket.AF_INET, b"\x7f"), (socket.AF_INET6, MAPPED), (socket.AF_INET6, ONE)):
        try:
            if socket.inet_pton(family, text).startswith(loopback):
                return True
        except OSError:
            continue
    return False
