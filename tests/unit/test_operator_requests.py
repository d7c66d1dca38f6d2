"""The operator's page: what it reads of a request, and what a page makes of it, without a service."""

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest
from harness.operator_visitor import values_of

from batchseal.errors import DatabaseUnavailable
from batchseal.operator.alarm_texts import shown_alarms
from batchseal.operator.application import OperatorApplication
from batchseal.operator.languages import Texts
from batchseal.operator.pages.actions import Actions, read_wish
from batchseal.operator.pages.audit import AuditPages, Result
from batchseal.operator.pages.failures import FailurePages
from batchseal.operator.rendering import Renderer
from batchseal.operator.request import Request, SignedIn
from batchseal.operator.routing import Routes
from batchseal.operator.security import CookieNames
from batchseal.store.operator import AuditLine, AuditState, Done, FailureGroup, Failures, Page
from batchseal.store.operator_alarms import of_credential


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


@pytest.mark.parametrize("port", ["", ":8443"], ids=["a proxy that tells no port", "a port"])
def test_services_on_one_host_have_cookies_of_their_own(port: str) -> None:
    asked = request()
    asked.host = f"seal.example{port}"
    names = [
        name
        for service in (uuid4(), uuid4())
        for name in (CookieNames(service).session(asked), CookieNames(service).login(asked))
    ]
    assert len(set(names)) == 4
    asked.is_secure = True
    assert CookieNames(uuid4()).session(asked).startswith("__Host-")
    assert CookieNames(uuid4()).login(asked).startswith("__Host-")


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


class FailingStore:
    """A store that cancels so many parts, and then loses its database."""

    def __init__(self, parts: int) -> None:
        self.parts = parts

    async def cancel(self, who: object, ids: tuple[int, ...]) -> list[Done]:
        if not self.parts:
            raise DatabaseUnavailable("the database is away")
        self.parts -= 1
        return [Done(one, "done", 2) for one in ids]


def cancelling(count: int) -> Request:
    """The form of an operator who cancels so many operations."""
    asked = request("/operations/act", method="POST")
    asked.session = SignedIn("ana", "operator", "account", "192.0.2.7", "token")
    asked.read_form = {"action": ["cancel"], "id": [" ".join(map(str, range(1, count + 1)))]}
    return asked


async def test_an_action_that_is_broken_off_tells_what_was_done() -> None:
    parts: Any = SimpleNamespace(store=FailingStore(2), renderer=Renderer(sandbox_signs=False))
    told = dict((await Actions(parts).act(cancelling(250))).headers)["location"]
    path, _, query = told.partition("?")
    assert path == "/operations/done"
    assert dict(parse_qsl(query)) == {
        **{"action": "cancel", "back": "/", "broken_off": "yes"},
        **{"documents": "400", "done": "200"},
    }
    shown = request(path)
    shown.query = {name: [value] for name, value in parse_qsl(query)}
    page = (await Actions(parts).done(shown)).body
    assert isinstance(page, bytes) and b"was broken off" in page and b"400 documents" in page


async def test_an_action_that_did_nothing_is_no_result() -> None:
    parts: Any = SimpleNamespace(store=FailingStore(0))
    with pytest.raises(DatabaseUnavailable):
        await Actions(parts).act(cancelling(1))


def test_only_an_operator_reads_what_the_database_lacks() -> None:
    nothing: Any = None
    application = OperatorApplication(Routes(), nothing, nothing, nothing, None, [])
    late = DatabaseUnavailable("the database did not answer within 2 s; ask for less, such as a shorter time")
    told = application.known(late, cancelling(1), "/operations")
    assert (told.status, told.cause) == (503, late.cause)
    assert application.known(late, request(), "/login").cause == "the database is not available now"


CAUSE = "signHash: 400 the key is away\r\ncall us\nor wait: 100 % + <ü>"


class FailedStore:
    """A store with one failure, whose cause quotes several lines of the signing service."""

    async def failures(self, *asked: object) -> Failures:
        now = datetime(2026, 11, 30, tzinfo=UTC)
        group = FailureGroup(3, "CERT_SERVICE_GLOBAL_ERROR", CAUSE, 1, 1, now, now, ("erp",), (7,))
        return Failures((group,), is_cut=False, back_to=None)


async def test_a_cause_of_several_lines_is_the_same_when_its_group_is_retried() -> None:
    parts: Any = SimpleNamespace(store=FailedStore(), renderer=Renderer(sandbox_signs=False))
    asked = cancelling(0)
    asked.method = "GET"
    shown = (await FailurePages(parts).show(asked)).body
    assert isinstance(shown, bytes)
    for _ in ("the list", "the question"):
        (sent,) = values_of(shown.decode(), "cause")
        assert not re.search(r"[\r\n]", sent), "browsers change the ends of lines"
        asked = cancelling(0)
        asked.read_form = {"action": ["retry"], "id": ["7"], "sign_error": ["3"], "cause": [sent]}
        assert (await read_wish(asked)).group == (3, CAUSE)
        shown = (await Actions(parts).ask(asked)).body
        assert isinstance(shown, bytes)


@pytest.mark.parametrize(("days", "said"), [(3, "ends in 3 days"), (0, "ends in 0 days"), (-1, "has ended")])
def test_a_certificate_that_has_ended_ends_in_no_days(days: int, said: str) -> None:
    line: Any = SimpleNamespace(credential_id="one", client_service="erp", state="ok", certificate_days_left=days)
    (alarm,) = shown_alarms(of_credential(line), Texts("en"))
    assert alarm.severity == "critical" and said in alarm.text and "one (erp)" in alarm.text
