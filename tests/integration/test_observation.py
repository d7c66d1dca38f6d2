"""What an operator sees of a real service: metrics, health, and the log with its events."""

import base64
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from harness.service import RunningService, free_port
from prometheus_client.parser import text_string_to_metric_families
from tests.support.service import (
    ASYNC,
    BASE,
    FAST,
    SYNC,
    authorization,
    batch,
    connect,
    credentials,
    documents,
    finished,
    get,
    head,
    post,
    reply,
    until,
)

from batchseal.system.telemetry.declared import DECLARED, Kind
from batchseal.system.telemetry.exposition import metric_of

CHART = Path(__file__).parents[2] / "chart" / "files"
# Metrics of what not every service has: webhooks, hot folders, and credentials that need a person.
FOR_SOME = ("batchseal_webhooks", "batchseal_hotfolder", "batchseal_grants", "batchseal_grant_left")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Observed:
    """A service with its management listener."""

    def __init__(self, service: RunningService, port: int) -> None:
        self.service = service
        self.port = port

    def ask(self, path: str, method: str = "GET") -> tuple[int, str, bytes]:
        """Status, media type and body of an answer of the management listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path)
            reply = connection.getresponse()
            return reply.status, reply.getheader("content-type", ""), reply.read()
        finally:
            connection.close()

    def metrics(self) -> str:
        return self.ask("/metrics")[2].decode()

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log so far, those of PostgreSQL and of the sandbox left out."""
        lines = self.service.log.read_text().rpartition("\n")[0].splitlines()  # the last line may still be written
        return [json.loads(line) for line in lines if line.startswith('{"')]

    def said(self, **fields: Any) -> list[dict[str, Any]]:
        return [line for line in self.lines() if fields.items() <= line.items()]


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    port = free_port()
    flags = [
        "--log-format=ecs",
        "--log-masked",
        f"--management-port={port}",
        "--trusted-proxies=127.0.0.1",
        "--workers=2",
    ]
    flags += ["--signature-level=T", "--sandbox"]
    with RunningService(*FAST, *flags) as service:
        assert post(service, batch("the first", documents(2)), SYNC)[0] == 200
        yield Observed(service, port)


def test_every_metric_of_the_dashboard_and_the_alert_rules_is_there(observed):
    named = set()
    for name in ("dashboard.json", "alerts.yaml"):
        named |= {metric_of(name) for name in re.findall(r"batchseal_[a-z0-9_]+", (CHART / name).read_text())}
    named &= DECLARED.keys()
    assert len(named) > 35
    # What every service has in good times has samples before long.
    rare = {
        *("batchseal_store_errors_total", "batchseal_timestamp_budget_remaining", "batchseal_documents_failed_total"),
        *("batchseal_audit_time_stamp_timestamp_seconds",),
    }
    rare |= {name for name in named if name.startswith(FOR_SOME)}
    missing = set[str]()

    def all_have_samples() -> bool:
        families = {family.name: family for family in text_string_to_metric_families(observed.metrics())}
        missing.clear()
        missing.update(name for name in named - rare if not families[name.removesuffix("_total")].samples)
        return not missing and 'batchseal_operation_seconds_count{mode="sync"}' in observed.metrics()

    with suppress(AssertionError):
        until(all_have_samples)
    assert missing == set()
    text = observed.metrics()
    for name in named:
        assert f"# TYPE {name} {DECLARED[name].kind}\n" in text and f"# HELP {name} {DECLARED[name].help}\n" in text


def test_every_metric_that_is_served_is_declared(observed):
    for family in text_string_to_metric_families(observed.metrics()):
        if family.name.startswith("batchseal_") and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert DECLARED[name].kind == Kind(family.type) and family.documentation == DECLARED[name].help
            assert {label for s in family.samples for label in s.labels} - {"le"} <= set(DECLARED[name].labels)


def test_the_management_listener_names_client_services(observed):
    assert observed.ask("/metrics")[:2] == (200, "text/plain; version=1.0.0; charset=utf-8")
    client_service, _ = credentials(observed.service)
    assert f'client_service="{client_service}"' in observed.metrics()


def test_health_says_the_state_of_each_part(observed):
    assert observed.ask("/health/live")[::2] == (200, b'{"status": "UP"}\n')
    status, media_type, body = observed.ask("/health/ready")
    ready = json.loads(body)
    assert (status, media_type, ready["status"]) == (200, "application/json", "UP")
    assert ready["checks"]["database"] == ready["checks"]["signer"] == {"status": "UP"}
    assert ready["checks"]["upstream"]["status"] == "WARNING" and ready["checks"]["upstream"]["cause"]
    assert ready["instance"] and ready["version"]


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/metrics", "POST", 405), ("/metrics", "HEAD", 200)]
)
def test_the_management_listener_refuses_the_rest(observed, path, method, status):
    assert observed.ask(path, method)[0] == status


def test_a_request_id_goes_from_the_caller_to_the_line_about_the_end(observed):
    given = {"X-Request-Id": 'order 17"\t', "traceparent": TRACE, "Connection": "close"}
    body = batch("with an id", documents(3))
    with_headers = head(observed.service, len(body), ASYNC, **given) + body
    with connect(observed.service) as connection:
        connection.sendall(with_headers)
        status, headers, _ = reply(connection)
    assert status == 200 and headers["x-request-id"] == "order17"
    finished(observed.service, "with an id")
    until(lambda: observed.said(**{"message": "operation finished", "http.request.id": "order17"}))
    (line,) = observed.said(**{"message": "operation finished", "http.request.id": "order17"})
    assert line["trace.id"] == TRACE[3:35] and line["batchseal.documents"] == 3
    assert line["batchseal.external_reference"].startswith("masked:") and line["process.name"] == "signer"
    assert "with an id" not in observed.service.log.read_text()


def test_every_reply_has_a_request_id(observed):
    ids = {get(observed.service, path)[1]["x-request-id"] for path in ("/health/live", "/nothing", f"{BASE}/x", "/")}
    assert len(ids) == 4 and all(len(one) == 32 for one in ids)


def test_logins_tokens_and_refusals_are_events(observed):
    service = observed.service
    client_service, secret = credentials(service)

    def token(password: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
        basic = base64.b64encode(f"{client_service}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(
                "POST", "/oauth2/authorization-server/oauth/token", "grant_type=client_credentials", headers
            )
            return connection.getresponse().status
        finally:
            connection.close()

    assert token(secret) == 200 and token("wrong") == 401
    event = {"event.category": "iam", "event.action": "token-issued", "event.outcome": "success"}
    until(lambda: observed.said(**event, **{"user.name": client_service}))
    until(lambda: observed.said(**{"event.action": "login", "event.outcome": "failure", "user.name": client_service}))
    until(lambda: observed.said(**{"event.action": "login", "event.outcome": "success", "user.name": client_service}))
    assert secret not in service.log.read_text() and "wrong" not in service.log.read_text()


def test_a_changed_configuration_is_an_event_without_values(observed):
    service = observed.service
    content = json.loads(service.services_file.read_text())
    content["another"] = {"secret": "a secret that no log may show"}
    service.services_file.write_text(json.dumps(content))

    def said() -> list[dict[str, Any]]:
        get(service, f"{BASE}/operation/status/1")
        return observed.said(**{"event.action": "reload", "event.category": "configuration"})

    until(said)
    assert said()[0]["batchseal.client_services"] == {"another": "added"}
    assert "a secret that no log may show" not in service.log.read_text()


def test_the_start_says_what_matters_in_lines_of_the_log(observed):
    assert any(str(line.get("message", "")).startswith("ready at http://") for line in observed.lines())
    assert observed.said(**{"process.name": "supervisor"})


def test_strangers_see_no_client_service_in_the_metrics_of_the_api(observed):
    stranger = {"X-Forwarded-For": "203.0.113.9"}
    text = metrics_for(observed.service, stranger)
    assert "batchseal_requests_total{" in text and "batchseal_upstream_up" in text
    assert "client_service" not in text and "credential=" not in text and "batchseal_instance_info" not in text
    known = stranger | {"Authorization": authorization(observed.service)}
    assert "client_service=" in metrics_for(observed.service, known) and "client_service=" in metrics_for(
        observed.service, {}
    )


def metrics_for(service: RunningService, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    try:
        connection.request("GET", "/metrics", headers=headers)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
