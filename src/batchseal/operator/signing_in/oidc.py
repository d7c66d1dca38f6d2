"""Signing in with an OpenID Connect provider: the authorization code flow with PKCE (OpenID Connect Core 3.1; RFC 7636).

The state of a login is in a cookie of the browser until it comes back from the provider. The ID token comes from the provider
over TLS, and its signature is checked all the same. The groups in it give the role.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import structlog

from batchseal.errors import Forbidden, InvalidRequest, ProviderUnavailable
from batchseal.operator.request import Request, actor_of, own_address
from batchseal.operator.roles import highest
from batchseal.operator.security import CookieNames
from batchseal.operator.signing_in.attempts import OperatorAttempts
from batchseal.operator.signing_in.id_token import IdToken, read_id_token
from batchseal.operator.signing_in.trail import SignInTrail
from batchseal.settings.load import Settings
from batchseal.settings.operator_page import group_roles
from batchseal.system.jwt import decode, encode

log = structlog.get_logger("operator")

TIMEOUT_SECONDS, MAX_ANSWER_BYTES, CHUNK_BYTES = 10.0, 256 << 10, 16 << 10
# So long what the provider says of itself, its keys included, is kept.
METADATA_SECONDS = 3600.0
SCOPES = "openid profile email groups"
# The name under which answers of providers are counted. No account has it.
LOGIN = "\0openid"


class Provider(msgspec.Struct):
    """What a provider says of itself (OpenID Connect Discovery 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    scopes_supported: list[str] = []


class Tokens(msgspec.Struct):
    """The answer of the token endpoint."""

    id_token: str


class Started(msgspec.Struct):
    """A login that was begun. It is in the browser's cookie."""

    state: str
    nonce: str
    verifier: str
    next: str


class OpenIdLogin:
    """Of one worker. Its HTTP client is loaded with the first login."""

    def __init__(
        self, settings: Settings, trail: SignInTrail, attempts: OperatorAttempts, cookies: CookieNames
    ) -> None:
        self.cookies = cookies
        self._trail = trail
        self._attempts = attempts
        self._issuer = settings.operator_oidc_issuer.rstrip("/")
        self._settings = settings
        self._client = settings.operator_oidc_client
        self._roles = group_roles(settings.operator_roles)
        self._callback = settings.operator_url.rstrip("/") + "/oidc/callback"
        self._provider: tuple[float, Provider, list[dict[str, Any]]] | None = None

    async def begin(self, next_address: str) -> tuple[str, str]:
        """The address at the provider that the browser is sent to, and the value of the cookie."""
        provider, _ = await self._metadata()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        started = Started(state, nonce, verifier, next_address)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(started.verifier.encode()).digest()).rstrip(b"=").decode()
        offered = provider.scopes_supported
        query = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": self._callback,
            "scope": " ".join(scope for scope in SCOPES.split() if not offered or scope in offered),
            "state": started.state,
            "nonce": started.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in provider.authorization_endpoint else "?"
        return f"{provider.authorization_endpoint}{joint}{urlencode(query)}", encode(msgspec.json.encode(started))

    async def finish(self, request: Request) -> tuple[IdToken, str, str]:
        """What the ID token says of the operator whom the provider has sent back, the role, and the page that comes next.

        Raises InvalidRequest if this browser has begun no such login, Forbidden if the provider or the groups say no, and
        TooManyRequests after too many answers from this address that the provider did not know.
        """
        try:
            started = msgspec.json.decode(decode(request.cookie(self.cookies.login(request))), type=Started)
        except (ValueError, RecursionError):
            raise InvalidRequest("this browser has begun no login; begin anew") from None
        if not hmac.compare_digest(request.asked("state").encode(), started.state.encode()):
            raise InvalidRequest("the answer belongs to another login; begin anew")
        if error := request.asked("error"):
            log.warning("operator login refused by the provider", error=error[:100], address=request.peer)
            await self._trail.failed(None, request.peer, "the OpenID provider has refused the login")
            raise Forbidden("the provider has refused the login")
        # Whoever makes up the cookie of a login can have the provider asked about a code. So these questions are counted too.
        guess = await self._attempts.guess(LOGIN, request.peer)
        try:
            token = await self._exchange(request.asked("code"), started)
        except Forbidden:
            await self._trail.failed(None, request.peer, "the answer of the OpenID provider cannot be used")
            raise
        except ProviderUnavailable:
            await guess.take_back()
            raise
        await guess.take_back()
        roles = {self._roles[group] for group in token.groups if group in self._roles}
        role = highest(roles)
        if role is None:
            await self._trail.failed(
                actor_of(token.name, token.identity),
                request.peer,
                "none of the groups at the OpenID provider has a role here",
            )
            raise Forbidden("none of your groups has a role here")
        return token, role, own_address(started.next)

    async def _exchange(self, code: str, started: Started) -> IdToken:
        """The ID token for a code. Raises Forbidden if it is not one for us."""
        provider, keys = await self._metadata()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "client_id": self._client,
            "code_verifier": started.verifier,
        }
        headers = {}
        if path := self._settings.operator_oidc_secret_file:
            secret = (await asyncio.to_thread(Path(path).read_text, "utf-8")).strip()
            pair = urlencode({"": self._client})[1:] + ":" + urlencode({"": secret})[1:]  # RFC 6749 2.3.1
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        answer = await self._call("POST", provider.token_endpoint, data=fields, headers=headers)
        try:
            tokens = msgspec.json.decode(answer, type=Tokens)
            return read_id_token(
                tokens.id_token,
                keys,
                issuer=provider.issuer,
                client=self._client,
                nonce=started.nonce,
                groups_claim=self._settings.operator_oidc_groups,
                now=time.time(),
            )
        except ValueError as problem:
            log.warning("the provider's ID token cannot be used", cause=str(problem))
            self._provider = None  # its keys may be others by now
            raise Forbidden("the provider's answer cannot be used") from None

    async def _metadata(self) -> tuple[Provider, list[dict[str, Any]]]:
        """What the provider says of itself, and its keys. Raises ProviderUnavailable while it does not answer."""
        if self._provider is None or time.monotonic() > self._provider[0]:
            answer = await self._call("GET", self._issuer + "/.well-known/openid-configuration")
            try:
                provider = msgspec.json.decode(answer, type=Provider)
                if provider.issuer.rstrip("/") != self._issuer:
                    raise ValueError("its issuer is another one")
                keys = msgspec.json.decode(await self._call("GET", provider.jwks_uri))["keys"]
            except (ValueError, KeyError, TypeError) as problem:
                raise ProviderUnavailable(f"what it says of itself cannot be used: {problem}") from None
            self._provider = time.monotonic() + METADATA_SECONDS, provider, keys
        return self._provider[1:]

    async def _call(self, method: str, address: str, **more: Any) -> bytes:
        """The body of a successful answer. Raises ProviderUnavailable, or Forbidden if the provider does not know a code."""
        import aiohttp  # this and its TLS are loaded with the first login

        from batchseal.upstream.transport import route_of

        route, limits = route_of(self._settings), aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        # It is kept: to read the certificates of the system takes 40 ms, in which the worker answers nobody.
        tls = replace(route, client_certificate="").tls()
        if proxy := route.proxy_for(address):
            more |= {"proxy": proxy, "proxy_headers": route.authentication()}
        try:
            async with (
                aiohttp.ClientSession(timeout=limits) as session,
                session.request(method, address, allow_redirects=False, ssl=tls, **more) as answer,
            ):
                if (
                    method == "POST" and answer.status == 400
                ):  # RFC 6749 5.2: the code is wrong, was used, or has run out
                    raise Forbidden("the provider does not accept the code of this login; begin anew")
                if answer.status != 200:
                    raise ProviderUnavailable(f"it answers {answer.status}")
                body = bytearray()
                async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ProviderUnavailable(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
                return bytes(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise ProviderUnavailable(f"it cannot be reached: {problem}") from None
