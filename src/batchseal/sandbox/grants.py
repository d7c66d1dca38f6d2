"""The sandbox's bearer tokens and grants (CSC's SAD): issues and checks them.

Owns the key that signs the tokens, and the table of grants. Nothing is stored for a token, which carries its own claims. Promises
that a token or grant is refused after its lifetime, and that a grant covers each of its digests once. Leaves HTTP to `server`.
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from batchseal.system import jwt

MAX_GRANTS = 10_000


class Tokens:
    """Bearer tokens in the form of JSON Web Tokens. A new key is generated at each start, so a restart ends all tokens.

    `now` tells the seconds since 1970.
    """

    def __init__(self, lifetime_seconds: int, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.lifetime_seconds = lifetime_seconds
        self._key = secrets.token_bytes(32)

    def issue(self, client_service: str) -> tuple[str, str]:
        """A new token, and its ID."""
        token_id = secrets.token_hex(16)
        claims = {
            "client_id": client_service,
            "exp": self._now() + self.lifetime_seconds,  # not rounded down to whole seconds, which would end it early
            "jti": token_id,
        }
        return jwt.issue(self._key, claims), token_id

    def client_service(self, token: str) -> str | None:
        """The client service that the token was issued to; None if the token is forged or has expired."""
        parsed = jwt.parse(token)
        if parsed is None or not parsed.is_signed_with(self._key):
            return None
        claims = json.loads(parsed.claims)
        return str(claims["client_id"]) if claims["exp"] > self._now() else None


@dataclass(slots=True)
class Grant:
    """The permission to sign exactly these digests, each as often as it was requested."""

    credential_id: str
    expires_at: float
    digests: Counter[bytes] = field(default_factory=Counter)


class Grants:
    """The grants, by their SAD. A grant is dropped when it is used up, has expired, or MAX_GRANTS newer ones exist."""

    def __init__(self, lifetime_seconds: int) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._grants: dict[str, Grant] = {}

    def issue(self, credential_id: str, digests: Sequence[bytes]) -> str:
        """The SAD of a new grant."""
        self._drop_old()
        sad = secrets.token_urlsafe(24)
        self._grants[sad] = Grant(credential_id, time.monotonic() + self.lifetime_seconds, Counter(digests))
        return sad

    def find(self, sad: str, credential_id: str) -> Grant | None:
        """The grant; None if it does not exist, has expired, or is for another credential."""
        grant = self._grants.get(sad)
        if grant is None or grant.credential_id != credential_id or grant.expires_at < time.monotonic():
            return None
        return grant

    def use(self, sad: str, credential_id: str, digests: Sequence[bytes]) -> bool:
        """Removes `digests` from the grant. If it does not cover all of them, returns False and removes nothing."""
        grant, wanted = self.find(sad, credential_id), Counter(digests)
        if grant is None or not wanted <= grant.digests:
            return False
        grant.digests -= wanted
        if not grant.digests:
            del self._grants[sad]
        return True

    def extend(self, sad: str, credential_id: str, digests: Sequence[bytes]) -> str | None:
        """The SAD of a new grant in place of an old one; None if the old one is invalid or does not cover `digests`.

        The new grant is for `digests`, or for all that are left of the old one if there are none.
        """
        grant = self.find(sad, credential_id)
        if grant is None or not Counter(digests) <= grant.digests:
            return None
        del self._grants[sad]
        return self.issue(credential_id, digests or list(grant.digests.elements()))

    def _drop_old(self) -> None:
        """Drops old grants. They are in the order of issue and have the same lifetime, so the oldest come first."""
        now = time.monotonic()
        while self._grants:
            first = next(iter(self._grants))
            if self._grants[first].expires_at > now and len(self._grants) < MAX_GRANTS:
                return
            del self._grants[first]
