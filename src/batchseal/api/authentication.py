"""Who is calling: HTTP Basic, a token of ours, or a token of the signing service.

Without a configuration file only a token of the signing service counts; it is handed on with the caller, and
never kept.
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

RELOAD_SECONDS = 1.0
# Probing costs the signing service a call: what it said holds this long.
PROBED_SECONDS = 60.0
REFUSED_SECONDS = 5.0
MAX_PROBED = 1024


class Authenticator:
    """`probe` asks the signing service whose token this is: its client id, or None when it does not take the
    token.
    """

    def __init__(
        self, services: ClientServices, tokens: Tokens, probe: Probe, attempts: Attempts | None = None
    ) -> None:
        self.attempts = attempts
        self.services = services
        self.tokens = tokens
        self.probe = probe
        self._next_reload = 0.0
        self._probed: ExpiringCache[bytes, str | None] = ExpiringCache(MAX_PROBED)

    async def caller(self, authorization: str | None, address: str = "") -> Caller:
        """The caller whom an Authorization header proves. Raises ApiError with a 401, 403 or 429.

        Failures of `address` are counted; a header that proves nothing at all is none.
        """
        if not authorization or self.attempts is None:
            return await self.proved(authorization)
        # A token names nobody: all of an address's count together.
        scheme, _, credentials = authorization.strip().partition(" ")
        name = basic_name(credentials.strip()) if scheme.lower() == "basic" else "bearer"
        self.attempts.check(address, name)
        try:
            return await self.proved(authorization)
        except (UnknownClientService, InvalidToken):
            self.attempts.failed(address, name)
            raise

    async def proved(self, authorization: str | None) -> Caller:
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
        if (now := time.monotonic()) >= self._next_reload:
            self._next_reload = now + RELOAD_SECONDS
            self.services.reload_if_changed()

    def service(self, client_service: str, secret: str) -> ClientService:
        """The client service with this id and secret."""
        if not self.services.present:
            raise NotConfigured("no client service is configured here: send a token of the signing service")
        service = self.services.get(client_service)
        # One answer for a wrong id and a wrong secret: which ids exist is nobody's business.
        if service is None or not service.accepts(secret):
            raise UnknownClientService("the client service or its secret is wrong")
        return active(service)

    async def bearer(self, token: str) -> Caller:
        if (claims := self.tokens.read(token)) is not None:
            service = self.services.get(claims.client_id)
            if service is None or self.tokens.binding(service.secret) != claims.bound:
                raise InvalidToken("the token's client service is gone or has another secret now")
            return Caller(active(service).id)
        client_service = await self.probed(token)
        if client_service is None:
            raise InvalidToken("the signing service does not take this token")
        if not self.services.present:
            return Caller(client_service or nameless(token), token)
        service = self.services.get(client_service)
        if service is None:
            raise UnknownClientService("the token's client service is not configured here")
        return Caller(active(service).id)

    async def probed(self, token: str) -> str | None:
        key = hashlib.sha256(token.encode()).digest()
        if remembered := self._probed.find(key):
            return remembered[0]
        client_service = await self.probe(token)
        self._probed.keep(key, client_service, REFUSED_SECONDS if client_service is None else PROBED_SECONDS)
        return client_service

    def issue(self, client_service: str, secret: str, address: str = "", *, count: bool = True) -> Issued:
        """A token for these credentials (RFC 6749 4.4). `count`: a failure is one of `address`."""
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
    """Who a token is that names nobody: itself, so that two of them never see each other's operations."""
    return "token " + hashlib.sha256(token.encode()).hexdigest()[:32]


def active(service: ClientService) -> ClientService:
    if not service.active:
        raise InactiveClientService(f"client service {service.id}")
    return service


def basic_name(credentials: str) -> str:
    try:
        return parse_basic(credentials)[0]
    except UnknownClientService:
        return ""


def parse_basic(credentials: str) -> tuple[str, str]:
    """Id and secret as they were sent (RFC 7617)."""
    try:
        client_service, colon, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        client_service = colon = secret = ""
    if not colon:
        raise UnknownClientService("the Basic credentials are not base64 of id:secret")
    return client_service, secret


def decoded_basic(client_service: str, secret: str) -> tuple[str, str]:
    """The form-encoded spelling that RFC 6749 2.3.1 asks OAuth clients for."""
    return unquote_plus(client_service), unquote_plus(secret)
