"""The tokens that the proxy issues itself: JSON Web Tokens (`system/jwt.py`).

Instances that share a database share the key too (`worker/callers.py` says where it is kept), so a token of one is good at all,
and it stays valid over a restart. There may be several keys: the first one signs, and all of them verify, so that a key can be
replaced while tokens of the one before it are still in use. A token is bound to the secret that it was issued for. When a client
service has that secret no longer, neither as its new nor as its previous one, the token becomes invalid.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from batchseal.errors import InvalidToken
from batchseal.system import jwt

ISSUER = "batchseal"
LIFETIME_SECONDS = 3600
MAX_TOKEN_CHARACTERS = 8192


class Claims(msgspec.Struct):
    """The claims of RFC 7519 4.1, and `bound`: which secret the token belongs to (`binding`)."""

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


@dataclass(frozen=True, slots=True)
class Verified:
    """The claims of a token, and the key that has signed it."""

    claims: Claims
    key: bytes

    def is_bound_to(self, secrets_in_force: Iterable[str]) -> bool:
        """Whether the token was issued for one of these secrets."""
        return any(self.claims.bound == binding(self.key, secret) for secret in secrets_in_force)


class Tokens:
    """Issues tokens with the first key, and reads those of every key. `now` tells the seconds since 1970."""

    def __init__(self, *keys: bytes, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.keys = keys

    @property
    def key(self) -> bytes:
        """The key that signs."""
        return self.keys[0]

    def issue(self, client_service: str, secret: str) -> Issued:
        """A new token for this client service, valid for LIFETIME_SECONDS and as long as it has this secret."""
        now, token_id = int(self._now()), secrets.token_urlsafe(16)
        claims = Claims(
            ISSUER, ISSUER, client_service, now + LIFETIME_SECONDS, now, token_id, binding(self.key, secret)
        )
        return Issued(jwt.issue(self.key, claims), token_id, client_service)

    def read(self, token: str) -> Verified | None:
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
        key = next(filter(parsed.is_signed_with, self.keys), None)
        if key is None:
            raise InvalidToken("the token's signature is wrong")
        if claims.exp <= self._now():
            raise InvalidToken("the token has run out")
        return Verified(claims, key)


def binding(key: bytes, secret: str) -> str:
    """A short keyed digest of `secret`. It shows whether two secrets are equal and reveals nothing else about them."""
    return jwt.encode(hmac.digest(key, b"secret:" + secret.encode(), "sha256")[:12])
