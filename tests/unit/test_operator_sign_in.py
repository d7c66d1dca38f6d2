"""Signing in to the operator's page: what counts as a guess, what a flood of them costs, what the audit trail keeps."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec
import pytest

from batchseal.errors import Forbidden, NoRoom, ProviderUnavailable
from batchseal.operator.request import Request
from batchseal.operator.security import CookieNames
from batchseal.operator.signing_in.accounts import AccountLogin
from batchseal.operator.signing_in.attempts import WINDOW_SECONDS, Guess
from batchseal.operator.signing_in.oidc import OpenIdLogin
from batchseal.operator.signing_in.trail import SignInTrail
from batchseal.settings.load import Settings
from batchseal.store.login_failures import Counted
from batchseal.store.operator import Who
from batchseal.upstream import transport


class Counts:
    """The counts of failures, and those that were taken back."""

    def __init__(self) -> None:
        self.taken_back: list[bytes] = []

    async def take_back(self, pair: bytes, counted: Counted) -> None:
        self.taken_back.append(pair)


class Attempts:
    """Counts every guess twice, by its address and by its name, and refuses none."""

    def __init__(self) -> None:
        self.counts = Counts()

    async def guess(self, name: str, address: str) -> Guess:
        counted = Counted(datetime.now(UTC), refused=False, seconds_until_fewer=0.0)
        counts: Any = self.counts
        return Guess([(counts, b"address", counted), (counts, b"name", counted)])


class Nobody:
    """Accounts among which nobody is found, and a trail that notes nothing."""

    async def find(self, name: str) -> None:
        return None

    async def failed(self, *told: Any) -> None:
        return None


def login_of(attempts: Any, folder: Path, *, has_room: bool) -> AccountLogin:
    """A login whose comparisons find room in the memory, or none."""
    nobody: Any = Nobody()
    return AccountLogin(nobody, attempts, nobody, Settings(temp_folder=folder), hold=lambda size: has_room or size == 0)


async def test_a_password_that_nobody_compared_is_no_failure(tmp_path: Path) -> None:
    attempts = Attempts()
    typed = "ana", "correct horse battery", "", "192.0.2.7"
    with pytest.raises(NoRoom):
        await login_of(attempts, tmp_path, has_room=False).sign_in(*typed)
    assert attempts.counts.taken_back == [b"address", b"name"]
    assert await login_of(attempts, tmp_path, has_room=True).sign_in(*typed) is None
    assert len(attempts.counts.taken_back) == 2, "a wrong password counts"


COOKIES = CookieNames(UUID(int=7 << 96))
PROVIDER = Settings(operator_oidc_issuer="https://127.0.0.1:1", operator_url="https://seal.example")


async def test_a_flood_of_logins_reads_the_certificates_of_the_system_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transport.tls_context.cache_clear()
    read, create = [0], ssl.create_default_context

    def counted(**more: Any) -> ssl.SSLContext:
        read[0] += 1
        return create(**more)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    nobody: Any = Nobody()
    login = OpenIdLogin(PROVIDER, nobody, nobody, COOKIES)
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await login.begin("/")
    assert read == [1]


class Notes:
    """A store that keeps what is noted in the audit trail."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def note(self, who: Who, detail: str) -> None:
        self.kept.append(f"{who.name}: {detail}")


async def test_whom_a_proxy_names_again_and_again_signs_in_once() -> None:
    notes, now = Notes(), [0.0]
    store: Any = notes
    trail = SignInTrail(store, clock=lambda: now[0])
    for _ in range(100):
        await trail.signed_in("monitor", "viewer", "header", "192.0.2.7")
    await trail.signed_in("monitor", "admin", "header", "192.0.2.7")
    now[0] = WINDOW_SECONDS
    await trail.signed_in("monitor", "viewer", "header", "192.0.2.7")
    for _ in range(2):
        await trail.signed_in("ana", "admin", "account", "192.0.2.7")
    assert notes.kept == [
        *(f"monitor: signed in (header, role {role})" for role in ("viewer", "admin", "viewer")),
        *["ana: signed in (account, role admin)"] * 2,
    ]


class FailingProvider(OpenIdLogin):
    """A provider that says who it is, and answers a code with this error."""

    problem: Exception

    async def _call(self, method: str, address: str, **more: Any) -> bytes:
        if method == "POST":
            raise self.problem
        names = "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"
        said: dict[str, Any] = {**dict.fromkeys(names, "https://127.0.0.1:1"), "keys": []}
        return msgspec.json.encode(said)


@pytest.mark.parametrize(
    ("problem", "taken_back"),
    [(Forbidden("the code is made up"), []), (ProviderUnavailable("it is away"), [b"address", b"name"])],
)
async def test_a_code_that_the_provider_does_not_know_is_a_failure(problem: Exception, taken_back: list[bytes]) -> None:
    nobody: Any = Nobody()
    attempts: Any = Attempts()
    login = FailingProvider(PROVIDER, nobody, attempts, COOKIES)
    login.problem = problem
    address, cookie = await login.begin("/")
    query = {"code": ["made up"], "state": parse_qs(urlsplit(address).query)["state"]}
    headers = {b"cookie": f"__Host-batchseal-oidc-00000007={cookie}".encode()}
    exchange: Any = None
    answer = Request("GET", "/oidc/callback", query, headers, exchange, "192.0.2.7", "seal.example", is_secure=True)
    with pytest.raises(type(problem)):
        await login.finish(answer)
    assert attempts.counts.taken_back == taken_back
