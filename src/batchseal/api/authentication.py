"""Finds out who is calling. A caller proves itself with HTTP Basic, with a token of the proxy, or with a foreign token.

A foreign token is one that the signing service issued. If there is no client-services-config.json, only foreign tokens are
accepted. Such a token then signs the caller's own request; it travels with the `Caller` and is never stored.
"""

import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import unquote_plus

from batchseal.api.attempts import Attempts, Pair
from batchseal.api.foreign_tokens import ForeignTokens, Probe
from batchseal.api.login_failures import Counter, SharedFailures
from batchseal.api.login_refusals import LoginRefusals
from batchseal.api.tokens import MAX_TOKEN_CHARACTERS, Issued, Tokens
from batchseal.errors import InactiveClientService, InvalidToken, NotConfigured, TooManyRequests, UnknownClientService
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientService, ClientServices
from batchseal.system.telemetry.events import Category, security_event

# How often, at most, the file of client services and that of the token keys are looked at for changes.
RELOAD_SECONDS = 1.0

T = TypeVar("T")


class KeyFile(Protocol):
    """The file of `--token-key-file` (settings/token_keys.py)."""

    def changed_keys(self) -> Sequence[bytes] | None:
        """The keys, if the file has changed since the last call and can be used."""


class Authenticator:
    """Authenticates callers and issues the proxy's own tokens.

    `probe` asks the signing service about a foreign token. It returns the client id of the token ("" if the token is good
    but names nobody), or None if the signing service refuses the token. `attempts` counts failures; None counts nothing.
    `counter` counts them for all instances that share a database. `key_file` has the keys of `tokens`, where a file names them.
    """

    def __init__(
        self,
        services: ClientServices,
        tokens: Tokens,
        probe: Probe,
        attempts: Attempts | None = None,
        *,
        counter: Counter | None = None,
        key_file: KeyFile | None = None,
        reload_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._reload_seconds = reload_seconds
        self._key_file = key_file
        self._shared = (
            SharedFailures(counter, attempts, tokens) if counter is not None and attempts is not None else None
        )
        self.attempts = attempts
        self.services = services
        self._refusals = LoginRefusals(lambda name: services.get(name) is not None)
        self.tokens = tokens
        self.foreign = ForeignTokens(probe, attempts, self._shared)
        self._next_reload = 0.0

    async def caller(self, authorization: str | None, address: str = "") -> Caller:
        """Returns the caller who is proved by this Authorization header.

        `address` is the caller's network address. Wrong credentials count as a failure of this address with the client id that
        they name; a missing header does not.
        Raises ApiError: InvalidToken and UnknownClientService (401), InactiveClientService (403), NotConfigured (500),
        TooManyRequests (429).
        """
        self.reload()
        scheme, _, credentials = (authorization or "").strip().partition(" ")
        credentials = credentials.strip()
        match scheme.lower():
            case "basic":
                readings = [parse_basic(credentials)]
                service, _ = await self._counted(readings, address, partial(self.proved, readings, address))
                return Caller(active(service).id)
            case "bearer" if credentials and len(credentials) <= MAX_TOKEN_CHARACTERS:
                return await self.bearer(credentials, address)
            case "":
                raise InvalidToken("the request has no Authorization header")
        raise InvalidToken("the Authorization header holds neither Basic nor Bearer credentials")

    def reload(self) -> None:
        """Reads the files of client services and of token keys again if they have changed, at most once in `reload_seconds`."""
        if (now := time.monotonic()) >= self._next_reload:
            self._next_reload = now + self._reload_seconds
            self.services.reload_if_changed()
            if self._key_file is not None and (keys := self._key_file.changed_keys()):
                self.tokens.keys = tuple(keys)

    async def _counted(self, readings: Sequence[tuple[str, str]], address: str, compare: Callable[[], T]) -> T:
        """What `compare` returns, which tries these readings. Wrong ones count for all instances, where there are several."""
        if self._shared is None:
            return compare()
        return await self._shared.around([pair for name, _ in readings if (pair := self._pair(name, address))], compare)

    def proved(self, readings: Sequence[tuple[str, str]], address: str) -> tuple[ClientService, str]:
        """The client service that these credentials prove, and its secret as it was sent. The service may be switched off.

        `readings` are (id, secret) for each way in which the credentials can be read. If all are wrong, each counts as one
        guess. A reading whose pair of id and address is locked is not compared.
        Raises UnknownClientService, NotConfigured, or TooManyRequests if a reading is locked and no other is right.
        """
        if not self.services.present:
            raise NotConfigured("no client service is configured here: send a token of the signing service")
        open_readings: list[tuple[str, str, Pair | None]] = []
        locked: TooManyRequests | None = None
        for client_service, secret in readings:
            try:
                open_readings.append((client_service, secret, self._unlocked(client_service, address)))
            except TooManyRequests as error:
                locked = error
        for client_service, secret, pair in open_readings:
            service = self.services.get(client_service)
            if service is not None and service.accepts(secret):
                if self.attempts is not None and pair is not None and self.attempts.succeeded(pair):
                    said = "a client service logged in from an address for the first time within a day"
                    security_event(said, Category.AUTHENTICATION, "login", client_service=service.id, address=address)
                return service, secret
        for _, _, pair in open_readings:
            if self.attempts is not None and pair is not None:
                self.attempts.failed(pair)
        if open_readings:
            self._refusals.note([name for name, _, _ in open_readings], address, self._is_locked(open_readings))
        if locked is not None:
            raise locked
        # The answer is the same for a wrong id and for a wrong secret, so that nobody can find out which ids exist.
        raise UnknownClientService("the client service or its secret is wrong")

    def _is_locked(self, readings: Sequence[tuple[str, str, Pair | None]]) -> bool:
        """Whether one of the pairs is locked by now."""
        return self.attempts is not None and any(
            pair is not None and self.attempts.is_locked(pair) for _, _, pair in readings
        )

    def _unlocked(self, client_service: str, address: str) -> Pair | None:
        """What a failure of this id counts for. Raises TooManyRequests if the pair of id and address is locked."""
        pair = self._pair(client_service, address)
        if self.attempts is not None and pair is not None:
            self.attempts.check(pair)
        return pair

    def _pair(self, client_service: str, address: str) -> Pair | None:
        """What a failure of this id counts for; None where nothing is counted."""
        if self.attempts is None:
            return None
        configured = self.services.get(client_service) is not None
        return self.attempts.pair(address, client_service, configured=configured)

    async def bearer(self, token: str, address: str) -> Caller:
        """The caller of a Bearer token: first tried as a token of the proxy, then as a foreign one.

        A token of the proxy is never counted and never locked out: its signature of 256 bits cannot be guessed.
        """
        if (verified := self.tokens.read(token)) is not None:
            service = self.services.get(verified.claims.client_id)
            if service is None or not verified.is_bound_to(service.secrets):
                raise InvalidToken("the token's client service was removed or its secret has changed")
            return Caller(active(service).id)
        client_service = await self.foreign.client_service(token, self.services, address)
        if client_service is None:
            raise InvalidToken("the signing service does not accept this token")
        if not self.services.present:
            return Caller(client_service or nameless(token), token)
        service = self.services.get(client_service)
        if service is None:
            raise UnknownClientService("the token's client service is not configured here")
        return Caller(active(service).id)

    async def issued(
        self, client_service: str, secret: str, address: str = "", *, form_encoded: bool = False
    ) -> Issued:
        """Like `issue`. Wrong credentials count for all instances that share a database."""
        asked = partial(self.issue, client_service, secret, address, form_encoded=form_encoded)
        return await self._counted(readings_of(client_service, secret, form_encoded=form_encoded), address, asked)

    def issue(self, client_service: str, secret: str, address: str = "", *, form_encoded: bool = False) -> Issued:
        """Issues a token of the proxy for these credentials (RFC 6749 4.4).

        With `form_encoded` they are tried as they are, and then as form-encoded text. Wrong credentials count as failures of
        `address`. Raises ApiError (see `caller`).
        """
        self.reload()
        service, right = self.proved(readings_of(client_service, secret, form_encoded=form_encoded), address)
        issued = self.tokens.issue(active(service).id, right)
        security_event(
            "a token was issued",
            Category.IAM,
            "token-issued",
            client_service=service.id,
            address=address,
            token_id=issued.token_id,
        )
        return issued


def readings_of(client_service: str, secret: str, *, form_encoded: bool) -> tuple[tuple[str, str], ...]:
    """The ways in which these credentials can be read."""
    plain = (client_service, secret)
    return tuple(dict.fromkeys((plain, decoded_basic(*plain)))) if form_encoded else (plain,)


def nameless(token: str) -> str:
    """A client service name for a token that names nobody, made from the token's digest.

    Two such tokens get different names, so their owners never see each other's operations.
    """
    return "token " + hashlib.sha256(token.encode()).hexdigest()[:32]


def active(service: ClientService) -> ClientService:
    """Returns `service`. Raises InactiveClientService if it is switched off."""
    if not service.active:
        raise InactiveClientService(f"client service {service.id}")
    return service


def parse_basic(credentials: str) -> tuple[str, str]:
    """Client id and secret as they were sent (RFC 7617). Raises UnknownClientService."""
    try:
        client_service, colon, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        client_service = colon = secret = ""
    if not colon:
        raise UnknownClientService("the Basic credentials are not base64 of id:secret")
    return client_service, secret


def decoded_basic(client_service: str, secret: str) -> tuple[str, str]:
    """Client id and secret of a caller that form-encodes both before Basic, as RFC 6749 2.3.1 requires of OAuth clients."""
    return unquote_plus(client_service), unquote_plus(secret)
