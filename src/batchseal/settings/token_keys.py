"""The keys of the tokens that the proxy issues, the same for all instances. They are the secret of an installation.

Where they are:

- in the file that `--token-key-file` names, which all instances have;
- else, with an embedded database, in the file `token.key` of the temp folder: such an instance is alone;
- else in the database, where only the owner's role can read them (`store/token_keys.py`). The signer has read them, and the
  supervisor has put them among the settings. A `token.key` that is left from before still verifies, so that its tokens last until
  they run out.

Each line of `--token-key-file` holds a key, the base64 of at least 32 bytes (`openssl rand -base64 32`). The first one signs, all
of them verify. To replace a key without refusing a token: add the new one as the last line at all instances, then make it the
first line, and take the old one out once the tokens that it has signed have run out, an hour later. Empty lines and lines that
begin with # do not count.
"""

import asyncio
import base64
import binascii
import stat
from contextlib import suppress
from pathlib import Path

import structlog

from batchseal.errors import ConfigurationError
from batchseal.settings.options import Settings
from batchseal.settings.services_files import file_state
from batchseal.system.key_file import load_key
from batchseal.system.telemetry.events import Category, security_event

LEAST_BYTES = 32
MAX_FILE_BYTES = 64 << 10

log = structlog.get_logger("api")


async def token_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of the tokens, that which signs first. Raises ConfigurationError."""
    if settings.token_key_file:
        return read_token_keys(Path(settings.token_key_file))
    shared = tuple(base64.b64decode(text) for text in settings.token_keys.split())
    if shared and not settings.token_key_path.exists():
        return shared
    # A key that is made now is fsynced, which takes long on a busy disk.
    return (*shared, await asyncio.to_thread(load_key, settings.token_key_path))


def read_token_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in the file, that which signs first. Raises ConfigurationError, which names the line and never what it holds."""
    try:
        lines = path.read_bytes()[:MAX_FILE_BYTES].decode("utf-8", "replace").splitlines()
    except OSError as problem:
        raise ConfigurationError(f"--token-key-file {path}: {problem.strerror}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        if not (text := line.strip()) or text.startswith("#"):
            continue
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) < LEAST_BYTES:
            raise ConfigurationError(
                f"--token-key-file {path}: line {number} is not the base64 of at least {LEAST_BYTES} bytes; make a key with"
                " `openssl rand -base64 32`"
            )
        keys.append(key)
    if not keys:
        raise ConfigurationError(f"--token-key-file {path}: holds no key; make one with `openssl rand -base64 32`")
    return tuple(keys)


def remark_on(path: Path) -> str:
    """What is odd about the file, or an empty text. Its group may read it: containers mount secrets that way."""
    with suppress(OSError):
        if path.stat().st_mode & stat.S_IROTH:
            return (
                f"every user of this machine can read {path}, and make tokens of any client service: chmod o-r {path}"
            )
    return ""


class TokenKeyFile:
    """The file, which is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = file_state(path)

    def changed_keys(self) -> tuple[bytes, ...] | None:
        """The keys, if the file has changed since the last call. While it cannot be used, those that were read before stay."""
        if (state := file_state(self._path)) == self._state:
            return None
        self._state = state
        try:
            keys = read_token_keys(self._path)
            security_event("the token keys were read again", Category.CONFIGURATION, "reload", number=len(keys))
            return keys
        except ConfigurationError as problem:
            log.error("the token keys cannot be read again; the present ones stay", cause=problem.cause)
            return None
