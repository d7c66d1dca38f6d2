"""Authentication: every way in which a caller can prove who it is, and every way in which that can fail."""

import base64
import json
import time
from pathlib import Path

import pytest

from batchseal.api.authentication import Authenticator
from batchseal.api.tokens import LIFETIME_SECONDS, Tokens
from batchseal.errors import InactiveClientService, InvalidToken, NotConfigured, UnknownClientService
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.system import jwt
from batchseal.system.key_file import load_key

CLIENTS = {"one": {"secret": "s:1é"}, "off": {"secret": "s2", "active": False}}


def services_file(folder: Path, table: object = CLIENTS) -> Path:
    path = folder / "client-services-config.json"
    path.write_text(json.dumps(table))
    path.chmod(0o600)
    return path


class Upstream:
    """A signing service that accepts two tokens and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def probe(self, token: str) -> str | None:
        self.asked += 1
        return {"good": "one", "stranger": "somebody"}.get(token)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def authenticator(tmp_path: Path, upstream: Upstream) -> Authenticator:
    services = ClientServices.load(services_file(tmp_path))
    return Authenticator(services, Tokens(load_key(tmp_path / "token.key")), upstream.probe, reload_seconds=0)


def basic(text: str) -> str:
    return "basic " + base64.b64encode(text.encode()).decode()


async def test_basic(authenticator: Authenticator) -> None:
    assert await authenticator.caller(basic("one:s:1é")) == Caller("one")
    for wrong in ("one:s", "two:s:1é", "one:", ":", "one"):
        with pytest.raises(UnknownClientService):
            await authenticator.caller(basic(wrong))
    with pytest.raises(UnknownClientService):
        await authenticator.caller("Basic !!")
    with pytest.raises(InactiveClientService):
        await authenticator.caller(basic("off:s2"))


@pytest.mark.parametrize("header", [None, "", "Digest x", "Bearer", "Bearer ", "Bearer " + "x" * 9000])
async def test_anything_else_is_no_proof(authenticator: Authenticator, header: str | None) -> None:
    with pytest.raises(InvalidToken):
        await authenticator.caller(header)


async def test_own_token(authenticator: Authenticator, upstream: Upstream) -> None:
    token = authenticator.issue("one", "s:1é").token
    assert await authenticator.caller("bEARER  " + token) == Caller("one")
    assert upstream.asked == 0


async def test_a_changed_own_token_is_refused_without_asking_upstream(
    authenticator: Authenticator, upstream: Upstream
) -> None:
    header, payload, signature = authenticator.issue("one", "s:1é").token.split(".")
    claims = json.loads(jwt.decode(payload))
    forged = jwt.encode(json.dumps(claims | {"exp": claims["exp"] + 1}).encode())
    for token in (f"{header}.{forged}.{signature}", f"{header}.{payload}.", f"{header}.{payload}.AAAA"):
        with pytest.raises(InvalidToken):
            await authenticator.caller("Bearer " + token)
    assert upstream.asked == 0


async def test_no_other_algorithm(authenticator: Authenticator) -> None:
    _, payload, _ = authenticator.issue("one", "s:1é").token.split(".")
    header = jwt.encode(b'{"alg":"none","typ":"JWT"}')
    with pytest.raises(InvalidToken):
        await authenticator.caller(f"Bearer {header}.{payload}.")


async def test_a_token_runs_out(authenticator: Authenticator) -> None:
    token = authenticator.issue("one", "s:1é").token
    authenticator.tokens = Tokens(authenticator.tokens.key, now=lambda: time.time() + LIFETIME_SECONDS + 1)
    with pytest.raises(InvalidToken, match="run out"):
        await authenticator.caller("Bearer " + token)


async def test_tokens_of_both_secrets_work_while_a_secret_is_replaced(
    authenticator: Authenticator, tmp_path: Path
) -> None:
    before = authenticator.issue("one", "s:1é").token
    services_file(tmp_path, {"one": {"secret": "new", "previousSecret": "s:1é"}})
    assert await authenticator.caller("Bearer " + before) == Caller("one")
    meanwhile = [authenticator.issue("one", secret).token for secret in ("s:1é", "new")]
    for token in meanwhile:
        assert await authenticator.caller("Bearer " + token) == Caller("one")
    services_file(tmp_path, {"one": {"secret": "new"}})
    assert await authenticator.caller("Bearer " + meanwhile[1]) == Caller("one")
    for token in (before, meanwhile[0]):
        with pytest.raises(InvalidToken):
            await authenticator.caller("Bearer " + token)
    with pytest.raises(UnknownClientService):
        authenticator.issue("one", "s:1é")


async def test_a_token_of_the_secret_before_the_previous_one_has_ended(
    authenticator: Authenticator, tmp_path: Path
) -> None:
    token = authenticator.issue("one", "s:1é").token
    services_file(tmp_path, {"one": {"secret": "third", "previousSecret": "second"}})
    with pytest.raises(InvalidToken):
        await authenticator.caller("Bearer " + token)


@pytest.mark.parametrize("depth", [10, 2_500])
async def test_hostile_claims_are_a_foreign_token(authenticator: Authenticator, depth: int) -> None:
    header = jwt.encode(b'{"alg":"HS256","typ":"JWT"}')
    nested = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    for token in (f"{header}.{jwt.encode(nested)}.AAAA", f"{jwt.encode(nested)}.e30.AAAA", f"{header}./.AAAA"):
        with pytest.raises(InvalidToken):
            await authenticator.caller("Bearer " + token)


async def test_a_new_secret_ends_the_old_tokens(authenticator: Authenticator, tmp_path: Path) -> None:
    token = authenticator.issue("one", "s:1é").token
    services_file(tmp_path, {"one": {"secret": "another"}})
    with pytest.raises(InvalidToken):
        await authenticator.caller("Bearer " + token)


async def test_a_foreign_token_is_probed_once(authenticator: Authenticator, upstream: Upstream) -> None:
    for _ in range(3):
        assert await authenticator.caller("Bearer good") == Caller("one")
    with pytest.raises(UnknownClientService):
        await authenticator.caller("Bearer stranger")
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await authenticator.caller("Bearer bad")
    assert upstream.asked == 3


async def test_without_a_file_only_the_signing_services_tokens_count(tmp_path: Path, upstream: Upstream) -> None:
    services = ClientServices.load(tmp_path / "missing.json")
    authenticator = Authenticator(services, Tokens(b"k" * 32), upstream.probe)
    assert await authenticator.caller("Bearer stranger") == Caller("somebody", "stranger")
    with pytest.raises(NotConfigured):
        await authenticator.caller(basic("one:s1"))
    with pytest.raises(InvalidToken):
        await authenticator.caller("Bearer bad")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = load_key(tmp_path / "token.key")
    assert load_key(tmp_path / "token.key") == key
    assert (tmp_path / "token.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "token.key").write_bytes(b"short")
    assert len(load_key(tmp_path / "token.key")) == 32
    assert [path.name for path in tmp_path.iterdir()] == ["token.key"]
