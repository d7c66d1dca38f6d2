"""The file with the keys of payloads: what it may hold, what is said of it, and that nothing of a key is ever said."""

from base64 import b64encode
from pathlib import Path

import pytest
import structlog
from tests.support.key_files import key_file, secret_of

from batchseal.errors import ConfigurationError
from batchseal.payloads.keys import KeyFile, PayloadKey, read_keys
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.stores import encrypted_with

GOOD = b64encode(secret_of("good")).decode()


def test_keys_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# a comment\n\n  second.2026_11-x   {GOOD}   # behind a key too\nfirst lost\n")
    keys = read_keys(path)
    assert list(keys.values()) == [PayloadKey("second.2026_11-x", secret_of("good")), PayloadKey("first", b"")]
    assert [key.is_lost for key in keys.values()] == [False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with the key"),
        ("# nothing\n", "must begin with the key"),
        ("old lost\n", "must begin with the key"),
        (f"old lost\nnew {GOOD}\n", "must begin with the key"),
        (GOOD, "line 1"),
        (f"a {GOOD} more\n", "line 1"),
        (f"a/b {GOOD}\n", "line 1"),
        (f"{'a' * 65} {GOOD}\n", "line 1"),
        (f"a {GOOD}\na {GOOD}\n", "line 2"),
        (f"a {GOOD[:-4]}\n", "32 bytes"),
        (f"a {GOOD}AAAA\n", "32 bytes"),
        ("a not-base64-at-all!\n", "32 bytes"),
        (f"a {'A' * 43}=\n", "not random"),
        (f"a {secret_of('good').hex()}\n", "32 bytes"),
        (f"ä {GOOD}\n", "not a text"),
    ],
)
def test_what_is_wrong_is_said_without_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_keys(path)
    assert str(path) in caught.value.cause
    assert not any(word in caught.value.cause for word in text.split() if len(word) > 4)


def test_a_file_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        KeyFile(tmp_path / "keys")


def test_nothing_of_a_key_is_said(tmp_path: Path) -> None:
    path = key_file(tmp_path / "keys", "may")
    with structlog.testing.capture_logs() as logged:
        keys = KeyFile(path)
        key_file(path, "november", "may")
        newest = keys.newest()
        path.write_text(f"november {GOOD} {GOOD}\n")
        assert keys.newest() == newest
    assert [one["log_level"] for one in logged] == ["info", "warning"]
    said = repr([logged, keys, newest, keys.find("may")])
    for secret in map(secret_of, ("may", "november", "good")):
        for form in (repr(secret)[2:-1], secret.hex(), b64encode(secret).decode()):
            assert form[:12] not in said
    assert "november" in said


def test_without_a_file_there_is_no_encryption(tmp_path: Path) -> None:
    payloads = LocalPayloads(tmp_path)
    assert encrypted_with("", payloads) is payloads
