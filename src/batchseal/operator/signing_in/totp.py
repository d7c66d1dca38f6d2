"""One-time codes: TOTP (RFC 6238) with the values that every authenticator takes: SHA-1, 30 seconds, six digits."""

import base64
import hmac
import secrets
import struct
from collections.abc import Iterator
from urllib.parse import quote

STEP_SECONDS, DIGITS, KEY_BYTES = 30, 6, 20
# How many steps a clock may be off, in each direction (RFC 6238 5.2).
DRIFT_STEPS = 1


def new_key() -> bytes:
    """A new key of the length of the digest (RFC 4226 4, R6)."""
    return secrets.token_bytes(KEY_BYTES)


def code_at(key: bytes, step: int) -> str:
    """The code of a time step (RFC 4226 5.3)."""
    digest = hmac.digest(key, struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(key: bytes, code: str, now: float) -> int | None:
    """The time step that a code belongs to, if it is one of those that count at the time `now`. Else None."""
    digits = "".join(code.split())
    found = None
    for step in steps_around(now):
        # Every step is compared, so that the time taken says nothing.
        if hmac.compare_digest(code_at(key, step).encode(), digits.encode("utf-8", "replace")):
            found = step
    return found


def steps_around(now: float) -> Iterator[int]:
    present = int(now) // STEP_SECONDS
    yield from range(max(0, present - DRIFT_STEPS), present + DRIFT_STEPS + 1)


def key_text(key: bytes) -> str:
    """The key as an authenticator takes it when it is typed in."""
    return base64.b32encode(key).decode()


def key_address(name: str, key: bytes, issuer: str = "Batchseal") -> str:
    """The address with the key that an authenticator reads from a QR code (Key Uri Format)."""
    return f"otpauth://totp/{quote(issuer)}:{quote(name, safe='')}?secret={key_text(key)}&issuer={quote(issuer)}"
