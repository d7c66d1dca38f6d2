"""Which names and addresses mean this machine alone."""

import pytest

from batchseal.system.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.9", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"],
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "128.0.0.1",
        "127.0.0.1.example",
        "127.1",
        "::2",
        "::ffff:10.0.0.1",
        "fe80::1",
        "localhost.example",
    ],
)
def test_anything_else(host: str) -> None:
    assert not is_loopback(host)
