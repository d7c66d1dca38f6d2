"""The operator's page: what it reads of a request, and what a page makes of it, without a service."""

from types import SimpleNamespace

import pytest

from batchseal.operator.request import Request


def request(path: str = "/", *, method: str = "GET", headers: dict[bytes, bytes] | None = None) -> Request:
    """A request of somebody who is not signed in."""
    exchange = SimpleNamespace(scope={"query_string": b""}, peer="192.0.2.7")
    return Request(method, path, {}, headers or {}, exchange, "192.0.2.7", "localhost", is_secure=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other", ['prefs={"dark": true}', '{"a": 1}=b', "path=/", "a@b=1", "a[b]=ö", "flag", "=x", '"']
)
def test_a_cookie_is_found_beside_those_of_other_services(other: str) -> None:
    asked = request(headers={b"cookie": f"{other}; batchseal-8090=token; z=1".encode("latin-1")})
    assert (asked.cookie("batchseal-8090"), asked.cookie("batchseal")) == ("token", "")
