"""Several keys of tokens: one signs, all verify, and a file of them is read again while the service runs."""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batchseal.api.authentication import Authenticator
from batchseal.api.tokens import Tokens
from batchseal.commands.check import check_configuration
from batchseal.errors import ConfigurationError, InvalidToken
from batchseal.settings.client_services import ClientServices
from batchseal.settings.options import Settings
from batchseal.settings.token_keys import TokenKeyFile, read_token_keys, remark_on, token_keys
from batchseal.system.key_file import load_key

OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
CALLER = "one"


async def refuses(token: str) -> None:
    return None


@pytest.fixture
def authenticator_of(tmp_path: Path) -> Callable[..., Authenticator]:
    """Makes the authenticator of one instance, with these keys or this file of keys."""
    path = tmp_path / "client-services-config.json"
    path.write_text(json.dumps({CALLER: {"secret": "s1", "previousSecret": "s0"}}))
    path.chmod(0o600)

    def make(*keys: bytes, file: Path | None = None) -> Authenticator:
        keys = read_token_keys(file) if file else keys
        key_file = TokenKeyFile(file) if file else None
        return Authenticator(ClientServices.load(path), Tokens(*keys), refuses, key_file=key_file, reload_seconds=0)

    return make


async def accepts(authenticator: Authenticator, token: str) -> bool:
    try:
        return (await authenticator.caller(f"Bearer {token}")).client_service == CALLER
    except InvalidToken:
        return False


def write(path: Path, *keys: bytes, around: str = "") -> Path:
    """Replaces the file as a secret that is mounted is replaced: by a new file of the same name."""
    draft = path.with_name("draft")
    draft.write_text(around + "".join(base64.b64encode(key).decode() + "\n" for key in keys))
    os.replace(draft, path)
    return path


async def test_a_key_is_replaced_in_three_steps_and_no_token_is_refused_meanwhile(
    tmp_path: Path, authenticator_of: Callable[..., Authenticator]
) -> None:
    """Two instances change one after the other, so in each step tokens of both states are about."""
    first, second = (write(tmp_path / name, OLD) for name in ("first", "second"))
    instances = authenticator_of(file=first), authenticator_of(file=second)
    for keys in ((OLD, NEW), (NEW, OLD), (NEW,)):
        for file in (first, second):
            write(file, *keys)
            tokens = [one.issue(CALLER, "s1").token for one in instances]
            for one in instances:
                assert [await accepts(one, token) for token in tokens] == [True, True]


async def test_a_token_keeps_its_binding_to_a_secret_under_the_second_key(
    authenticator_of: Callable[..., Authenticator],
) -> None:
    token, of_previous = (authenticator_of(OLD).issue(CALLER, secret).token for secret in ("s1", "s0"))
    rotated = authenticator_of(NEW, OLD)
    assert await accepts(rotated, token)
    assert await accepts(rotated, of_previous)
    assert not await accepts(authenticator_of(NEW, OTHER), token)
    assert rotated.tokens.key == NEW


async def test_a_file_that_becomes_unusable_leaves_the_keys_as_they_are(
    tmp_path: Path, authenticator_of: Callable[..., Authenticator]
) -> None:
    file = write(tmp_path / "keys", OLD)
    authenticator = authenticator_of(file=file)
    token = authenticator.issue(CALLER, "s1").token
    for damage in ("", "not base64\n", "c2hvcnQ=\n"):
        file.write_text(damage)
        assert await accepts(authenticator, token)
    file.unlink()
    assert await accepts(authenticator, token)
    write(file, NEW)
    assert not await accepts(authenticator, token)


def test_what_a_key_file_may_hold(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", NEW, OLD, around="# the keys of the tokens\n\n")
    assert read_token_keys(file) == (NEW, OLD)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("# only a comment\n", "holds no key"),
        (base64.b64encode(bytes(32)).decode() + "\nc2hvcnQ=\n", "line 2 is not"),
        ("sécret-that-is-no-base64-but-long-enough-for-it\n", "line 1 is not"),
    ],
)
def test_a_wrong_key_file_is_named_with_its_line_and_without_its_content(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as refused:
        read_token_keys(file)
    assert str(file) in str(refused.value)
    assert "c2hvcnQ" not in str(refused.value)
    assert "cret-that" not in str(refused.value)


async def test_a_missing_key_file_is_named_by_check_too(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(ConfigurationError, match="No such file"):
        read_token_keys(missing)
    with pytest.raises(ConfigurationError, match=f"--token-key-file {missing}"):
        await check_configuration(Settings(work_folder=tmp_path, token_key_file=str(missing)))


@pytest.mark.parametrize("makes", [True, False])
async def test_where_the_keys_of_an_instance_come_from(tmp_path: Path, makes: bool) -> None:
    """`makes`: the instance has made a key of its own before, which tokens in use are signed with."""
    own = load_key(tmp_path / "token.key") if makes else b""
    file = write(tmp_path / "keys", NEW, OLD)
    alone = Settings(temp_folder=tmp_path)
    stored = base64.b64encode(OTHER).decode()
    shared = Settings(temp_folder=tmp_path, is_shared=True, token_keys=stored)
    assert await token_keys(shared) == ((OTHER, own) if makes else (OTHER,))
    assert await token_keys(replace(shared, token_key_file=str(file))) == (NEW, OLD)
    assert await token_keys(replace(alone, token_key_file=str(file))) == (NEW, OLD)
    assert (tmp_path / "token.key").exists() is makes
    (kept,) = await token_keys(alone)
    assert kept == own or not makes
    assert await token_keys(alone) == (kept,)
    assert stored not in repr(shared)


def test_a_key_file_that_all_can_read_is_remarked(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", NEW)
    for mode, remarked in ((0o644, True), (0o604, True), (0o640, False), (0o600, False)):
        file.chmod(mode)
        assert bool(remark_on(file)) is remarked
    assert remark_on(tmp_path / "nowhere") == ""
