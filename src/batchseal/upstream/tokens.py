"""Bearer tokens of OAuth2 client credentials (RFC 6749 4.4): fetched once, used by all calls of a client service.

One fetch at a time however many calls wait; renewed before the end; a 401 drops the token that earned it, once.
"""

import asyncio
import base64
import time
from typing import Any

from batchseal.errors import UpstreamAuthExpired, UpstreamAuthRefused, UpstreamPermanent, UpstreamTransient
from batchseal.settings.client_services import ClientService
from batchseal.system.futures import retrieve_failure
from batchseal.upstream.transport import Transport

TOKEN_PATH = "/oauth2/authorization-server/oauth/token"  # noqa: S105
DEFAULT_LIFETIME_SECONDS = 300.0
RENEW_BEFORE_SECONDS = 60.0


class ClientCredentials:
    """The token of one client service."""

    def __init__(self, transport: Transport, service: ClientService, path: str = TOKEN_PATH) -> None:
        self._transport, self._path = transport, path
        # Both secrets of one that is being rotated: the upstream may know either.
        self._authorizations = [
            "Basic " + base64.b64encode(f"{service.id}:{secret}".encode()).decode() for secret in service.secrets
        ]
        self._token: str | None = None
        self._renew_at = 0.0
        self._fetch: asyncio.Task[str] | None = None

    async def token(self) -> str:
        if self._token is not None and time.monotonic() < self._renew_at:
            return self._token
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._renew())
            self._fetch.add_done_callback(self._fetched)
        # Shielded: one waiter that is cancelled must not take the fetch away from the others.
        return await asyncio.shield(self._fetch)

    def reject(self, token: str) -> bool:
        """Many calls can be answered with 401 for the same token: only the first drops it."""
        if token == self._token:
            self._token = None
        return True

    async def _renew(self) -> str:
        asked_at = time.monotonic()  # its lifetime began no earlier, whatever the answer took
        for number, authorization in enumerate(self._authorizations):
            try:
                answer = await self._ask(authorization)
            except UpstreamAuthRefused:
                if number + 1 == len(self._authorizations):
                    raise
                continue
            self._authorizations.insert(0, self._authorizations.pop(number))
            break
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise UpstreamTransient(f"{self._path}: the answer holds no access_token")
        seconds = float(lifetime) if isinstance(lifetime, int | float) else DEFAULT_LIFETIME_SECONDS
        self._renew_at = asked_at + seconds - min(RENEW_BEFORE_SECONDS, seconds / 5)
        self._token = token
        return token

    async def _ask(self, authorization: str) -> dict[str, Any]:
        try:
            return await self._transport.post(
                self._path, form={"grant_type": "client_credentials"}, authorization=authorization
            )
        except UpstreamAuthExpired as problem:
            raise UpstreamAuthRefused(problem.cause) from None
        except UpstreamPermanent as problem:
            if "invalid_client" in problem.cause or "unauthorized_client" in problem.cause:
                raise UpstreamAuthRefused(problem.cause) from None
            raise

    def _fetched(self, task: asyncio.Task[str]) -> None:
        self._fetch = None
        retrieve_failure(task)


class CallersToken:
    """A caller's own bearer token: there is no other one to be had."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token

    def reject(self, token: str) -> bool:
        return False
