"""What the sandbox remembers: bearer tokens (signed, nothing kept) and grants (CSC's SAD, kept until used or run out)."""

import json
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchseal.system import jwt

MAX_GRANTS = 10_000


class Tokens:
    """JSON Web Tokens. The key lives as long as the process: a restart ends all tokens."""

    def __init__(self, lifetime_seconds: int) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._key = secrets.token_bytes(32)

    def issue(self, client_service: str) -> tuple[str, str]:
        """A token and its id."""
        token_id = secrets.token_hex(16)
        claims = {
            "client_id": client_service,
            "exp": time.time() + self.lifetime_seconds,  # not cut to whole seconds: that would end it early
            "jti": token_id,
        }
        return jwt.issue(self._key, claims), token_id

    def client_service(self, token: str) -> str | None:
        """Whose token this is; None for one that is forged or has run out."""
        parsed = jwt.parse(token)
        if parsed is None or not parsed.is_signed_with(self._key):
            return None
        claims = json.loads(parsed.claims)
        return str(claims["client_id"]) if claims["exp"] > time.time() else None


@dataclass(slots=True)
class Grant:
    """Leave to sign exactly these digests, each as often as it was named."""

    credential_id: str
    expires_at: float
    digests: Counter[bytes] = field(default_factory=Counter)


class Grants:
    """SAD to grant. One that is used up or has run out is forgotten."""

    def __init__(self, lifetime_seconds: int) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._grants: dict[str, Grant] = {}

    def issue(self, credential_id: str, digests: Sequence[bytes]) -> str:
        self._forget_old()
        sad = secrets.token_urlsafe(24)
        self._grants[sad] = Grant(credential_id, time.monotonic() + self.lifetime_seconds, Counter(digests))
        return sad

    def find(self, sad: str, credential_id: str) -> Grant | None:
        grant = self._grants.get(sad)
        if grant is None or grant.credential_id != credential_id or grant.expires_at < time.monotonic():
            return None
        return grant

    def use(self, sad: str, credential_id: str, digests: Sequence[bytes]) -> bool:
        """Takes `digests` out of the grant; False, and nothing taken, where it does not cover them all."""
        grant, wanted = self.find(sad, credential_id), Counter(digests)
        if grant is None or not wanted <= grant.digests:
            return False
        grant.digests -= wanted
        if not grant.digests:
            del self._grants[sad]
        return True

    def extend(self, sad: str, credential_id: str, digests: Sequence[bytes]) -> str | None:
        """A new SAD for what is left of the old one, or for `digests` of it."""
        grant = self.find(sad, credential_id)
        if grant is None or not Counter(digests) <= grant.digests:
            return None
        del self._grants[sad]
        return self.issue(credential_id, digests or list(grant.digests.elements()))

    def _forget_old(self) -> None:
        """Grants are kept in the order of issue and live equally long, so the old ones stand in front."""
        now = time.monotonic()
        while self._grants:
            first = next(iter(self._grants))
            if self._grants[first].expires_at > now and len(self._grants) < MAX_GRANTS:
                return
            del self._grants[first]
