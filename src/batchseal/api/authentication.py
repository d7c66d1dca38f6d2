"""Finds out who is calling. A caller proves itself with HTTP Basic, with a token of the proxy, or with a foreign token.

A foreign token is one that the signing service issued. If there is no client-services-config.json, only foreign tokens are
accepted. Such a token then signs the caller's own request; it travels with the `Caller` and is never stored.
"""

import base64
import binascii
import hashlib
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_plus

from batchseal.api.attempts import Attempts
from batchseal.api.tokens import MAX_TOKEN_CHARACTERS, Issued, Tokens
from batchseal.errors import InactiveClientService, InvalidToken, NotConfigured, UnknownClientService
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientService, ClientServices
from batchseal.system.expiring import ExpiringCache

Probe = Callable[[str], Awaitable[str | None]]

# How often, at most, the file of client services is looked at for changes.
RELOAD_SECONDS = 1.0
# Checking a foreign token costs a call to the signing service, so its answers are cached for this long.
PROBED_SECONDS = 60.0
REFUSED_SECONDS = 5.0
MAX_PROBED = 1024


class Authenticator:
    """Authenticates callers and issues the proxy's own tokens.

    `probe` asks the signing service about a foreign token. It returns the client id of the token ("" if the token is good
    but names nobody), or None if the signing service refuses the token. `attempts` counts failures; None counts nothing.
    """

    def __init__(
        self,
        services: ClientServices,
        tokens: Tokens,
        probe: Probe,
        attempts: Attempts | None = None,
        *,
        reload_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._reload_seconds = reload_seconds
        self.attempts = attempts
        self.services = services
        self.tokens = tokens
        self.probe = probe
        self._next_reload = 0.0
        self._probed: ExpiringCache[bytes, str | None] = ExpiringCache(MAX_PROBED)

    async def caller(self, authorization: str | None, address: str = "") -> Caller:
        """Returns the caller who is proved by this Authorization header.

        `address` is the caller's network address; wrong credentials count against it. A missing header does not.
        Raises ApiError: InvalidToken and UnknownClientService (401), InactiveClientService (403), NotConfigured (500),
        TooManyRequests (429).
        """
        if not authorization or self.attempts is None:
            return await self.proved(authorization)
        # A bad token does not say whose it is. All bad tokens of an address are counted under one name.
        scheme, _, credentials = authorization.strip().partition(" ")
        name = basic_name(credentials.strip()) if scheme.lower() == "basic" else "bearer"
        self.attempts.check(address, name)
        try:
            return await self.proved(authorization)
        except (UnknownClientService, InvalidToken):
            self.attempts.failed(address, name)
            raise

    async def proved(self, authorization: str | None) -> Caller:
        """Like `caller`, without counting failures."""
        self.reload()
        scheme, _, credentials = (authorization or "").strip().partition(" ")
        credentials = credentials.strip()
        match scheme.lower():
            case "basic":
                return Caller(self.service(*parse_basic(credentials)).id)
            case "bearer" if credentials and len(credentials) <= MAX_TOKEN_CHARACTERS:
                return await self.bearer(credentials)
            case "":
                raise InvalidToken("the request has no Authorization header")
        raise InvalidToken("the Authorization header holds neither Basic nor Bearer credentials")

    def reload(self) -> None:
        """Reads the file of client services again if it has changed, at most once in `reload_seconds`."""
        if (now := time.monotonic()) >= self._next_reload:
            self._next_reload = now + self._reload_seconds
            self.services.reload_if_changed()

    def service(self, client_service: str, secret: str) -> ClientService:
        """The active client service with this id and secret. Raises ApiError (see `caller`)."""
        if not self.services.present:
            raise NotConfigured("no client service is configured here: send a token of the signing service")
        service = self.services.get(client_service)
        # The answer is the same for a wrong id and for a wrong secret, so that nobody can find out which ids exist.
        if service is None or not service.accepts(secret):
            raise UnknownClientService("the client service or its secret is wrong")
        return active(service)

    async def bearer(self, token: str) -> Caller:
        """The caller of a Bearer token: first tried as a token of the proxy, then as a foreign one."""
        if (claims := self.tokens.read(token)) is not None:
            service = self.services.get(claims.client_id)
            if service is None or claims.bound not in map(self.tokens.binding, service.secrets):
                raise InvalidToken("the token's client service was removed or its secret has changed")
            return Caller(active(service).id)
        client_service = await self.probed(token)
        if client_service is None:
            raise InvalidToken("the signing service does not accept this token")
        if not self.services.present:
            return Caller(client_service or nameless(token), token)
        service = self.services.get(client_service)
        if service is None:
            raise UnknownClientService("the token's client service is not configured here")
        return Caller(active(service).id)

    async def probed(self, token: str) -> str | None:
        """What `probe` says about a token, from the cache if possible. The cache holds digests, never tokens."""
        key = hashlib.sha256(token.encode()).digest()
        if remembered := self._probed.find(key):
            return remembered[0]
        client_service = await self.probe(token)
        self._probed.keep(key, client_service, REFUSED_SECONDS if client_service is None else PROBED_SECONDS)
        return client_service

    def issue(self, client_service: str, secret: str, address: str = "", *, count: bool = True) -> Issued:
        """Issues a token of the proxy for these credentials (RFC 6749 4.4).

        With `count`, wrong credentials count as a failure of `address`. Raises ApiError (see `caller`).
        """
        if self.attempts is not None:
            self.attempts.check(address, client_service)
        try:
            return self._issue(client_service, secret)
        except UnknownClientService:
            if self.attempts is not None and count:
                self.attempts.failed(address, client_service)
            raise

    def _issue(self, client_service: str, secret: str) -> Issued:
        self.reload()
        return self.tokens.issue(self.service(client_service, secret).id, secret)


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


def basic_name(credentials: str) -> str:
    """The client id in Basic credentials, or "" if they cannot be read."""
    try:
        return parse_basic(credentials)[0]
    except UnknownClientService:
        return ""


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
