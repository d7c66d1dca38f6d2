"""The keys that payloads are encrypted with: `--payload-key-file`.

    # one key in each line: its id, and 32 random bytes in base64 (openssl rand -base64 32)
    2026-11 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=
    2026-05 lost

The first key encrypts new payloads, every key decrypts those that were encrypted with it. `lost` stands for a key that will never
come back: its payloads count as damaged, so that their operations end. The file is read again when it has changed. No key ever
stands in a message, a log or a repr.
"""

import binascii
import os
import re
import threading
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from batchseal.errors import ConfigurationError

KEY_BYTES = 32
IDS = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOST = "lost"
MOST_FILE_BYTES = 1 << 20

log = structlog.get_logger("payloads")


@dataclass(frozen=True, slots=True)
class PayloadKey:
    """One line of the file. A key that is lost has no bytes."""

    id: str
    secret: bytes = field(repr=False)

    @property
    def is_lost(self) -> bool:
        return not self.secret


def read_keys(path: Path) -> dict[str, PayloadKey]:
    """The keys by id, in the order of the file. Raises ConfigurationError, which names the line and nothing that stands in it."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_FILE_BYTES + 1).decode("ascii")
    except OSError as problem:
        raise ConfigurationError(f"--payload-key-file: {path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"--payload-key-file: {path} is not a text of ids and keys in base64") from None
    keys: dict[str, PayloadKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"--payload-key-file: line {number} of {path}"
        if len(words) != 2 or not IDS.fullmatch(words[0]):
            raise ConfigurationError(f"{where} is not an id (letters, digits, . _ -) and a key, with a space between")
        if words[0] in keys:
            raise ConfigurationError(f"{where} has an id that another line has")
        keys[words[0]] = PayloadKey(words[0], b"" if words[1] == LOST else _secret(words[1], where))
    if not keys or next(iter(keys.values())).is_lost:
        raise ConfigurationError(
            f"--payload-key-file: {path} must begin with the key that new payloads are encrypted with"
        )
    return keys


def _secret(word: str, where: str) -> bytes:
    try:
        secret = b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigurationError(
            f"{where}: the key is not {KEY_BYTES} bytes in base64 (openssl rand -base64 {KEY_BYTES})"
        )
    if len(set(secret)) < KEY_BYTES // 4:
        raise ConfigurationError(f"{where}: the key is not random (openssl rand -base64 {KEY_BYTES} makes one)")
    return secret


class KeyFile:
    """The keys as the file has them now. Any thread may ask."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError."""
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._state()
        self._keys: Mapping[str, PayloadKey] = read_keys(path)

    def newest(self) -> PayloadKey:
        """The key that new payloads are encrypted with."""
        return next(iter(self._present().values()))

    def find(self, key_id: str) -> PayloadKey | None:
        return self._present().get(key_id)

    def _present(self) -> Mapping[str, PayloadKey]:
        """A file that cannot be used any more changes nothing: the keys that were read last stay."""
        with self._lock:
            if (state := self._state()) != self._seen:
                self._seen = state
                try:
                    self._keys = read_keys(self._path)
                    log.info("the keys of payloads were read again", ids=list(self._keys))
                except ConfigurationError as problem:
                    log.warning("the keys of payloads stay as they were", cause=problem.cause)
            return self._keys

    def _state(self) -> tuple[int, ...]:
        """What changes when the file does; a Secret of Kubernetes is a link whose target changes."""
        try:
            status = os.stat(self._path)
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
