"""The HTTP endpoints of the sandbox: bearer tokens, CSC v1.0.4 under /csc/v1, time stamps, OCSP and CRLs.

Owns the checks of requests, the signing of digests, and the choice of the port. Promises that a client service reaches only its
own signer. Leaves keys and certificates to `authority`, the state of tokens and grants to `grants`, time stamp tokens to
`timestamps`, and the status of certificates to `status`.
"""

import asyncio
import base64
import binascii
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from batchseal.errors import ConfigurationError
from batchseal.sandbox.authority import Authority, Signer, stored_port
from batchseal.sandbox.calls import SignCalls
from batchseal.sandbox.certificates import CRL_PATH, ISSUERS_PATH, OCSP_PATH
from batchseal.sandbox.grants import Grants, Tokens
from batchseal.sandbox.status import StatusAuthority
from batchseal.sandbox.timestamps import TimestampAuthority
from batchseal.settings.client_services import ClientServices

TOKEN_PATH = "/oauth2/authorization-server/oauth/token"  # noqa: S105
RSA_ENCRYPTION, SHA256_WITH_RSA = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11"
EC_PUBLIC_KEY, ECDSA_WITH_SHA256 = "1.2.840.10045.2.1", "1.2.840.10045.4.3.2"
SHA256, P256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.3.1.7"
METHODS = (
    "credentials/list",
    "credentials/info",
    "credentials/authorize",
    "credentials/extendTransaction",
    "signatures/signHash",
)
SIGNING_SLICE = 64  # signatures in one task of a thread, so that other calls get a turn between two tasks
PREHASHED = Prehashed(hashes.SHA256())
HOST = "127.0.0.1"
BACKLOG = 1024  # connections that wait to be accepted
# How long the port that certificates name is waited for: a sandbox before this one may still be about to end.
PORT_TRIES, PORT_PAUSE_SECONDS = 20, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """The options of the sandbox.

    `port` 0 means the one that its certificates name, or a free one; `multisign` is the largest number of digests in one call;
    `status_seconds` is how long an OCSP answer or a CRL is valid.
    """

    folder: Path
    services_file: Path
    credential: str = "rsa3072"
    latency_ms: int = 0
    multisign: int = 1000
    port: int = 0
    token_seconds: int = 3600
    grant_seconds: int = 600
    status_seconds: int = 86400
    scal: str = "2"


def refused(error: str, description: str, status: int = 400) -> web.HTTPException:
    """An exception that aiohttp answers as a CSC error. The caller must raise it."""
    kind = web.HTTPUnauthorized if status == 401 else web.HTTPBadRequest
    body = msgspec.json.encode({"error": error, "error_description": description})
    return kind(body=body, content_type="application/json")


def answer(content: dict[str, Any]) -> web.Response:
    """A successful JSON answer."""
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")


def sign_digests(signer: Signer, digests: Sequence[bytes]) -> list[str]:
    """Signatures over SHA-256 digests, in base64: PKCS#1 v1.5 (RFC 8017 8.2), or ECDSA as DER."""
    key = signer.key
    if isinstance(key, rsa.RSAPrivateKey):
        scheme = padding.PKCS1v15()
        values = (key.sign(digest, scheme, PREHASHED) for digest in digests)
    else:
        algorithm = ec.ECDSA(PREHASHED)
        values = (key.sign(digest, algorithm) for digest in digests)
    return [base64.b64encode(value).decode() for value in values]


class Sandbox:
    """The handlers of all requests, at `address`. Each call is delayed by `latency_ms`, to imitate a network; tokens are not."""

    def __init__(self, options: SandboxOptions, address: str) -> None:
        self.options = options
        self.authority = Authority(options.folder, options.credential, address)
        self.status = StatusAuthority(self.authority, options.status_seconds)
        self.signatures: Counter[str] = Counter()
        """How many signatures were given, by credential."""
        self.calls = SignCalls()
        self.stamps: Counter[str] = Counter()
        """How many requests for time stamps were answered: "given"."""
        self.services = ClientServices.load(options.services_file, remarks=False)
        self.timestamps: TimestampAuthority | None = None
        self.tokens = Tokens(options.token_seconds)
        self.grants = Grants(options.grant_seconds)
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, "sandbox-sign")
        # One signer at a time is created: otherwise key generation could take all threads.
        self.making = asyncio.Lock()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=(1 << 20) + 256 * self.options.multisign)
        csc = {
            "credentials/list": self.list_credentials,
            "credentials/info": self.describe_credential,
            "credentials/authorize": self.authorize,
            "credentials/extendTransaction": self.extend,
            "signatures/signHash": self.sign_hash,
        }
        application.router.add_post(TOKEN_PATH, self.issue_token)
        application.router.add_post("/csc/v1/info", self.describe_service)
        application.router.add_post("/tsa", self.stamp)
        application.router.add_post(OCSP_PATH, self.tell_status)
        application.router.add_get(OCSP_PATH + "/{request:.+}", self.tell_status, allow_head=False)
        application.router.add_get(CRL_PATH + "/{issuer}.crl", self.list_revoked, allow_head=False)
        application.router.add_get(ISSUERS_PATH + "/{issuer}.cer", self.show_issuer, allow_head=False)
        application.router.add_get("/sandbox/requests", self.count_requests)
        application.router.add_get("/sandbox/calls", self.count_calls)
        for method, handler in csc.items():
            application.router.add_post(f"/csc/v1/{method}", self.authenticated(handler))
        return application

    async def issue_token(self, request: web.Request) -> web.Response:
        """Issues a token for client credentials (RFC 6749 4.4): in a Basic header, the form or the query."""
        form = await request.post()
        given = {name: str(value) for source in (request.query, form) for name, value in source.items()}
        client_id, secret = given.get("client_id", ""), given.get("client_secret", "")
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
            except ValueError:
                raise refused("invalid_client", "The Basic credentials cannot be read", 401) from None
        if given.get("grant_type") != "client_credentials":
            raise refused("unsupported_grant_type", "grant_type must be client_credentials")
        self.services.reload_if_changed()
        service = self.services.get(client_id) or self.services.get(unquote_plus(client_id))
        if service is None or not (service.accepts(secret) or service.accepts(unquote_plus(secret))):
            raise refused("invalid_client", "Unknown client or wrong secret", 401)
        token, token_id = self.tokens.issue(service.id)
        return answer(
            {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": self.options.token_seconds,
                "scope": "service",
                "jti": token_id,
            }
        )

    def authenticated(
        self, handler: Callable[[Signer, dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Wraps a CSC method: checks the bearer token, reads the JSON body, adds the latency, and passes the caller's signer."""

        async def handle(request: web.Request) -> web.Response:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            client_service = self.tokens.client_service(token.strip()) if scheme.lower() == "bearer" else None
            signs = request.path.endswith("/signatures/signHash")
            with self.calls.one(client_service, token) if signs and client_service else nullcontext():
                body = await self.read_body(request)
                if client_service is None:
                    raise refused("invalid_token", "The access token is invalid or has expired", 401)
                return answer(await handler(await self.signer(client_service), body))

        return handle

    async def delay(self) -> None:
        if self.options.latency_ms:
            await asyncio.sleep(self.options.latency_ms / 1000)

    async def read_body(self, request: web.Request) -> dict[str, Any]:
        await self.delay()
        try:
            return msgspec.json.decode(await request.read() or b"{}", type=dict[str, Any])
        except msgspec.DecodeError:
            raise refused("invalid_request", "The body is not a JSON object") from None

    async def signer(self, client_service: str) -> Signer:
        if made := self.authority.made.get(client_service):
            return made
        async with self.making:
            return await asyncio.get_running_loop().run_in_executor(self.threads, self.authority.signer, client_service)

    async def describe_service(self, request: web.Request) -> web.Response:
        await self.read_body(request)
        return answer(
            {
                "specs": "1.0.4.0",
                "name": "Batchseal sandbox",
                "logo": "",
                "region": "PT",
                "lang": "en-US",
                "description": "Signs for tests. Its certificates are worth nothing.",
                "authType": ["oauth2client"],
                "oauth2": str(request.url.origin()) + "/oauth2/authorization-server/",
                "methods": METHODS,
            }
        )

    async def list_credentials(self, signer: Signer, body: dict[str, Any]) -> dict[str, Any]:
        return {"credentialIDs": [signer.credential_id]}

    async def describe_credential(self, signer: Signer, body: dict[str, Any]) -> dict[str, Any]:
        self.check_credential(signer, body)
        chain = signer.chain_der()
        wanted = {"none": 0, "single": 1, "chain": len(chain)}.get(body.get("certificates") or "single", 0)
        is_rsa = isinstance(signer.key, rsa.RSAPrivateKey)
        key: dict[str, Any] = {"status": "enabled", "len": signer.key.key_size}
        key["algo"] = [RSA_ENCRYPTION, SHA256_WITH_RSA] if is_rsa else [EC_PUBLIC_KEY, ECDSA_WITH_SHA256]
        if not is_rsa:
            key["curve"] = P256
        certificates = [base64.b64encode(der).decode() for der in chain[:wanted]]
        return {
            "description": "Sandbox seal",
            "key": key,
            "cert": {"status": "valid", "certificates": certificates},
            "authMode": "implicit",
            "SCAL": self.options.scal,
            "multisign": self.options.multisign,
            "lang": "en-US",
        }

    async def authorize(self, signer: Signer, body: dict[str, Any]) -> dict[str, Any]:
        self.check_credential(signer, body)
        digests = read_digests(body, required=self.options.scal == "2")
        count = body.get("numSignatures")
        if not isinstance(count, int) or not 1 <= count <= self.options.multisign:
            raise refused("invalid_request", f"numSignatures is not from 1 to {self.options.multisign}")
        if digests and len(digests) != count:
            raise refused("invalid_request", "numSignatures is not the number of digests")
        # Without digests (SCAL 1) the grant is bound to the number of signatures alone: b"" stands for each of them.
        sad = self.grants.issue(signer.credential_id, digests or [b""] * count)
        return {"SAD": sad, "expiresIn": self.options.grant_seconds}

    async def extend(self, signer: Signer, body: dict[str, Any]) -> dict[str, Any]:
        self.check_credential(signer, body)
        digests = read_digests(body, required=False)
        sad = self.grants.extend(str(body.get("SAD")), signer.credential_id, digests)
        if sad is None:
            raise refused("invalid_request", "Invalid parameter SAD")
        return {"SAD": sad, "expiresIn": self.options.grant_seconds}

    async def sign_hash(self, signer: Signer, body: dict[str, Any]) -> dict[str, Any]:
        self.check_credential(signer, body)
        check_algorithm(signer, body)
        digests = read_digests(body, required=True)
        if len(digests) > self.options.multisign:
            raise refused("invalid_request", f"More than {self.options.multisign} digests in a call")
        sad = str(body.get("SAD"))
        if not (
            self.grants.use(sad, signer.credential_id, digests)
            or (self.options.scal == "1" and self.grants.use(sad, signer.credential_id, [b""] * len(digests)))
        ):
            raise refused("invalid_request", "Invalid parameter SAD: unknown, expired, used, or for other digests")
        loop, signatures = asyncio.get_running_loop(), list[str]()
        for start in range(0, len(digests), SIGNING_SLICE):
            part = digests[start : start + SIGNING_SLICE]
            signatures += await loop.run_in_executor(self.threads, sign_digests, signer, part)
        self.signatures[signer.credential_id] += len(signatures)
        return {"signatures": signatures}

    async def stamp(self, request: web.Request) -> web.Response:
        """Answers a time stamp request over HTTP (RFC 3161 3.4)."""
        if self.timestamps is None:
            self.timestamps = TimestampAuthority(self.authority.timestamper())
        await self.delay()
        body = self.timestamps.reply(await request.read())
        self.stamps["given"] += 1
        return web.Response(body=body, content_type="application/timestamp-reply")

    async def tell_status(self, request: web.Request) -> web.Response:
        """Answers an OCSP request: DER in the body, or its base64, percent-encoded, at the end of the address (RFC 6960 A.1)."""
        await self.delay()
        if request.method == "POST":
            data = await request.read()
        else:
            try:
                data = base64.b64decode(unquote(request.rel_url.raw_path.removeprefix(OCSP_PATH + "/")), validate=True)
            except ValueError:
                data = b""  # which is no request; the answer says so
        return web.Response(body=self.status.ocsp(data), content_type="application/ocsp-response")

    async def list_revoked(self, request: web.Request) -> web.Response:
        """Answers with the CRL of an issuer (RFC 2585 4)."""
        await self.delay()
        try:
            body = self.status.crl(request.match_info["issuer"])
        except KeyError:
            raise web.HTTPNotFound from None
        except ConfigurationError as problem:
            raise web.HTTPInternalServerError(text=problem.cause) from None
        return web.Response(body=body, content_type="application/pkix-crl")

    async def show_issuer(self, request: web.Request) -> web.Response:
        """Answers with the certificate of an issuer (RFC 2585 4)."""
        await self.delay()
        try:
            body = self.status.issuer(request.match_info["issuer"])
        except KeyError:
            raise web.HTTPNotFound from None
        return web.Response(body=body, content_type="application/pkix-cert")

    async def count_requests(self, request: web.Request) -> web.Response:
        """For tests: how often the status of certificates was asked for, and how many signatures and stamps were given."""
        counts = {**self.status.requests, "signatures": self.signatures, "stamps": self.stamps}
        return answer({kind: dict(counted) for kind, counted in counts.items()})

    async def count_calls(self, request: web.Request) -> web.Response:
        """For tests: how many sign calls were made, and how many callers had some under way at once, by client service."""
        return answer({"made": dict(self.calls.made), "callers_at_once": dict(self.calls.callers_at_once)})

    def check_credential(self, signer: Signer, body: dict[str, Any]) -> None:
        if body.get("credentialID") != signer.credential_id:
            raise refused("invalid_request", "Invalid parameter credentialID")


def check_algorithm(signer: Signer, body: dict[str, Any]) -> None:
    """Refuses a `signAlgo` that does not fit the key, and a `hashAlgo` other than SHA-256, or missing where it must be given."""
    implied = SHA256_WITH_RSA if isinstance(signer.key, rsa.RSAPrivateKey) else ECDSA_WITH_SHA256
    plain = RSA_ENCRYPTION if isinstance(signer.key, rsa.RSAPrivateKey) else EC_PUBLIC_KEY
    if body.get("signAlgo") not in (implied, plain):
        raise refused("invalid_request", "Invalid parameter signAlgo")
    if body.get("hashAlgo") not in ((SHA256, None) if body["signAlgo"] == implied else (SHA256,)):
        raise refused("invalid_request", "Invalid parameter hashAlgo")


def read_digests(body: dict[str, Any], *, required: bool) -> list[bytes]:
    """The digests in the parameter `hash`: each must be 32 bytes in base64. Raises a CSC error."""
    texts = body.get("hash") or []
    if required and not texts:
        raise refused("invalid_request", "Missing (or invalid type) array parameter hash")
    try:
        digests = [base64.b64decode(text, validate=True) for text in texts]
    except (TypeError, ValueError, binascii.Error):
        raise refused("invalid_request", "Invalid base64 in parameter hash") from None
    if any(len(digest) != 32 for digest in digests):
        raise refused("invalid_request", "A digest in parameter hash is not 32 bytes long")
    return digests


async def listen(port: int, named_port: int) -> socket.socket:
    """A socket that listens on loopback at `port`. Raises OSError.

    If `port` is 0, it listens at `named_port`, which certificates name, so that they need not be replaced (see `authority`). It
    takes a free port if they name none, or if another program has that one.
    """
    if port or not named_port:
        return socket.create_server((HOST, port), backlog=BACKLOG)
    for _ in range(PORT_TRIES):
        try:
            return socket.create_server((HOST, named_port), backlog=BACKLOG)
        except OSError:
            await asyncio.sleep(PORT_PAUSE_SECONDS)
    return socket.create_server((HOST, 0), backlog=BACKLOG)


async def serve(options: SandboxOptions, ready: Callable[[str], None]) -> None:
    """Serves on loopback until it is cancelled. Calls `ready` with its address as soon as it accepts requests."""
    with await listen(options.port, stored_port(options.folder)) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        sandbox = Sandbox(options, address)
        runner = web.AppRunner(sandbox.application(), access_log=None, handle_signals=False, keepalive_timeout=75)
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            ready(address)
            for service in list(sandbox.services)[:4]:  # so that their first calls need not wait for key generation
                await sandbox.signer(service.id)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            sandbox.threads.shutdown(wait=False, cancel_futures=True)
