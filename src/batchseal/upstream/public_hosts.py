"""Keeps requests away from private addresses, where a certificate has chosen the host.

Whoever makes a certificate chooses the addresses in it. Without this, one could make the service send requests to machines of the
network that it stands in. A name is judged by the addresses that it has when the connection is made, not before.
"""

import socket
from collections.abc import Collection
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from batchseal.errors import MaterialUnavailable

# The last four bytes of these are an IPv4 address: RFC 6052 2.1 (NAT64), RFC 4291 2.5.5.1 (IPv4-compatible addresses).
HOLD_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet. One that stands for an IPv4 address is judged as that."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.is_site_local:  # RFC 3879: routers may still take them for addresses of the site
            return False
        holds = any(ip in network for network in HOLD_IPV4)
        inner = ip_address(int(ip) & 0xFFFFFFFF) if holds else (ip.ipv4_mapped or ip.sixtofour)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


def refuse_private(address: str, named: Collection[str]) -> None:
    """Raises MaterialUnavailable if the host of an HTTP address is a private IP address that is not in `named`.

    A host name passes: `PublicResolver` judges it.
    """
    host = urlsplit(address).hostname or ""
    try:
        public = host in named or is_public(host)
    except ValueError:
        return
    if not public:
        raise MaterialUnavailable(not_named(host))


def not_named(host: str) -> str:
    return f"{host} is a private address, which --revocation-private-hosts does not name"


class PublicResolver(AbstractResolver):
    """Finds the addresses of a host name, and leaves out private ones unless the name is in `named`."""

    def __init__(self, named: Collection[str]) -> None:
        self._named = named
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if host in self._named:
            return found
        if public := [one for one in found if is_public(one["host"])]:
            return public
        raise OSError(None, not_named(host))

    async def close(self) -> None:
        await self._resolver.close()
