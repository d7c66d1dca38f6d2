"""What the log says of logins that were refused."""

import base64
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchseal.api.attempts import MAX_FAILURES, Attempts
from batchseal.api.authentication import Authenticator
from batchseal.api.login_refusals import UNKNOWN_SECONDS, LoginRefusals
from batchseal.api.tokens import Tokens
from batchseal.errors import TooManyRequests, UnknownClientService
from batchseal.settings.client_services import ClientServices

SECRET = "a secret of the client"


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    path = tmp_path / "client-services-config.json"
    path.write_text(f'{{"one": {{"secret": "{SECRET}"}}}}', "utf-8")
    path.chmod(0o600)

    async def probe(token: str) -> None:
        raise AssertionError(token)

    attempts = Attempts(tmp_path / "attempts")
    return Authenticator(ClientServices.load(path), Tokens(bytes(32)), probe, attempts, reload_seconds=0)


async def refused(authenticator: Authenticator, name: str, secret: str, address: str = "192.0.2.7") -> None:
    basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
    with pytest.raises((UnknownClientService, TooManyRequests)):
        await authenticator.caller(f"Basic {basic}", address)


async def test_each_refusal_of_a_client_service_is_said_and_the_lock_once(authenticator: Authenticator) -> None:
    with capture_logs() as said:
        for number in range(MAX_FAILURES + 20):
            await refused(authenticator, "one", f"guess {number}")
    assert [entry["event"] for entry in said] == [
        *["login refused"] * (MAX_FAILURES - 1),
        "login refused, and locked for a minute",
    ]
    assert {(entry["client_service"], entry["address"], entry["log_level"]) for entry in said} == {
        ("one", "192.0.2.7", "warning")
    }


async def test_no_secret_and_no_unknown_id_is_said(authenticator: Authenticator) -> None:
    with capture_logs() as said:
        await refused(authenticator, "one", "guess of somebody")
        await refused(authenticator, SECRET, "typed into the wrong field")
    assert len(said) == 2
    for text in ("guess", SECRET, "typed"):
        assert text not in repr(said)


async def test_a_login_is_said_once_for_an_address_and_without_its_secret(authenticator: Authenticator) -> None:
    basic = base64.b64encode(f"one:{SECRET}".encode()).decode()
    with capture_logs() as said:
        for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.7"):
            await authenticator.caller(f"Basic {basic}", address)
    assert [(entry["action"], entry["outcome"], entry["address"]) for entry in said] == [
        ("login", "success", "192.0.2.7"),
        ("login", "success", "192.0.2.8"),
    ]
    assert SECRET not in str(said)


def test_unknown_ids_are_counted_and_said_once_a_minute() -> None:
    seconds = 0.0
    refusals = LoginRefusals(lambda name: False, now=lambda: seconds)
    with capture_logs() as said:
        for number in range(1000):
            refusals.note([f"made up {number}"], "192.0.2.7", False)
        seconds = UNKNOWN_SECONDS
        refusals.note(["made up"], "192.0.2.8", False)
    assert [(entry["refused"], entry["last_address"]) for entry in said] == [(1, "192.0.2.7"), (1000, "192.0.2.8")]
