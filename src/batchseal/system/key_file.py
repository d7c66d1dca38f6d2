"""A secret key of random bytes that is kept in a file."""

import secrets
from pathlib import Path

from batchseal.system.disk import create_once, read_own

KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """The key in the file `path`. A missing or unusable file is made anew, with mode 0600.

    If several processes make it at the same time, all of them get the same key.
    """
    if not path.exists():
        create_once(path, secrets.token_bytes(KEY_BYTES))
    key = read_own(path)
    if len(key) != KEY_BYTES:
        path.unlink()
        return load_key(path)
    return key
