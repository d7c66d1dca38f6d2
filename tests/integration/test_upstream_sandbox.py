"""The upstream with a sandbox process: signing, tokens, tokens that callers bring, and an outbound proxy in between."""

import asyncio
import base64
import datetime
import hashlib
import json
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness.service import free_port
from harness.stream_server import stream_server

from batchseal.errors import CredentialUnusable, UpstreamAuthRefused, UpstreamError, UpstreamTransient
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.upstream.remote import RemoteUpstream
from batchseal.upstream.tokens import ClientCredentials
from batchseal.upstream.transport import Transport

CALLER = Caller("A")


@contextmanager
def sandbox(folder, *options):
    with running_sandbox(folder, *options) as (_, address):
        yield address


@contextmanager
def running_sandbox(folder, *options):
    """The process and its address."""
    services = folder / "client-services-config.json"
    if not services.exists():
        services.write_text('{"A": {"secret": "secret-canary"}, "B": {"secret": "other"}}')
        services.chmod(0o600)
    command = [sys.executable, "-m", "batchseal.sandbox", f"--folder={folder / 'keys'}", f"--services={services}"]
    with subprocess.Popen([*command, "--credential=p256", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder and the address of a sandbox for tests that do not change or stop it."""
    folder = tmp_path_factory.mktemp("shared")
    with sandbox(folder) as address:
        yield folder, address


@asynccontextmanager
async def connected(folder, address, **settings):
    services = ClientServices.load(folder / "client-services-config.json")
    upstream = RemoteUpstream(Settings(service_domain=address + "/", **settings), services)
    try:
        yield upstream
    finally:
        await upstream.close()


async def sign_all(upstream, count, caller=CALLER):
    digests = [hashlib.sha256(b"%d" % n).digest() for n in range(count)]
    credential, results = await upstream.credential(caller), {}
    async for part in upstream.sign(caller, credential, digests, request_key="k"):
        results.update(part)
    assert sorted(results) == list(range(count))
    key: Any = x509.load_der_x509_certificate(credential.chain[0]).public_key()
    algorithm = Prehashed(hashes.SHA256())
    for position, value in results.items():
        if isinstance(value, UpstreamError):
            raise value
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, digests[position], padding.PKCS1v15(), algorithm)
        else:
            key.verify(value, digests[position], ec.ECDSA(algorithm))
    return credential


async def fetch_token(address):
    form = {"grant_type": "client_credentials", "client_id": "A", "client_secret": "secret-canary"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(address + "/oauth2/authorization-server/oauth/token", data=form) as answer,
    ):
        return (await answer.json())["access_token"]


@pytest.mark.parametrize("options", [("p256", "2"), ("p256", "1"), ("rsa2048", "2"), ("rsa3072", "1")])
async def test_signs_with_every_key_and_level(tmp_path, options):
    kind, scal = options
    with sandbox(tmp_path, f"--credential={kind}", f"--scal={scal}", "--multisign=40") as address:
        async with connected(tmp_path, address) as upstream:
            credential = await sign_all(upstream, 130)
    assert credential.key_type == ("ec" if kind == "p256" else "rsa") and len(credential.chain) == 3
    assert credential.signature_bytes == {"p256": 72, "rsa2048": 256, "rsa3072": 384}[kind]
    assert credential.fingerprint == hashlib.sha256(b"".join(credential.chain)).digest()


async def test_a_restart_of_the_service_is_lived_through(tmp_path):
    with running_sandbox(tmp_path, f"--port={free_port()}") as (first, address):
        async with connected(tmp_path, address) as upstream:
            before = await sign_all(upstream, 3)
            first.terminate()
            first.wait(120)
            # The second one does not know the tokens of the first one.
            with sandbox(tmp_path, "--grant-seconds=1", f"--port={address.rpartition(':')[2]}"):
                assert await sign_all(upstream, 3) == before


async def test_short_tokens_are_renewed_before_they_end(tmp_path, monkeypatch):
    """Time goes by for the upstream alone. With tokens of a few seconds, one would end on its way when the machine is busy."""
    rejected: list[Any] = []
    seconds, ahead, known_since = 250, [0.0], dict[str, float]()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr("batchseal.upstream.tokens.time", clock)

    def reject(self: ClientCredentials, token: Any) -> bool:
        rejected.append(token)
        return True

    monkeypatch.setattr(ClientCredentials, "reject", reject)
    with sandbox(tmp_path, f"--token-seconds={seconds}") as address:
        async with connected(tmp_path, address, upstream_tries=1) as upstream:
            while len(known_since) < 4:
                await sign_all(upstream, 2)
                (account,) = upstream.accounts
                since = known_since.setdefault(await account.tokens.token(), clock.monotonic())
                assert clock.monotonic() - since < seconds, "a token was used that had ended"
                ahead[0] += seconds / 8
    assert rejected == []


async def test_each_client_service_has_its_own_credential(shared):
    async with connected(*shared) as upstream:
        first, second = await asyncio.gather(sign_all(upstream, 3), sign_all(upstream, 3, Caller("B")))
        assert first.fingerprint != second.fingerprint
        with pytest.raises(UpstreamAuthRefused):
            await upstream.credential(Caller("nobody"))


async def test_a_rotated_secret_is_used_without_a_restart(tmp_path):
    path = tmp_path / "client-services-config.json"
    with sandbox(tmp_path) as address:
        async with connected(tmp_path, address) as upstream:
            await sign_all(upstream, 1)
            table = json.loads(path.read_text())
            path.write_text(json.dumps({**table, "A": {"secret": "rotated"}}))
            await sign_all(upstream, 1)
            assert [account for account in upstream.accounts if "canary" in repr(account)] == []


async def test_a_named_credential_must_exist(tmp_path):
    with sandbox(tmp_path) as address:
        path = tmp_path / "client-services-config.json"
        path.write_text('{"A": {"secret": "secret-canary", "credentialId": "no-such"}}')
        async with connected(tmp_path, address) as upstream:
            with pytest.raises(UpstreamError, match="credentialID"):
                await upstream.credential(CALLER)


async def test_several_credentials_are_listed_and_none_is_guessed(shared, monkeypatch):
    async with connected(*shared) as upstream:

        async def two(account):
            return ["seal-1", "seal-2"]

        monkeypatch.setattr(upstream.service, "credentials", two)
        with pytest.raises(CredentialUnusable, match="seal-1, seal-2"):
            await upstream.credential(CALLER)


async def test_health_names_what_is_wrong(tmp_path):
    with sandbox(tmp_path) as address:
        async with connected(tmp_path, address) as upstream:
            assert await upstream.health() is None
        path = tmp_path / "client-services-config.json"
        path.write_text('{"Z": {"secret": "secret-canary"}}')
        services = ClientServices.load(path)
        path.write_text('{"A": {"secret": "x"}}')
        services.reload_if_changed = lambda: False  # type: ignore[method-assign]
        upstream = RemoteUpstream(Settings(service_domain=address), services)
        problem = await upstream.health()
        assert problem is not None
        assert "401" in problem and "secret" in problem and "canary" not in problem
        await upstream.close()
    async with connected(tmp_path, address) as upstream:
        assert "no connection" in await upstream.health()
        with pytest.raises(UpstreamTransient):
            await upstream.credential(CALLER)


async def test_foreign_tokens_are_probed(tmp_path):
    with sandbox(tmp_path) as address:
        async with connected(tmp_path, address) as upstream:
            token = await fetch_token(address)
            assert await upstream.probe(token) == "A"
            head, claims, mac = token.split(".")
            forged = base64.urlsafe_b64encode(b'{"client_id":"B","exp":9999999999}').rstrip(b"=").decode()
            for bad in ("", "x", f"{head}.{forged}.{mac}", token[:-8] + "AAAAAAAA", f"{head}.{claims}", token + " "):
                assert await upstream.probe(bad) is None
    async with connected(tmp_path, address) as upstream:
        with pytest.raises(UpstreamTransient):
            await upstream.probe(token)


async def test_a_callers_own_token_signs_its_request(shared):
    token = await fetch_token(shared[1])
    async with connected(*shared) as upstream:
        await sign_all(upstream, 3, Caller("A", token))
        with pytest.raises(UpstreamAuthRefused):
            await upstream.credential(Caller("A", "made-up"))


class ForwardProxy:
    """An HTTP proxy (RFC 9112 3.2.2, absolute form) that notes the address of each request."""

    def __init__(self):
        self.requests = []

    async def __call__(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, version = head.split(b"\r\n")[0].split()
            self.requests.append(target.decode())
            host, _, path = target.removeprefix(b"http://").partition(b"/")
            name, port = host.decode().split(":")
            far_reader, far_writer = await asyncio.open_connection(name, int(port))
            lines = [b" ".join([method, b"/" + path, version]), b"Connection: close", *head.split(b"\r\n")[1:]]
            far_writer.write(b"\r\n".join(lines))
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)
        finally:
            writer.close()


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_everything_goes_through_the_outbound_proxy(shared):
    proxy = ForwardProxy()
    async with stream_server(proxy) as server:
        outbound = {"proxy_hostname": "127.0.0.1", "proxy_port": server.sockets[0].getsockname()[1]}
        async with connected(*shared, **outbound) as upstream:
            await sign_all(upstream, 3)
    assert {target.rpartition("/")[2] for target in proxy.requests} == {
        "token",
        "list",
        "info",
        "authorize",
        "signHash",
    }
    async with connected(*shared, **outbound) as upstream:
        assert "no connection" in await upstream.health()


async def test_many_callers_share_one_reading_and_one_failure(tmp_path, monkeypatch):
    posted, post = [], Transport.post

    async def counted(transport, path, **how):
        posted.append(path)
        return await post(transport, path, **how)

    monkeypatch.setattr(Transport, "post", counted)
    with running_sandbox(tmp_path) as (process, address):
        async with connected(tmp_path, address) as upstream:
            await asyncio.gather(*(upstream.credential(CALLER) for _ in range(20)))
            assert len(posted) == 4  # one of them is `info`, which tells the version
            process.terminate()
            process.wait(120)
            posted.clear()
            failures = await asyncio.gather(
                *(upstream.credential(CALLER, refresh=True) for _ in range(20)), return_exceptions=True
            )
            assert {type(failure) for failure in failures} == {UpstreamTransient} and len(posted) == 1
            assert (await upstream.credential(CALLER)).key_type == "ec"  # the cached key can still be used


async def test_an_untrusted_certificate_ends_the_call_before_the_secret_is_sent(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(1)).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "tls.pem").write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")
    seen = []

    async def see(reader, writer):
        seen.append(reader)

    (tmp_path / "client-services-config.json").write_text('{"A": {"secret": "s"}}')
    async with stream_server(see, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with connected(tmp_path, f"https://localhost:{port}") as upstream:
            with pytest.raises(UpstreamTransient, match="not trusted"):
                await upstream.credential(CALLER)
    assert seen == []
