"""What the configuration says of webhooks, where they may be sent, and when they are tried again."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as PublicWebhook

from batchseal.commands.check import unusable_webhooks
from batchseal.errors import ConfigurationError
from batchseal.notify.receivers import MAX_CONNECTIONS, Receivers, problem_of_status, retry_after_seconds
from batchseal.notify.schedule import MOST_SECONDS, Schedule
from batchseal.notify.sender import DEFAULT_PACE
from batchseal.notify.signing import signed_headers
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import load_settings
from batchseal.settings.webhooks import Webhook, read_key, refusal_of
from batchseal.upstream.transport import Route

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + b64encode(bytes(24)).decode()


def services(folder: Path, webhook: Any) -> ClientServices:
    path = folder / "client-services-config.json"
    path.write_text(json.dumps({"A": {"secret": "a secret of some length", "webhook": webhook}}))
    path.chmod(0o600)
    return ClientServices.load(path)


def read(folder: Path, webhook: Any) -> Webhook:
    found = services(folder, webhook).get("A")
    assert found is not None and found.webhook is not None
    return found.webhook


def test_a_webhook_is_read_and_shows_no_secret(tmp_path: Path) -> None:
    webhook = read(tmp_path, {"url": "https://ERP.example:8443/hook?k=1", "secret": SECRET, "previousSecret": OTHER})
    assert webhook.keys == (bytes(range(32)), bytes(24)) and webhook.host == "erp.example"
    assert len(webhook.events) == 3
    assert "whsec" not in repr(webhook) and str(bytes(24)) not in repr(webhook)


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ([], "webhook is not an object"),
        ({"url": "https://h/", "secret": SECRET, "Secret": SECRET}, "unknown key 'Secret'"),
        ({"url": "https://h/"}, "has no secret"),
        ({"secret": SECRET}, "webhook.url is not an address"),
        ({"url": "ftp://h/", "secret": SECRET}, "webhook.url is not an address"),
        ({"url": "https://h:port/", "secret": SECRET}, "webhook.url is not an address"),
        ({"url": "https://h/#part", "secret": SECRET}, "webhook.url is not an address"),
        ({"url": "https://user:pass@h/", "secret": SECRET}, "a user or a password"),
        ({"url": "https://h/a b", "secret": SECRET}, "webhook.url is not an address"),
        ({"url": "https://h/", "secret": "whsec_short"}, "webhook.secret is not whsec_"),
        ({"url": "https://h/", "secret": SECRET.removeprefix("whsec_")}, "webhook.secret is not whsec_"),
        ({"url": "https://h/", "secret": SECRET, "previousSecret": 7}, "webhook.previousSecret is not whsec_"),
        ({"url": "https://h/", "secret": SECRET, "events": []}, "webhook.events is not a list"),
        ({"url": "https://h/", "secret": SECRET, "events": ["operation.done"]}, "webhook.events is not a list"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said_without_its_values(tmp_path: Path, webhook: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match="client service 'A'") as found:
        services(tmp_path, webhook)
    assert said in found.value.cause
    assert "pass" not in found.value.cause.replace("a user or a password", "") and SECRET not in found.value.cause


@pytest.mark.parametrize(("length", "good"), [(0, False), (23, False), (24, True), (32, True), (64, True), (65, False)])
def test_a_secret_has_24_to_64_bytes(length: int, good: bool) -> None:
    assert (read_key("whsec_" + b64encode(bytes(length)).decode()) is not None) == good


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        ("", "https://erp.example/", False),
        ("erp.example", "https://erp.example/", True),
        ("erp.example", "https://ERP.example./", True),
        ("erp.example", "https://erp.example:8443/", True),
        ("erp.example:8443", "https://erp.example:8443/", True),
        ("erp.example:443", "https://erp.example/", True),
        ("erp.example:8443", "https://erp.example/", False),
        ("erp.example", "https://other.erp.example/", False),
        ("*.erp.example", "https://other.erp.example/", True),
        ("*.erp.example", "https://erp.example/", False),
        ("*.erp.example", "https://badserp.example/", False),
        ("a b, 10.0.0.7", "https://10.0.0.7/", True),
        ("[fd00::7]", "https://[fd00::7]/", True),
        ("[fd00::7]:8443", "https://[fd00::7]:8443/", True),
        ("[fd00::7]:8443", "https://[fd00::7]/", False),
        ("fd00::7", "https://[fd00::7]:99/", True),
        ("erp.example", "https://erp.example@evil.example/", False),
        ("erp.example", "https://evil.example/erp.example", False),
    ],
)
def test_the_allow_list(hosts: str, url: str, allowed: bool) -> None:
    assert (refusal_of(Webhook(url, ()), hosts, allow_http=False) == "") == allowed


@pytest.mark.parametrize(("host", "allowed"), [("127.0.0.1", True), ("localhost", True), ("10.0.0.7", False)])
def test_plain_http_is_for_this_machine(host: str, allowed: bool) -> None:
    webhook = Webhook(f"http://{host}:1/", ())
    assert (refusal_of(webhook, host, allow_http=False) == "") == allowed
    assert refusal_of(webhook, host, allow_http=True) == ""


def test_a_webhook_that_is_not_used_is_named(tmp_path: Path) -> None:
    known = services(tmp_path, {"url": "https://erp.example/", "secret": SECRET})
    (said,) = unusable_webhooks(known, load_settings({}, {}))
    assert said == "client service A has a webhook that is not used: --webhook-hosts does not name the host erp.example"
    assert unusable_webhooks(known, load_settings({"webhook_hosts": "erp.example"}, {})) == []


def test_the_schedule_is_that_of_the_issue() -> None:
    schedule = Schedule.read(load_settings({}, {}).webhook_retries)
    plain = Schedule(schedule.pauses_seconds, chance=lambda: 0.0)
    hour = 3600
    pauses = [plain.pause_seconds(tries, 0) for tries in range(1, 9)]
    assert pauses == [5, 300, 1800, 2 * hour, 5 * hour, 10 * hour, 10 * hour, None]
    longest = Schedule(schedule.pauses_seconds, chance=lambda: 1.0)
    assert longest.pause_seconds(1, 0) == 6
    assert schedule.pause_seconds(1, MOST_SECONDS + 1) is None


@pytest.mark.parametrize(("asked", "pause"), [(0, 5), (3, 5), (60, 60), (1e9, 3600)])
def test_a_receiver_may_ask_for_a_longer_pause_within_bounds(asked: float, pause: float) -> None:
    assert Schedule((5,), chance=lambda: 0.0).pause_seconds(1, 0, asked) == pause


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("", 0), ("7", 7), (" 7 ", 7), ("-7", 0), ("7.5", 0), ("soon", 0), ("9" * 60, 1e6)),
        *(("Mon, 30 Nov 2026 00:00:30 GMT", 30), ("Mon, 30 Nov 2026 00:00:00 GMT", 0), ("Sun, 99 Nov 2026", 0)),
    ],
)
def test_retry_after(text: str, seconds: float) -> None:
    assert retry_after_seconds(text, datetime(2026, 11, 30, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("text", ["5 x", "-5", "5,300"])
def test_retries_are_whole_numbers(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--webhook-retries"):
        load_settings({"webhook_retries": text}, {})


def test_the_public_library_knows_our_signatures() -> None:
    now = datetime.now(UTC).timestamp()
    body = '{"type":"operation.finished","data":{"externalReference":"FT 2021/5 ção"}}'.encode()
    headers = signed_headers("evt_1", body, (bytes(24), bytes(range(32))), now)
    for secret in (SECRET, OTHER):
        assert PublicWebhook(secret).verify(body, headers)["type"] == "operation.finished"


@pytest.mark.parametrize(("status", "said"), [(204, ""), (302, "a redirect"), (400, "400"), (500, "500")])
def test_statuses(status: int, said: str) -> None:
    assert said in problem_of_status(status) and bool(problem_of_status(status)) == (status != 204)


def test_no_delivery_waits_for_the_connection_of_another_one() -> None:
    assert DEFAULT_PACE.at_once <= MAX_CONNECTIONS


async def test_certificate_authorities_that_cannot_be_read_are_why_an_event_was_not_delivered(tmp_path: Path) -> None:
    route = Route(ca_bundle=str(tmp_path / "missing.pem"))
    receivers = Receivers(route, hosts="erp.example", allow_http=False, timeout_seconds=1)
    answer = await receivers.post(Webhook("https://erp.example/hook", (bytes(24),)), b"{}", {})
    assert answer.status == 0 and "--ca-bundle" in answer.problem
    await receivers.close()
