"""What the page shows and does beside operations: what a restore holds, the events of webhooks, and who signed in from where."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from harness.invoices import invoice
from harness.operator_visitor import Visitor, values_of
from harness.waiting import until
from harness.webhook_receiver import FAIL, SECRET, TAKE, WebhookReceiver
from tests.support.operator_page import OperatorService, add_accounts, operator_service
from tests.support.operator_rows import add_webhook, hold, send
from tests.support.service import batch, credentials, finished

FLAGS = ("--webhook-hosts=127.0.0.1", "--webhook-allow-http=true", "--webhook-retries=0")


@dataclass(frozen=True)
class Window:
    """A service whose client service has a webhook, and somebody of each role who is signed in."""

    page: OperatorService
    receiver: WebhookReceiver
    operator: Visitor
    auditor: Visitor
    viewer: Visitor

    def trail(self) -> str:
        """The newest entries of the audit trail, as text."""
        return re.sub(r"<[^>]+>", " ", self.auditor.get("/audit").text)


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    with (
        WebhookReceiver() as receiver,  # it fails where a test says so: a receiver that fails often is asked ever less often
        operator_service("--operator-totp=none", *FLAGS) as page,
    ):
        add_accounts(page, "viewer", "operator", "auditor")
        add_webhook(page, receiver.url, SECRET)
        yield Window(page, receiver, *(page.signed_in(role) for role in ("operator", "auditor", "viewer")))


# --- signing in -------------------------------------------------------------------------------------------------------


def test_who_signs_in_or_out_or_fails_is_in_the_audit_trail(window: Window) -> None:
    somebody = window.page.visitor()
    assert somebody.sign_in("operator", "a wrong password").status == 403
    assert somebody.sign_in("my secret passphrase").status == 403
    assert somebody.sign_in("operator").status == 303
    somebody.get("/")
    assert somebody.post("/logout").status == 303
    said = window.trail()
    for what in (
        r"signed in \(account, role operator\)\s+.*operator \(127\.0\.0\.1\)",
        r"signed out\s+.*operator \(127\.0\.0\.1\)",
        r"failed to sign in: the password or the code was wrong\s+.*operator \(127\.0\.0\.1\)",
        r"failed to sign in: no account has the name that was given\s+.*unknown \(127\.0\.0\.1\)",
    ):
        assert re.search(what, said), what
    assert "my secret passphrase" not in said


def test_a_lock_out_is_in_the_audit_trail_once(window: Window) -> None:
    somebody = window.page.visitor()
    for _ in range(6):
        somebody.sign_in("viewer", "a wrong password")
    assert somebody.sign_in("viewer", "a wrong password").status == 429
    said = window.trail()
    assert said.count("locked out for a time after too many failed attempts") == 1
    assert re.search(r"locked out for a time after too many failed attempts from this address\s+.*viewer \(127", said)


def test_accounts_are_listed_and_refused_twice(window: Window) -> None:
    listed = window.page.command("list").stdout
    assert re.search(r"^operator  operator  password only  signed in ", listed, re.MULTILINE)
    assert window.page.command("add", "operator", "--role", "viewer").returncode == 1
    assert window.page.command("add", "weak", "--role", "viewer", password="short").returncode == 2
    assert window.page.command("remove", "nobody").returncode == 1


# --- what is held after a restore -------------------------------------------------------------------------------------


def test_what_is_held_is_shown_with_the_reason_and_is_resumed_after_a_question(window: Window) -> None:
    page, operator = window.page, window.operator
    send(page, batch("held", [invoice(1, size_bytes=3_000), b"no PDF"]))
    number = hold(page, "held")
    overview = operator.get("/").text
    assert "1 operations with 1 open documents wait for a decision" in overview
    assert "What was signed between the backup and the restore cannot be known" in overview
    listed = operator.get("/operations?held=yes").text
    assert re.findall(r'href="/operations/(\d+)"', listed) == [str(number)] and "Resume …" in listed
    assert "Resume …" not in window.viewer.get("/operations?held=yes").text
    assert "Held since the restore" in window.viewer.get(f"/operations/{number}").text
    wish = {"action": "resume", "id": str(number)}
    window.viewer.get("/")
    assert window.viewer.post("/operations/act", wish).status == 403
    asked = operator.post("/operations/confirm", wish)
    assert "Have these operations signed?" in asked.text and "second signature" in asked.text
    assert values_of(asked.text, "action") == ["resume"]
    done = operator.post("/operations/act", wish)
    assert "done=1" in done.headers["location"]
    assert "not_held=1" in operator.post("/operations/act", wish).headers["location"]
    finished(page.service, "held")
    assert "held after a restore" not in operator.get("/").text
    assert re.search(r"resumed by an operator.*it was held after a restore", window.trail(), re.DOTALL)


def test_everything_that_is_held_is_cancelled_at_once(window: Window) -> None:
    page, operator = window.page, window.operator
    numbers = []
    for reference in ("held-1", "held-2"):
        send(page, batch(reference, [invoice(1, size_bytes=3_000), b"no PDF"]))
        numbers.append(hold(page, reference))
    fields = {"action": "cancel", "scope": "filter", "held": "yes"}
    operator.get("/operations?held=yes")
    asked = operator.post("/operations/confirm", fields)
    assert "2 operations with 4 documents" in asked.text and "Held after a restore" in asked.text
    assert "done=2" in operator.post("/operations/act", fields).headers["location"]
    for number in numbers:
        assert "cancelled by an operator" in operator.get(f"/operations/{number}").text
    assert "No operation fits the filter" in operator.get("/operations?held=yes").text


# --- webhooks ---------------------------------------------------------------------------------------------------------


def given_up(window: Window, count: int) -> list[str]:
    """The ids of events that were given up, once there are so many, the newest first."""
    found: list[str] = []

    def there_are() -> bool:
        waiting = values_of(window.operator.get("/webhooks?state=waiting").text, "id")
        found[:] = values_of(window.operator.get("/webhooks?state=given-up").text, "id")
        return not waiting and len(found) >= count

    until(there_are)
    return found


def named(number: str) -> str:
    """The id by which the receiver knows an event."""
    return f"evt_{number.replace('-', '')}"


def test_one_event_is_sent_again_and_then_all_of_a_client_service(window: Window) -> None:
    service = credentials(window.page.service)[0]
    window.receiver.behave = lambda number: FAIL
    for number in range(3):
        send(window.page, batch(f"told-{number}", [invoice(1, size_bytes=3_000)]))
    ids = given_up(window, 3)
    shown = window.viewer.get("/webhooks").text
    assert "it answered 500" in shown or "500" in shown
    assert "told-2" in shown and "operation.finished" in shown and service in shown
    assert "Send again" not in shown, "a viewer can do nothing here"
    assert "key=hidden" not in shown and "whsec" not in shown, "the address and the secret are shown to nobody"
    window.receiver.behave = lambda number: TAKE
    sent = window.operator.post("/webhooks/redeliver", {"id": ids[0], "filter_state": "given-up"})
    assert sent.headers["location"] == "/webhooks?state=given-up&sent=1"
    assert "1 events are sent again" in window.operator.get(sent.headers["location"]).text
    until(lambda: named(ids[0]) in window.receiver.taken)
    asked = window.operator.post("/webhooks/confirm", {"service": service})
    assert "that were given up" in asked.text and service in asked.text
    sent = window.operator.post("/webhooks/redeliver", {"scope": "given-up", "service": service})
    assert int(sent.headers["location"].rpartition("=")[2]) == len(ids) - 1
    until(lambda: set(map(named, ids)) <= window.receiver.taken.keys())
    said = window.trail()
    assert f"had webhook events of {service} sent again: {{{ids[0]}}}" in said
    assert f"had webhook events of {service} sent again: {len(ids) - 1} that were given up" in said


def test_what_cannot_be_sent_again_is_said(window: Window) -> None:
    unknown = window.operator.post("/webhooks/redeliver", {"id": "00000000-0000-0000-0000-000000000001"})
    assert "Nothing was sent again" in window.operator.get(unknown.headers["location"]).text
    assert window.operator.post("/webhooks/redeliver", {"id": "x"}).status == 400
    assert window.operator.post("/webhooks/redeliver", {"scope": "given-up"}).status == 400
    assert window.operator.post("/webhooks/confirm", {"service": "nobody"}).status == 400
    assert window.operator.get("/webhooks?state=sent").status == 400
    window.auditor.get("/")
    assert window.auditor.post("/webhooks/redeliver", {"scope": "given-up", "service": "x"}).status == 403
