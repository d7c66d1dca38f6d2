"""The keys of an object store: given by settings, read from a file that may change, or left to the role of the machine."""

import configparser
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from batchseal.errors import PayloadUnavailable


@dataclass(frozen=True, slots=True)
class Keys:
    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


class KeysFile:
    """The keys of one part of a file in the form of `~/.aws/credentials`. The file is read again when it has changed."""

    def __init__(self, path: Path, profile: str) -> None:
        self._path = path
        self._profile = profile
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int], Keys] | None = None

    def __call__(self) -> Keys:
        """Raises PayloadUnavailable where the file cannot be read or holds no keys: a rotation may be under way."""
        with self._lock:
            try:
                status = os.stat(self._path)
                state = status.st_mtime_ns, status.st_ino
                if self._read is None or self._read[0] != state:
                    self._read = state, self._parsed(self._path.read_text("utf-8"))
                return self._read[1]
            except (OSError, UnicodeDecodeError, configparser.Error) as problem:
                cause = problem.strerror if isinstance(problem, OSError) else type(problem).__name__
                raise PayloadUnavailable(
                    f"the file with the keys of the payload store cannot be read: {cause}"
                ) from None

    def _parsed(self, text: str) -> Keys:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        part = parser[self._profile] if parser.has_section(self._profile) else {}
        key_id, secret = part.get("aws_access_key_id", ""), part.get("aws_secret_access_key", "")
        if not key_id or not secret:
            raise PayloadUnavailable(
                f"the file with the keys of the payload store has no [{self._profile}] with both keys"
            )
        return Keys(key_id, secret, part.get("aws_session_token", ""))
