"""The operator's page: what it reads of a request, and what a page makes of it, without a service."""

from types import SimpleNamespace

import pytest

from batchseal.operator.pages.audit import AuditPages, Result
from batchseal.operator.rendering import Renderer
from batchseal.operator.request import Request
from batchseal.store.operator import AuditLine, AuditState, Page


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


class LongTrail:
    """A store whose audit trail has more entries than a page shows."""

    async def audit_state(self) -> AuditState:
        return AuditState(0, "", 0, (), None)

    async def audit(self, cursor: str | None) -> Page[AuditLine]:
        return Page((), "further")


async def test_behind_a_check_of_the_chain_the_trail_goes_on() -> None:
    parts = SimpleNamespace(store=LongTrail(), renderer=Renderer(sandbox_signs=False))
    shown = await AuditPages(parts).show(request("/audit/verify", method="POST"), Result(7, ()))  # type: ignore[arg-type]
    assert isinstance(shown.body, bytes) and b'href="/audit?cursor=further"' in shown.body
