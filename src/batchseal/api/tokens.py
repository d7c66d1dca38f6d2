"""Tokens of the proxy's own token address, which are JSON Web Tokens (`system/jwt.py`).

The signing key lies in the temp folder, so that all workers and a restart share it. A token is bound to the
secret that got it: a changed secret ends it.
"""

import hmac
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchseal.errors import InvalidToken
from batchseal.system import jwt
from batchseal.system.disk import create_once

ISSUER = "batchseal"
LIFETIME_SECONDS = 3600
KEY_BYTES = 32
MAX_TOKEN_CHARACTERS = 8192


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
        return Issued(jwt.issue(self.key, claims), token_id)

    def binding(self, secret: str) -> str:
        """Tells one secret from another without giving it away."""
        return jwt.encode(hmac.digest(self.key, b"secret:" + secret.encode(), "sha256")[:12])

    def read(self, token: str) -> Claims | None:
        """Claims of a token of ours, None for somebody else's. Raises InvalidToken for one of ours that no
        longer holds.
        """
        parsed = jwt.parse(token)
        if parsed is None:
            return None
        try:
            claims = msgspec.json.decode(parsed.claims, type=Claims)
        except msgspec.MsgspecError:
            return None
        if (claims.iss, claims.aud) != (ISSUER, ISSUER):
            return None
        if not parsed.is_signed_with(self.key):
            raise InvalidToken("the token's signature is wrong")
        if claims.exp <= time.time():
            raise InvalidToken("the token has run out")
        return claims


def load_key(path: Path) -> bytes:
    """The key in `path`, made with mode 0600 where there is none; of several processes that try at once all
    get the same.
    """
    if not path.exists():
        create_once(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        path.unlink()
        return load_key(path)
    return key
