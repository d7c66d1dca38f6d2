"""Network addresses of callers: how they are grouped, and which of them are proxies that may speak for others."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# A provider gives each IPv6 line at least a /64 (RFC 6177), so its owner can call from any address in it.
GROUPED_BITS = 64


def parse_address(text: str) -> Address | None:
    """The address that a text stands for, or None if it is no address.

    Reads the forms of an X-Forwarded-For header: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`. An IPv4
    address that is written as IPv6 (`::ffff:192.0.2.1`, RFC 4291 2.5.5.2) becomes an IPv4 address.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=1024)
def group_of(text: str) -> str:
    """Who counts as one caller: an IPv4 address, or the /64 network of an IPv6 address. Any other text stays as it is."""
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, GROUPED_BITS), strict=False))
    return text if address is None else str(address)


class TrustedProxies:
    """The networks whose members say in X-Forwarded-For for whom they call.

    `text` lists addresses and networks (`10.0.0.0/8 192.0.2.7 2001:db8::/32`), separated by spaces or commas. Raises ValueError,
    which names the part that is wrong.
    """

    def __init__(self, text: str = "") -> None:
        self._networks: list[Network] = [parse_network(part) for part in text.replace(",", " ").split()]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, text: object) -> bool:
        address = parse_address(str(text)) if self._networks else None
        return address is not None and any(address in network for network in self._networks)

    def real_address(self, peer: str, forwarded: Iterable[str]) -> str:
        """The address of the caller for whom `peer` calls.

        `forwarded` are the values of the X-Forwarded-For headers, in their order. Each proxy appends the address that called it,
        so the list is read from its end: the first address that is not a trusted proxy is the caller. What stands before it may
        have been made up by the caller. If an entry is no address, the proxy that passed it on counts as the caller.
        """
        if peer not in self:
            return peer
        entries = [entry for value in forwarded for entry in value.split(",")]
        for entry in reversed(entries):
            address = parse_address(entry)
            if address is None:
                return peer
            peer = str(address)
            if peer not in self:
                return peer
        return peer


def parse_network(text: str) -> Network:
    """The network that a text stands for; a single address is a network of one. Raises ValueError."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is neither an address nor a network such as 10.0.0.0/8") from None
