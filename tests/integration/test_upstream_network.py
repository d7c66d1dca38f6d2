"""The network outside: a real forward proxy (tinyproxy) with and without a password, TLS with a private authority, client
certificates, and an upstream that only the proxy can reach.
"""

import datetime
import ipaddress
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from harness.misbehaving import Misbehaving, service
from harness.service import free_port
from harness.waiting import until
from tests.support.certificates import as_rfc5280_demands

from batchseal.errors import ConfigurationError, UpstreamAuthRefused, UpstreamError, UpstreamTransient
from batchseal.operation import Caller
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller("A")
PROXY_HOST = "127.0.0.3"  # the proxy connects to the upstream from this address
pytestmark = pytest.mark.skipif(not shutil.which("tinyproxy"), reason="tinyproxy is not installed")


def takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., int]]:
    processes = []

    def start(*lines: str) -> int:
        port = free_port()
        configuration = tmp_path / f"tinyproxy-{port}.conf"
        fixed = [f"Port {port}", "Listen 127.0.0.1", f"Bind {PROXY_HOST}", "Timeout 30", "MaxClients 50"]
        configuration.write_text("\n".join([*fixed, *lines]) + "\n")
        processes.append(subprocess.Popen(["tinyproxy", "-d", "-c", str(configuration)], stdout=subprocess.DEVNULL))
        until(lambda: takes_connections(port))
        return port

    yield start
    for process in processes:
        process.terminate()
        process.wait(120)


class Guarded(Misbehaving):
    """Answers only the proxy, and counts the requests that come directly."""

    direct = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if request.transport.get_extra_info("peername")[0] != PROXY_HOST:
            self.direct += 1
            request.transport.abort()
        return await super().handle(request)


class Pki:
    """A private authority, with the certificates of a server and of a client, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private CA")])
        self.ca = folder / "ca.pem"
        self.root = self.certificate("root", self.key, authority=True)
        self.ca.write_bytes(self.root)
        self.server, self.client = self.pair("server"), self.pair("client")

    def certificate(self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        subject = self.name if authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
        builder = as_rfc5280_demands(builder, key.public_key(), self.key.public_key(), authority=authority)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def pair(self, name: str) -> Path:
        key, path = ec.generate_private_key(ec.SECP256R1()), self.folder / f"{name}.pem"
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.write_bytes(self.certificate(name, key, authority=False) + key.private_bytes(*form))
        return path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.server)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


async def sign(upstream: RemoteUpstream) -> list[bytes | UpstreamError]:
    credential = await upstream.credential(CALLER)
    parts = upstream.sign(CALLER, credential, [b"d" * 32, b"e" * 32], request_key="k")
    return [value async for part in parts for _, value in part]


@pytest.mark.parametrize("password", ["", "s3cret-w0rd"])
@pytest.mark.parametrize("secure", [False, True])
async def test_through_a_proxy_only(
    start_proxy: Callable[..., int], tmp_path: Path, password: str, secure: bool
) -> None:
    port = start_proxy(*(["BasicAuth op s3cret-w0rd"] if password else []))
    double, pki = Guarded(), Pki(tmp_path)
    way: dict[str, Any] = {"proxy_hostname": "127.0.0.1", "proxy_port": port}
    tls: dict[str, Any] = {"ca_bundle": str(pki.ca), "client_certificate": str(pki.client)} if secure else {}
    double.tls = pki.context() if secure else None
    user: dict[str, Any] = {"proxy_user": "op", "proxy_password": password} if password else {}
    async with service(tmp_path, double, **way, **tls, **user) as upstream:
        assert all(isinstance(value, bytes) for value in await sign(upstream))
        assert double.direct == 0
        address = f"{'https' if secure else 'http'}://127.0.0.1:{double.port}"
        services = ClientServices.load(tmp_path / "client-services-config.json")
        direct = RemoteUpstream(Settings(service_domain=address, no_proxy="127.0.0.1", **way, **tls), services)
        with pytest.raises(UpstreamError):
            await direct.credential(CALLER)
        assert double.direct > 0
        await direct.close()
        if password:
            wrong = RemoteUpstream(
                Settings(service_domain=address, proxy_user="op", proxy_password="no", **way, **tls), services
            )
            with pytest.raises((UpstreamTransient, UpstreamAuthRefused)) as refused:
                await wrong.credential(CALLER)
            assert "s3cret" not in refused.value.cause
            await wrong.close()
        assert "s3cret" not in repr(Settings(proxy_password=password or "s3cret"))


@pytest.mark.parametrize("missing", ["ca_bundle", "client_certificate"])
async def test_without_trust_there_is_no_call(tmp_path: Path, missing: str) -> None:
    double, pki = Misbehaving(), Pki(tmp_path)
    double.tls = pki.context()
    tls: dict[str, Any] = {"ca_bundle": str(pki.ca), "client_certificate": str(pki.client)}
    tls[missing] = ""
    async with service(tmp_path, double, **tls) as upstream:
        with pytest.raises(UpstreamError):
            await upstream.credential(CALLER)
    assert double.calls == {}


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    double, pki = Misbehaving(), Pki(tmp_path)
    double.tls = pki.context()
    double.tls.verify_mode = ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1"):  # noqa: PT031 (both settings warn, and both are needed)
        double.tls.minimum_version = ssl.TLSVersion.TLSv1
        double.tls.maximum_version = ssl.TLSVersion.TLSv1_1
    double.tls.set_ciphers("ALL:@SECLEVEL=0")
    async with service(tmp_path, double, ca_bundle=str(pki.ca)) as upstream:
        with pytest.raises(UpstreamTransient):
            await upstream.credential(CALLER)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "client-services-config.json"
    path.write_text('{"A": {"secret": "s"}}')
    for name in ("ca_bundle", "client_certificate"):
        given: dict[str, Any] = {name: str(path)}
        settings = Settings(service_domain="https://signing.example", **given)
        with pytest.raises(ConfigurationError, match="client-certificate"):
            RemoteUpstream(settings, ClientServices.load(path))


async def test_two_secrets_while_rotating(tmp_path: Path) -> None:
    double = Misbehaving()
    double.client_secret = "new"
    async with service(tmp_path, double) as upstream:
        path = tmp_path / "client-services-config.json"
        path.write_text('{"A": {"secret": "newer", "previousSecret": "new"}}')
        assert all(isinstance(value, bytes) for value in await sign(upstream))
        assert double.calls["token"] == 2
        path.write_text('{"A": {"secret": "newer", "previousSecret": ')
        assert all(isinstance(value, bytes) for value in await sign(upstream))
        double.client_secret = "newer"
        double.tokens.clear()
        path.write_text('{"A": {"secret": "newer"}}')
        assert all(isinstance(value, bytes) for value in await sign(upstream))
    entry = ClientServices.load(path).get("A")
    assert entry is not None
    assert entry.accepts("newer")
    assert not entry.accepts("new")
