"""Tokens of the proxy's own token address: JWT with HMAC-SHA256 (RFC 7519, RFC 7515), and no other algorithm.

The signing key lies in the temp folder, so that all workers and a restart share it. A token is bound to the
secret that got it: a changed secret ends it.
"""

import base64
import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchseal.errors import InvalidToken

ISSUER = "batchseal"
LIFETIME_SECONDS = 3600
KEY_BYTES = 32
MAX_TOKEN_CHARACTERS = 8192
HEADER = {"alg": "HS256", "typ": "JWT"}


class Claims(msgspec.Struct):
    iss: str
    aud: str
    client_id: str
    exp: int
    iat: int
    jti: str
    bound: str


@dataclass(frozen=True, slots=True)
class Issued:
    token: str
    token_id: str


class Tokens:
    def __init__(self, key: bytes) -> None:
        self.key = key

    def issue(self, client_service: str, secret: str) -> Issued:
        now, token_id = int(time.time()), secrets.token_urlsafe(16)
        claims = Claims(ISSUER, ISSUER, client_service, now + LIFETIME_SECONDS, now, token_id, self.binding(secret))
        signed = encode(msgspec.json.encode(HEADER)) + "." + encode(msgspec.json.encode(claims))
        return Issued(signed + "." + encode(self.signature(signed)), token_id)

    def binding(self, secret: str) -> str:
        """Tells one secret from another without giving it away."""
        return encode(hmac.digest(self.key, b"secret:" + secret.encode(), hashlib.sha256)[:12])

    def signature(self, signed: str) -> bytes:
        return hmac.digest(self.key, signed.encode(), hashlib.sha256)

    def read(self, token: str) -> Claims | None:
        """Claims of a token of ours, None for somebody else's. Raises InvalidToken for one of ours that no
        longer holds.
        """
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        try:
            if msgspec.json.decode(decode(header)) != HEADER:
                return None
            claims = msgspec.json.decode(decode(payload), type=Claims)
            given = decode(signature)
        except (ValueError, msgspec.MsgspecError):
            return None
        if (claims.iss, claims.aud) != (ISSUER, ISSUER):
            return None
        if not hmac.compare_digest(given, self.signature(signed)):
            raise InvalidToken("the token's signature is wrong")
        if claims.exp <= time.time():
            raise InvalidToken("the token has run out")
        return claims


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def load_key(path: Path) -> bytes:
    """The key in `path`, made with mode 0600 where there is none; of several processes that try at once all
    get the same.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        path.unlink()
        return load_key(path)
    return key
