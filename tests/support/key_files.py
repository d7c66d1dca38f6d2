"""Files with keys for payloads. The key of an id is the same in every file."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path


def secret_of(key_id: str) -> bytes:
    return sha256(key_id.encode()).digest()


def key_file(path: Path, *key_ids: str, **others: str) -> Path:
    """Writes the keys in this order. `others` are ids with what stands in the place of their keys."""
    lines = [f"{key_id} {b64encode(secret_of(key_id)).decode()}" for key_id in key_ids]
    path.write_text(
        "# a comment\n\n" + "\n".join([*lines, *(f"{key_id} {word}" for key_id, word in others.items())]) + "\n"
    )
    path.chmod(0o600)
    return path
