"""Addresses of callers: which of them count as one, and whom a proxy may speak for."""

import pytest

from batchseal.errors import ConfigurationError
from batchseal.settings.load import load_settings
from batchseal.system.addresses import TrustedProxies, group_of


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a name", "a name"),
    ],
)
def test_an_ipv6_line_is_one_caller(address: str, group: str) -> None:
    assert group_of(address) == group


PROXIES = "10.0.0.0/8, 192.0.2.7 2001:db8:ffff::/48"


@pytest.mark.parametrize(
    ("peer", "forwarded", "real"),
    [
        ("10.1.2.3", ["203.0.113.5"], "203.0.113.5"),
        ("192.0.2.7", ["203.0.113.5:4711"], "203.0.113.5"),
        ("2001:db8:ffff::1", ["[2001:db8:1::5]:4711"], "2001:db8:1::5"),
        ("::ffff:10.1.2.3", ["203.0.113.5"], "203.0.113.5"),
        # What stands to the left of the caller's address was sent by the caller.
        ("10.1.2.3", ["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
        ("10.1.2.3", ["198.51.100.1", "203.0.113.5, 10.9.9.9"], "203.0.113.5"),
        ("10.1.2.3", ["198.51.100.1, ::ffff:10.9.9.9"], "198.51.100.1"),
        # A proxy that says nothing, or nonsense, speaks for itself.
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["203.0.113.5, unknown"], "10.1.2.3"),
        ("10.1.2.3", ["nonsense, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", ["10.4.4.4"], "10.4.4.4"),
        # Nobody else is believed.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_real_address(peer: str, forwarded: list[str], real: str) -> None:
    assert TrustedProxies(PROXIES).real_address(peer, forwarded) == real


def test_without_a_list_nobody_is_trusted() -> None:
    assert not TrustedProxies()
    assert TrustedProxies().real_address("10.0.0.1", ["198.51.100.1"]) == "10.0.0.1"


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "proxy.example", "10.0.0.1 ,, x"])
def test_a_wrong_list_stops_the_start(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--trusted-proxies: .* is neither an address nor a network"):
        load_settings({"trusted_proxies": wrong}, {})
