"""The two sources of bearer tokens: OAuth2 client credentials (RFC 6749 4.4), and a token that a caller brings.

Owns the token of each client service: all calls share it, it is renewed before it expires, and there is at most one request for a
new one at a time, however many calls wait. A 401 drops the token for which it came, and never a newer one. Leaves it to the
calls to use the token, and to report a 401 (`reject`).
"""

import asyncio
import base64
import time
from typing import Any

from batchseal.errors import UpstreamAuthExpired, UpstreamAuthRefused, UpstreamPermanent, UpstreamTransient
from batchseal.settings.client_services import ClientService
from batchseal.system.futures import retrieve_failure
from batchseal.upstream.answers import lifetime_seconds
from batchseal.upstream.transport import Transport

TOKEN_PATH = "/oauth2/authorization-server/oauth/token"  # noqa: S105
DEFAULT_LIFETIME_SECONDS = 300.0  # if the answer has no `expires_in`
RENEW_BEFORE_SECONDS = 60.0  # before it expires; a short-lived token is renewed in the last fifth of its lifetime


class ClientCredentials:
    """A `TokenSource`: the token of one client service, fetched with its ID and secret."""

    def __init__(self, transport: Transport, service: ClientService, path: str = TOKEN_PATH) -> None:
        self._transport, self._path = transport, path
        # While a secret is being replaced there are two, and the server may know either of them.
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
        # Without the shield, a caller that is cancelled would cancel the request for all others as well.
        return await asyncio.shield(self._fetch)

    def reject(self, token: str) -> bool:
        """Drops the token if it is the current one: later 401s for the same old token must not drop the new one."""
        if token == self._token:
            self._token = None
        return True

    async def _renew(self) -> str:
        asked_at = time.monotonic()  # counted from here, the lifetime cannot end later than the server means
        for number, authorization in enumerate(self._authorizations):
            try:
                answer = await self._ask(authorization)
            except UpstreamAuthRefused:
                if number + 1 == len(self._authorizations):
                    raise
                continue
            self._authorizations.insert(
                0, self._authorizations.pop(number)
            )  # the secret that works comes first from now on
            break
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise UpstreamTransient(f"{self._path}: the answer holds no access_token")
        seconds = lifetime_seconds(lifetime, DEFAULT_LIFETIME_SECONDS)
        self._renew_at = asked_at + seconds - min(RENEW_BEFORE_SECONDS, seconds / 5)
        self._token = token
        return token

    async def _ask(self, authorization: str) -> dict[str, Any]:
        """One request for a token. Raises UpstreamAuthRefused for a wrong ID or secret, else other UpstreamErrors."""
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
    """A `TokenSource`: the bearer token that a caller brings. It cannot be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token

    def reject(self, token: str) -> bool:
        return False
