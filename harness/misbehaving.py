"""A CSC v1 service that misbehaves on purpose, for tests and drills: fourteen kinds of fault, on the calls that are chosen."""

import asyncio
import base64
import datetime
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID

from batchseal.errors import UpstreamError
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.upstream.credential_facts import CredentialNotes
from batchseal.upstream.interface import Upstream
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace
from batchseal.upstream.remote import RemoteUpstream
from harness import web_end

KINDS = [
    *("refused", "reset", "reset after", "timeout", "drip", "401", "429 0", "500", "503"),
    *("html", "truncated", "fewer", "order", "wrong"),
]
REFUSED_SECONDS = 0.01


def make_signer() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Misbehaving")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return key, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Misbehaving:
    """Asks `fault(path, number of the call to that path)` what to do wrong. `sent` counts how often each digest came."""

    def __init__(self, multisign: int = 10, port: int = 0) -> None:
        self.multisign = multisign
        self.fault: Callable[[str, int], str] = lambda path, number: ""
        self.key, self.certificate = make_signer()
        self.calls: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.keys: dict[str, int] = {}  # request keys of sign calls
        self.rejects: set[str] = set()  # digests in base64
        self.client_secret = ""  # any will do
        self.token, self.token_prefix = "", "token-"
        self.tokens: set[str] = set()
        self.most_at_once = self.at_once = 0
        self.latency = 0.0
        self.may_sign: asyncio.Event | None = None  # sign calls wait for it
        self.drip_seconds = 1.0  # between two bytes of an answer that drips
        self.host, self.port = "127.0.0.1", port
        self.tls: ssl.SSLContext | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Returns the address."""
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/{path:.*}", self.handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await self._listen()
        self.port = self._runner.addresses[0][1]
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    async def stop(self) -> None:
        await asyncio.gather(*self._tasks)
        if self._runner:
            await web_end.end(self._runner)

    async def _listen(self) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls)
        await self._site.start()

    async def _refuse(self, site: web.TCPSite) -> None:
        """Closes the door for a moment, and what is open besides."""
        assert self._runner is not None
        assert self._runner.server is not None
        await web_end.stop_listening(site)
        for connection in list(self._runner.server.connections):
            if connection._current_request is None and connection.transport:
                connection.transport.abort()
        await asyncio.sleep(REFUSED_SECONDS)
        await self._listen()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rpartition("/")[2]
        number = self.calls[path] = self.calls.get(path, 0) + 1
        body = await request.text()
        fault = self.fault(path, number)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.latency:
                await asyncio.sleep(self.latency / 5 if path == "token" else self.latency)
            if path == "signHash" and self.may_sign is not None:
                await self.may_sign.wait()
            if path == "token":
                expected = base64.b64encode(f"A:{self.client_secret}".encode()).decode()
                if self.client_secret and request.headers.get("Authorization") != f"Basic {expected}":
                    return web.json_response({"error": "invalid_client"}, status=401)
                self.token = f"{self.token_prefix}{number}"
                self.tokens.add(self.token)
                return web.json_response({"access_token": self.token, "expires_in": 3600})
            if not self.knows(request.headers.get("Authorization")):
                return web.json_response({"error": "invalid_token"}, status=401)
            return await self.misbehave(request, fault, path, json.loads(body))
        finally:
            self.at_once -= 1

    def knows(self, authorization: str | None) -> bool:
        return authorization is None or authorization.removeprefix("Bearer ") in self.tokens

    async def misbehave(self, request: web.Request, fault: str, path: str, body: Any) -> web.StreamResponse:
        if fault == "reset" and request.transport:
            request.transport.abort()
        answer = getattr(self, "answer_" + path)(body)
        if fault == "reset after" and request.transport:
            request.transport.abort()
        if fault == "timeout":
            await asyncio.sleep(5)
        if fault == "refused" and self._site is not None:
            site, self._site = self._site, None
            task = asyncio.create_task(self._refuse(site))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(0)
            response = web.json_response(answer)
            response.force_close()
            return response
        if path == "signHash" and self.rejects.intersection(body["hash"]):
            return web.json_response({"error": "invalid_request"}, status=400)
        if fault[:3].isdigit():
            headers = {"Retry-After": fault.partition(" ")[2]} if " " in fault else {}
            return web.json_response({"error": "some_error"}, status=int(fault[:3]), headers=headers)
        if fault == "echo":  # some repeat what they were sent
            said = f"bad header {request.headers.get('Authorization')} in {json.dumps(body)}"
            return web.json_response({"error": "invalid_request", "error_description": said}, status=400)
        if fault == "quota":
            return web.json_response({"error": "quota_exceeded"}, status=429)
        if fault == "html":
            return web.Response(text="<html>Please sign in", content_type="text/html")
        if fault == "truncated":
            return web.Response(text=json.dumps(answer)[:-9], content_type="application/json")
        if fault == "drip":
            return await self.drip(request, json.dumps(answer))
        values = answer.get("signatures", [])
        if fault == "fewer":
            del values[len(values) // 2 :]
        if fault == "order":
            random.Random(len(values)).shuffle(values)
        if fault == "wrong" and values:
            values[0] = self.sign(bytes(32))
        return web.json_response(answer)

    async def drip(self, request: web.Request, text: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in text:
            await response.write(byte.encode())
            await asyncio.sleep(self.drip_seconds)
        return response

    def answer_info(self, body: Any) -> dict[str, Any]:
        if "credentialID" not in body:
            return {"specs": "1.0.4.0", "name": "Misbehaving", "methods": []}
        return self.answer_credential()

    def answer_list(self, body: Any) -> dict[str, Any]:
        return {"credentialIDs": ["one"]}

    def answer_credential(self) -> dict[str, Any]:
        key = {"status": "enabled", "algo": ["1.2.840.10045.4.3.2"]}
        certificates = [base64.b64encode(self.certificate).decode()]
        answer = {"key": key, "cert": {"certificates": certificates}, "authMode": "implicit"}
        return {**answer, "SCAL": "2", "multisign": self.multisign}

    def answer_authorize(self, body: Any) -> dict[str, Any]:
        assert body["numSignatures"] == len(body["hash"]) == len(set(body["hash"])) <= self.multisign
        return {"SAD": "S:" + ",".join(body["hash"]), "expiresIn": 60}

    def answer_signHash(self, body: Any) -> dict[str, Any]:
        assert body["SAD"] == "S:" + ",".join(body["hash"])
        for text in body["hash"]:
            self.sent[text] = self.sent.get(text, 0) + 1
        self.keys[body["clientData"]] = self.keys.get(body["clientData"], 0) + 1
        return {"signatures": [self.sign(base64.b64decode(text)) for text in body["hash"]]}

    def sign(self, digest: bytes) -> str:
        return base64.b64encode(self.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))).decode()


@asynccontextmanager
async def service(
    folder: Path,
    double: Misbehaving,
    *,
    upstream_pace: UpstreamPace = DEFAULT_PACE,
    notes: CredentialNotes | None = None,
    **settings: Any,
) -> AsyncIterator[RemoteUpstream]:
    """The upstream of client service A over `double`. `notes` keeps what operators see of credentials."""
    address = await double.start()
    path = folder / "client-services-config.json"
    path.write_text('{"A": {"secret": "s"}}')
    path.chmod(0o600)
    upstream = RemoteUpstream(
        Settings(service_domain=address, **settings), ClientServices.load(path), upstream_pace, notes=notes
    )
    try:
        yield upstream
    finally:
        await upstream.close()
        await double.stop()


async def sign_in_runs(upstream: Upstream, caller: Caller, digests: list[bytes], tries: int = 5) -> list[Any]:
    """What `Signing` does for one operation: runs, until each digest has its signature or its last error."""
    credential = await upstream.credential(caller)
    results: dict[int, bytes | UpstreamError] = {}
    budget = [tries] * len(digests)
    waiting = list(range(len(digests)))
    while waiting:
        left, again = [budget[number] for number in waiting], []
        sent = [digests[number] for number in waiting]
        async for part in upstream.sign(caller, credential, sent, request_key="key", budget=left):
            for index, value in part:
                number = waiting[index]
                assert number not in results
                assert number not in again
                budget[number] = left[index]
                if isinstance(value, UpstreamError) and value.try_again and left[index] > 0:
                    again.append(number)
                else:
                    results[number] = value
        waiting = sorted(again)
        await asyncio.sleep(0.05 if waiting else 0)
    return [results[number] for number in range(len(digests))]
