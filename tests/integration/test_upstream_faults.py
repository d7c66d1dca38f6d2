"""What the signing service does wrong, one kind of fault at a time and all mixed, over sockets."""

import asyncio
import base64
import datetime
import hashlib
import json
import random
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID

from batchseal.config import Settings
from batchseal.errors import (
    CredentialUnusable,
    ItemRejected,
    UpstreamAuthExpired,
    UpstreamAuthRefused,
    UpstreamError,
    UpstreamPermanent,
    UpstreamQuotaGone,
    UpstreamTransient,
)
from batchseal.operation import Caller
from batchseal.services import ClientServices
from batchseal.upstream import csc, lane
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller("A")


def make_signer():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Misbehaving")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return key, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Misbehaving:
    """A CSC v1 service that asks `fault(path, number of the call to that path)` what to do wrong."""

    def __init__(self, multisign=10):
        self.multisign, self.fault = multisign, lambda path, number: ""
        self.key, self.certificate = make_signer()
        self.calls, self.sent, self.token = {}, {}, ""
        self.most_at_once = self.at_once = 0
        self.latency = 0.0

    async def handle(self, request):
        path = request.path.rpartition("/")[2]
        number = self.calls[path] = self.calls.get(path, 0) + 1
        body = await request.text()
        fault = self.fault(path, number)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.latency:
                await asyncio.sleep(self.latency / 5 if path == "token" else self.latency)
            if path == "token":
                self.token = f"token-{number}"
                return web.json_response({"access_token": self.token, "expires_in": 3600})
            if request.headers.get("Authorization") not in (f"Bearer {self.token}", None):
                return web.json_response({"error": "invalid_token"}, status=401)
            return await self.misbehave(request, fault, path, json.loads(body))
        finally:
            self.at_once -= 1

    async def misbehave(self, request, fault, path, body):
        if fault == "reset":
            request.transport.abort()
        answer = getattr(self, "answer_" + path)(body)
        if fault == "reset after":
            request.transport.abort()
        if fault.isdigit() or fault.startswith("429"):
            headers = {"Retry-After": fault.partition(" ")[2]} if " " in fault else {}
            return web.json_response({"error": "some_error"}, status=int(fault[:3]), headers=headers)
        if fault == "quota":
            return web.json_response({"error": "quota_exceeded"}, status=429)
        if fault == "html":
            return web.Response(text="<html>Please sign in", content_type="text/html")
        if fault == "truncated":
            return web.Response(text=json.dumps(answer)[:-9], content_type="application/json")
        if fault == "drip":
            response = web.StreamResponse()
            await response.prepare(request)
            for byte in json.dumps(answer):
                await response.write(byte.encode())
                await asyncio.sleep(0.2)
        values = answer.get("signatures", [])
        if fault == "fewer":
            del values[len(values) // 2 :]
        if fault == "order":
            random.Random(len(values)).shuffle(values)
        if fault == "wrong":
            values[0] = self.sign(bytes(32))
        return web.json_response(answer)

    def answer_list(self, body):
        return {"credentialIDs": ["one"]}

    def answer_info(self, body):
        key = {"status": "enabled", "algo": ["1.2.840.10045.4.3.2"]}
        certificates = [base64.b64encode(self.certificate).decode()]
        answer = {"key": key, "cert": {"certificates": certificates}, "authMode": "implicit"}
        return {**answer, "SCAL": "2", "multisign": self.multisign}

    def answer_authorize(self, body):
        assert body["numSignatures"] == len(body["hash"]) == len(set(body["hash"])) <= self.multisign
        return {"SAD": "S:" + ",".join(body["hash"]), "expiresIn": 60}

    def answer_signHash(self, body):
        assert body["SAD"] == "S:" + ",".join(body["hash"])
        for text in body["hash"]:
            self.sent[text] = self.sent.get(text, 0) + 1
        return {"signatures": [self.sign(base64.b64decode(text)) for text in body["hash"]]}

    def sign(self, digest):
        return base64.b64encode(self.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))).decode()


@asynccontextmanager
async def service(tmp_path, double, **settings):
    """The upstream of client service A over `double`."""
    application = web.Application(client_max_size=1 << 24)
    application.router.add_post("/{path:.*}", double.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    path = tmp_path / "client-services-config.json"
    path.write_text('{"A": {"secret": "s"}}')
    path.chmod(0o600)
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    upstream = RemoteUpstream(Settings(service_domain=address, **settings), ClientServices.load(path))
    try:
        yield upstream
    finally:
        await upstream.close()
        await runner.cleanup()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(lane, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(csc, "SIGN_SECONDS", 0.5)


async def sign_all(upstream, count, **how):
    """Every position once; the signatures verified by code that is not the upstream's."""
    digests = [hashlib.sha256(b"%d" % n).digest() for n in range(count)]
    credential = await upstream.credential(CALLER)
    certificate = x509.load_der_x509_certificate(credential.chain[0])
    results = {}
    async for part in upstream.sign(CALLER, credential, digests, request_key="k", **how):
        for position, value in part:
            assert position not in results
            results[position] = value
            if not isinstance(value, UpstreamError):
                certificate.public_key().verify(value, digests[position], ec.ECDSA(Prehashed(hashes.SHA256())))
    assert sorted(results) == list(range(count))
    return [results[position] for position in range(count)]


FAULTS = ["reset", "reset after", "drip", "401", "429 0", "500", "503", "html", "truncated", "fewer", "order", "wrong"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_kind_on_every_fifth_call(tmp_path, fault):
    double = Misbehaving()
    double.fault = lambda path, number: fault if path == "signHash" and number % 5 == 2 else ""
    async with service(tmp_path, double) as upstream:
        results = await sign_all(upstream, 100)
    assert all(isinstance(value, bytes) for value in results)
    assert 10 <= double.calls["signHash"] <= 15 and max(double.sent.values()) <= 5


@pytest.mark.parametrize("seed", range(5))
async def test_all_kinds_mixed_on_all_calls(tmp_path, seed):
    double, chance = Misbehaving(), random.Random(seed)
    kinds = [kind for kind in FAULTS if kind != "drip"]
    double.fault = lambda path, number: chance.choice(kinds) if chance.random() < 0.2 else ""
    async with service(tmp_path, double) as upstream:
        for _ in range(5):  # reading the credential is not what this is about
            try:
                await upstream.credential(CALLER)
                break
            except UpstreamError:
                continue
        results = await sign_all(upstream, 300)
    # A document in five faulty calls is given up, with its reason; it takes its call with it.
    assert sum(isinstance(value, bytes) for value in results) >= 270 and max(double.sent.values()) <= 5


@pytest.mark.parametrize(
    ("fault", "error", "calls"),
    [("wrong", ItemRejected, 3), ("500", UpstreamTransient, 3), ("401", UpstreamAuthExpired, 3),
     ("404", UpstreamPermanent, 1), ("403", UpstreamAuthRefused, 1), ("quota", UpstreamQuotaGone, 1)],
)  # fmt: skip
async def test_what_does_not_end_is_given_up(tmp_path, fault, error, calls):
    double = Misbehaving()
    double.fault = lambda path, number: fault if path == "signHash" else ""
    async with service(tmp_path, double, upstream_tries=3) as upstream:
        results = await sign_all(upstream, 5)
    failed = [value for value in results if isinstance(value, UpstreamError)]
    assert [type(value) for value in failed] == [error] * (1 if fault == "wrong" else 5)
    assert double.calls["signHash"] == calls


async def test_calls_are_full_and_limited_in_number(tmp_path):
    double = Misbehaving(multisign=1000)
    double.latency = 0.05
    async with service(tmp_path, double) as upstream:
        await sign_all(upstream, 2500)
        assert double.calls["signHash"] == double.calls["authorize"] == 3
        double.multisign, double.calls = 10, {}
        await upstream.close()
    double.most_at_once = 0
    async with service(tmp_path, double) as upstream:
        await sign_all(upstream, 200)
    assert double.calls["signHash"] == 20 and double.most_at_once == 4


async def test_a_token_that_ends_is_renewed_once_for_all(tmp_path):
    double, chance = Misbehaving(), random.Random(1)
    async with service(tmp_path, double) as upstream:
        await upstream.credential(CALLER)
        account = next(iter(upstream._accounts.values()))

        async def call():
            await asyncio.sleep(chance.random() / 10)
            return await upstream.service.credentials(account)

        double.token, double.latency = "ended", 0.05
        assert await asyncio.gather(*(call() for _ in range(64))) == [["one"]] * 64
        # 401s for the old token go on arriving when the new one is there already: they must not drop it.
        assert double.calls["token"] == 2
        double.token = "ended again"
        results = await sign_all(upstream, 64)
    assert all(isinstance(value, bytes) for value in results) and double.calls["token"] == 3


async def test_a_pause_that_is_asked_for_is_kept_by_all_calls(tmp_path):
    double, moments = Misbehaving(multisign=5), []

    def fault(path, number):
        if path == "signHash":
            moments.append(time.monotonic())
        return "429 1" if path == "signHash" and number == 1 else ""

    double.fault = fault
    async with service(tmp_path, double) as upstream:

        async def later():
            await asyncio.sleep(0.2)
            return await sign_all(upstream, 5)

        await asyncio.gather(sign_all(upstream, 5), later())
    assert moments[1] - moments[0] >= 0.99


async def test_a_pause_too_long_to_wait_for_is_handed_back(tmp_path):
    double = Misbehaving()
    double.fault = lambda path, number: "429 3000" if path == "signHash" else ""
    async with service(tmp_path, double) as upstream:
        results = await sign_all(upstream, 3)
    assert [value.retry_after_seconds for value in results] == [3000.0] * 3 and results[0].try_again


async def test_a_certificate_renewed_in_the_middle_is_noticed(tmp_path):
    double = Misbehaving()
    async with service(tmp_path, double) as upstream:
        before = await upstream.credential(CALLER)
        double.key, double.certificate = make_signer()
        results = [v async for part in upstream.sign(CALLER, before, [b"d" * 32], request_key="k") for _, v in part]
        assert isinstance(results[0], CredentialUnusable) and "renewed" in results[0].cause
        after = await upstream.credential(CALLER)
        assert after.fingerprint != before.fingerprint
        assert all(isinstance(value, bytes) for value in await sign_all(upstream, 5))
