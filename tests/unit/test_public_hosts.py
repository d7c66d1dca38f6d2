"""Which addresses are those of the public internet."""

import socket

import pytest

from batchseal.errors import MaterialUnavailable
from batchseal.upstream.public_hosts import PublicResolver, is_public, refuse_private

PUBLIC = ["8.8.8.8", "::8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
]
PRIVATE += ["::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::"]
PRIVATE += ["::127.0.0.1", "::10.0.0.1", "fec0::1", "feff::1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address):
    assert not is_public(address)


def test_a_named_host_is_not_refused():
    refuse_private("http://10.0.0.1:8080/ocsp", {"10.0.0.1"})
    refuse_private("http://some.example/ocsp", ())
    with pytest.raises(MaterialUnavailable, match=r"10\.0\.0\.1 is a private address"):
        refuse_private("http://10.0.0.1:8080/ocsp", {"10.0.0.2"})


async def test_a_name_with_a_private_address_is_refused_unless_it_is_named():
    with pytest.raises(OSError, match="localhost is a private address"):
        await PublicResolver(()).resolve("localhost", 80, socket.AF_INET)
    assert await PublicResolver({"localhost"}).resolve("localhost", 80, socket.AF_INET)
