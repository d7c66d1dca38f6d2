"""Bearer tokens that the signing service issued: whether it accepts them, and whose they are.

To check such a token costs a call to the signing service. So answers are cached, and a token that many requests bring at the same
time is asked about once. A token that was never accepted is a guess of its address, and is counted before it is made. A token
that was accepted within a day is no guess: it is never locked out.
"""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from batchseal.api.attempts import Attempts, Booking, Pair
from batchseal.api.login_failures import SharedFailures
from batchseal.errors import TooManyRequests
from batchseal.settings.client_services import ClientServices
from batchseal.system.expiring import ExpiringCache

Probe = Callable[[str], Awaitable[str | None]]

PROBED_SECONDS = 60.0
REFUSED_SECONDS = 5.0
MAX_PROBED = 1024
# How long a token waits for those that other instances ask about, where some of them may be right.
PATIENCE_SECONDS = 2.0


class Named(msgspec.Struct):
    """Who a JSON Web Token says it is for: `client_id` (RFC 9068 2.2) or `azp` (OpenID Connect). Unverified."""

    client_id: str = ""
    azp: str = ""


class ForeignTokens:
    """Asks `probe` about tokens. `attempts` counts tokens that are refused; None counts nothing. `shared`: for all instances."""

    def __init__(self, probe: Probe, attempts: Attempts | None = None, shared: SharedFailures | None = None) -> None:
        self._probe = probe
        self._attempts = attempts
        self._shared = shared
        self._answers: ExpiringCache[bytes, str | None] = ExpiringCache(MAX_PROBED)
        # The tokens that the signing service is being asked about, by their digests, each with the key of its pair.
        self._asking: dict[bytes, tuple[int, asyncio.Task[str | None]]] = {}

    async def client_service(self, token: str, services: ClientServices, address: str) -> str | None:
        """What the signing service says about a token: see `Authenticator`. The cache holds digests, never tokens.

        Raises TooManyRequests if too many tokens from this address were refused, or what `probe` raises.
        """
        digest = hashlib.sha256(token.encode()).digest()
        pair = self._pair(token, services, address)
        while True:
            if remembered := self._answers.find(digest):
                return remembered[0]
            if asked := self._asking.get(digest):
                # The answer counts even if this caller does not wait for it. Else he could make guesses that nobody counts.
                return await asyncio.shield(asked[1])
            try:
                booking = self._book(pair, digest)
            except TooManyRequests:
                # Some of the tokens that are being asked about may be right. Then there is room again for this one.
                others = [task for key, task in self._asking.values() if pair is not None and key == pair.key]
                if not others:
                    raise
                await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            else:
                self._start(digest, pair, self._ask(token, digest, booking, services, address))

    def _start(self, digest: bytes, pair: Pair | None, asking: Coroutine[Any, Any, str | None]) -> None:
        task = asyncio.get_running_loop().create_task(asking)
        self._asking[digest] = (pair.key if pair is not None else 0, task)

        def ended(task: "asyncio.Task[str | None]") -> None:
            del self._asking[digest]
            if not task.cancelled():
                task.exception()  # whoever waits has it too; if nobody does, it is no error of the loop

        task.add_done_callback(ended)

    async def _ask(
        self, token: str, digest: bytes, booking: Booking | None, services: ClientServices, address: str
    ) -> str | None:
        """Asks, keeps the answer, and takes the failure back that was counted before unless the token was refused."""
        right, counted = True, None
        try:
            if booking is not None and self._shared is not None and self._attempts is not None:
                counted = await self._shared.count(booking.pair, PATIENCE_SECONDS)
                self._attempts.check_lock(booking.pair)
            client_service = await self._probe(token)
            right = client_service is not None
        finally:
            if right and booking is not None and self._attempts is not None:
                self._attempts.give_back(booking)
                if self._shared is not None:
                    await self._shared.take_back(booking.pair, counted)
        if client_service is not None and self._attempts is not None:
            self._attempts.remember_token(digest)
            configured = services.get(client_service) is not None
            self._attempts.succeeded(self._attempts.pair(address, counted_as(client_service), configured=configured))
        self._answers.keep(digest, client_service, PROBED_SECONDS if right else REFUSED_SECONDS)
        return client_service

    def _book(self, pair: Pair | None, digest: bytes) -> Booking | None:
        """Counts the guess before it is made. Raises TooManyRequests."""
        if self._attempts is None or pair is None or self._attempts.remembers_token(digest):
            return None
        return self._attempts.book(pair)

    def _pair(self, token: str, services: ClientServices, address: str) -> Pair | None:
        """The pair that a refusal of this token counts for.

        A token that names a configured client service, or a client that brought a token that was accepted from this address,
        counts for that client alone. All others of an address count together, since whoever makes up tokens can make up names.
        """
        if self._attempts is None:
            return None
        if name := claimed_client(token):
            configured = services.get(name) is not None
            pair = self._attempts.pair(address, counted_as(name), configured=configured)
            if configured or self._attempts.is_known(pair):
                return pair
        return self._attempts.pair(address, counted_as(""), configured=True)


def counted_as(client: str) -> str:
    """The name that tokens of this client are counted under ("": of nobody). It differs from the client's id, so that false
    tokens do not lock its secret.
    """
    return f"\0bearer {client}"


def claimed_client(token: str) -> str:
    """The client that a JSON Web Token names, or "" if the token is of another kind or names none. Nothing is verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        named = msgspec.json.decode(claims, type=Named)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return ""
    return named.client_id or named.azp
