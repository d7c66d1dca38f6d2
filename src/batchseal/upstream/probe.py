"""Checks bearer tokens that callers bring with them: whether the signing service accepts them, and which client they name.

Owns the decision and a short-lived cache of it, whose keys are digests of tokens. Promises that an accepted token was really
checked: if the service accepts a random token, or the same claims with a forged signature, all such tokens are refused. Leaves
the calls to the `SigningService`.
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

ACCEPTED_SECONDS, REFUSED_SECONDS = 60.0, 10.0  # how long a decision is cached
MADE_UP_SECONDS = 600.0  # between two tests whether the service refuses a random token
MAX_REMEMBERED = 4096
MAX_TOKEN_CHARACTERS = 16 << 10
MAX_PROBES = 4  # at once, so that false tokens do not take the connections of the sign calls


class Probe:
    """Asks `service` about tokens, and caches the answers."""

    def __init__(self, service: SigningService) -> None:
        self._service = service
        self._answers: ExpiringCache[bytes, str | None] = ExpiringCache(MAX_REMEMBERED)
        self._asking = asyncio.Semaphore(MAX_PROBES)
        self._testing = asyncio.Lock()
        self._tested_at: float | None = None
        self._made_up_refused = False

    async def client_service(self, token: str) -> str | None:
        """The `client_id` of a token that the service accepts; "" if the token names nobody; None if it is refused.

        Raises UpstreamError if the service could not be asked.
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
            answer = name_of(claims) if await self._is_genuine(token, claims) else None
        self._answers.keep(key, answer, REFUSED_SECONDS if answer is None else ACCEPTED_SECONDS)
        return answer

    async def _is_genuine(self, token: str, claims: dict[str, object]) -> bool:
        """Whether the service accepts the token, and would refuse a forged one."""
        if not await self._refuses_made_up() or not await self._service.accepts(token):
            return False
        if not claims:
            return True
        # If the service checks signatures, it refuses the same claims with another signature.
        if await self._service.accepts(token.rpartition(".")[0] + "." + secrets.token_urlsafe(32)):
            log.warning(
                "the signing service accepts tokens with a forged signature, so callers' own tokens are refused"
            )
            return False
        return True

    async def _refuses_made_up(self) -> bool:
        """Whether the service refuses a random token. Asks again after MADE_UP_SECONDS."""
        async with self._testing:
            now = time.monotonic()
            if self._tested_at is None or now - self._tested_at > MADE_UP_SECONDS:
                self._made_up_refused = not await self._service.accepts(secrets.token_urlsafe(48))
                self._tested_at = now
                if not self._made_up_refused:
                    log.warning("the signing service accepts any bearer token, so callers' own tokens are refused")
            return self._made_up_refused


def is_token(text: str) -> bool:
    """Whether the text can be sent as a bearer token in a header (RFC 6750 2.1)."""
    return 0 < len(text) <= MAX_TOKEN_CHARACTERS and text.isascii() and text.isprintable() and " " not in text


def read_claims(token: str) -> dict[str, object]:
    """The claims of a JWT (RFC 7519 3); {} for an opaque token. They are not verified here: the signing service does that."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def name_of(claims: dict[str, object]) -> str:
    """The name of the client: `client_id` in RFC 9068 2.2, `azp` in OpenID Connect. "" if there is none."""
    for name in ("client_id", "azp"):
        if isinstance(value := claims.get(name), str) and value:
            return value
    return ""
