"""The tokens that the proxy issues itself: JSON Web Tokens (`system/jwt.py`).

Their key is a file in the temp folder. All workers use it, and tokens stay valid over a restart. A token is bound to the
secret that it was issued for. When a client service has that secret no longer, neither as its new nor as its previous one, the
token becomes invalid.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from batchseal.errors import InvalidToken
from batchseal.system import jwt

ISSUER = "batchseal"
LIFETIME_SECONDS = 3600
MAX_TOKEN_CHARACTERS = 8192


class Claims(msgspec.Struct):
    """The claims of RFC 7519 4.1, and `bound`: which secret the token belongs to (`Tokens.binding`)."""

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
    client_service: str


class Tokens:
    """Issues and reads tokens that are signed with `key`. `now` tells the seconds since 1970."""

    def __init__(self, key: bytes, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.key = key

    def issue(self, client_service: str, secret: str) -> Issued:
        """A new token for this client service, valid for LIFETIME_SECONDS and as long as it has this secret."""
        now, token_id = int(self._now()), secrets.token_urlsafe(16)
        claims = Claims(ISSUER, ISSUER, client_service, now + LIFETIME_SECONDS, now, token_id, self.binding(secret))
        return Issued(jwt.issue(self.key, claims), token_id, client_service)

    def binding(self, secret: str) -> str:
        """A short keyed digest of `secret`. It shows whether two secrets are equal and reveals nothing else about them."""
        return jwt.encode(hmac.digest(self.key, b"secret:" + secret.encode(), "sha256")[:12])

    def read(self, token: str) -> Claims | None:
        """The claims of a token that the proxy issued, or None if somebody else issued it.

        Raises InvalidToken if the proxy issued it, but its signature is wrong or it has expired.
        """
        parsed = jwt.parse(token)
        if parsed is None:
            return None
        try:
            claims = msgspec.json.decode(parsed.claims, type=Claims)
        except (ValueError, RecursionError):  # anybody may have sent it
            return None
        if (claims.iss, claims.aud) != (ISSUER, ISSUER):
            return None
        if not parsed.is_signed_with(self.key):
            raise InvalidToken("the token's signature is wrong")
        if claims.exp <= self._now():
            raise InvalidToken("the token has run out")
        return claims
