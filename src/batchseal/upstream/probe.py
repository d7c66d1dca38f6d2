"""Foreign bearer tokens: whether the upstream takes them, and whom they name.

A token is worth something only if the upstream tells it from one that is made up: where a random or a tampered token
passes, all are refused. Tokens are kept as digests, for a short time.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time

import structlog

from batchseal.system.expiring import ExpiringCache
from batchseal.upstream.interface import SigningService

log = structlog.get_logger("upstream")

ACCEPTED_SECONDS, REFUSED_SECONDS = 60.0, 10.0
MADE_UP_SECONDS = 600.0
MAX_REMEMBERED = 4096
MAX_TOKEN_CHARACTERS = 16 << 10
MAX_PROBES = 4  # at once: made-up tokens must not crowd out the sign calls


class Probe:
    """Asks `service` about tokens and remembers the answers."""

    def __init__(self, service: SigningService) -> None:
        self._service = service
        self._answers: ExpiringCache[bytes, str | None] = ExpiringCache(MAX_REMEMBERED)
        self._asking = asyncio.Semaphore(MAX_PROBES)
        self._judging = asyncio.Lock()
        self._judged_at: float | None = None
        self._tells_apart = False

    async def client_service(self, token: str) -> str | None:
        """The `client_id` of a token that the upstream takes, "" for one that names nobody, None for any other.

        Raises UpstreamError where the upstream could not be asked.
        """
        if not is_token(token):
            return None
        claims = read_claims(token)
        expires = claims.get("exp")
        if isinstance(expires, int | float) and expires <= time.time():
            return None
        key = hashlib.sha256(token.encode()).digest()
        if remembered := self._answers.find(key):
            return remembered[0]
        async with self._asking:
            answer = name_of(claims) if await self._holds(token, claims) else None
        self._answers.keep(key, answer, REFUSED_SECONDS if answer is None else ACCEPTED_SECONDS)
        return answer

    async def _holds(self, token: str, claims: dict[str, object]) -> bool:
        if not await self._upstream_tells_apart() or not await self._service.accepts(token):
            return False
        if not claims:
            return True
        # Whether the signature is looked at: the same claims under another one must not pass.
        if await self._service.accepts(token.rpartition(".")[0] + "." + secrets.token_urlsafe(32)):
            log.warning("the signing service takes tokens with a forged signature: foreign tokens are refused")
            return False
        return True

    async def _upstream_tells_apart(self) -> bool:
        async with self._judging:
            now = time.monotonic()
            if self._judged_at is None or now - self._judged_at > MADE_UP_SECONDS:
                self._tells_apart = not await self._service.accepts(secrets.token_urlsafe(48))
                self._judged_at = now
                if not self._tells_apart:
                    log.warning("the signing service takes any bearer token: foreign tokens are refused")
            return self._tells_apart


def is_token(text: str) -> bool:
    """RFC 6750 2.1: what can stand in a header at all."""
    return 0 < len(text) <= MAX_TOKEN_CHARACTERS and text.isascii() and text.isprintable() and " " not in text


def read_claims(token: str) -> dict[str, object]:
    """The claims of a JWT (RFC 7519 3), unverified: the upstream verifies. {} for an opaque token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def name_of(claims: dict[str, object]) -> str:
    """RFC 9068 2.2 calls it `client_id`, OpenID Connect `azp`."""
    for name in ("client_id", "azp"):
        if isinstance(value := claims.get(name), str) and value:
            return value
    return ""
