"""certomancer's CSC v1 server, wrapped as an upstream to measure against: `python -m harness.certomancer_peer FOLDER`.

Its key is parsed once (else the peer would be what is measured), and it gets a token address. Prints its address; the root's
certificate is FOLDER/root.pem. Its time stamps, OCSP answers and CRLs are at an address of their own, which FOLDER/services
holds.

With `--status-elsewhere` the certificates name another address, at which nobody answers until a second process does, which
`python -m harness.certomancer_peer FOLDER --status` is. It prints the address, and tells at `/asked` what it was asked for.
"""

import asyncio
import functools
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from asn1crypto import pem
from certomancer import registry
from certomancer.integrations.aiohttp_animator import build_animator_app
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from csc_dummy import csc_dummy_server as dummy

from harness import web_end
from harness.service import free_port

VALID = 'validity: {valid-from: "2020-01-01T00:00:00+0000", valid-to: "2050-01-01T00:00:00+0000"}'
CONFIGURATION = f"""
external-url-prefix: "PREFIX"
keysets:
  t:
    path-prefix: keys
    keys:
      root: {{path: root.pem}}
      interm: {{path: interm.pem}}
      seal-rsa: {{path: seal-rsa.pem}}
      seal-ec: {{path: seal-ec.pem}}
      seal-revoked: {{path: seal-revoked.pem}}
      seal-listed: {{path: seal-listed.pem}}
      seal-late: {{path: seal-late.pem}}
      tsa: {{path: tsa.pem}}
      ocsp: {{path: ocsp.pem}}
pki-architectures:
  testing-ca:
    keyset: t
    entity-defaults: {{country-name: PT, organization-name: Peer}}
    entities:
      root: {{common-name: Peer Root}}
      interm: {{common-name: Peer Intermediate}}
      seal-rsa: {{common-name: Seal RSA}}
      seal-ec: {{common-name: Seal EC}}
      seal-revoked: {{common-name: Seal revoked}}
      seal-listed: {{common-name: Seal on the list}}
      seal-late: {{common-name: Seal late}}
      tsa: {{common-name: Peer TSA}}
      ocsp: {{common-name: Peer OCSP}}
    certs:
      root: {{subject: root, issuer: root, {VALID}, profiles: [{{id: simple-ca, params: {{max-path-len: 1}}}}]}}
      interm:
        subject: interm
        issuer: root
        {VALID}
        profiles: [{{id: simple-ca, params: {{max-path-len: 0}}}}]
        extensions:
          - {{id: crl_distribution_points, smart-value: {{schema: crl-dist-url, params: {{crl-repo-names: [root]}}}}}}
      ocsp: {{subject: ocsp, issuer: interm, {VALID}, profiles: [ocsp-responder]}}
      tsa:
        subject: tsa
        issuer: root
        {VALID}
        extensions:
          - {{id: key_usage, critical: true, smart-value: {{schema: key-usage, params: [digital_signature]}}}}
          - {{id: extended_key_usage, critical: true, value: [time_stamping]}}
          - {{id: crl_distribution_points, smart-value: {{schema: crl-dist-url, params: {{crl-repo-names: [root]}}}}}}
      seal-rsa: &seal
        subject: seal-rsa
        issuer: interm
        {VALID}
        profiles: [{{id: digsig-commitment}}]
        extensions:
          - id: authority_information_access
            smart-value: {{schema: aia-urls, params: {{ocsp-responder-names: [interm]}}}}
          - {{id: crl_distribution_points, smart-value: {{schema: crl-dist-url, params: {{crl-repo-names: [interm]}}}}}}
      seal-ec:
        <<: *seal
        subject: seal-ec
      seal-revoked:
        <<: *seal
        subject: seal-revoked
        revocation: &revoked {{revoked-since: "2024-05-01T00:00:00+0000", reason: key_compromise}}
      seal-listed:
        <<: *seal
        subject: seal-listed
        revocation: *revoked
        extensions:
          - {{id: crl_distribution_points, smart-value: {{schema: crl-dist-url, params: {{crl-repo-names: [interm]}}}}}}
      seal-late:
        <<: *seal
        subject: seal-late
    services:
      ocsp:
        interm: {{for-issuer: interm, responder-cert: ocsp, signing-key: ocsp}}
      crl-repo:
        root: {{for-issuer: root, signing-key: root, simulated-update-schedule: P90D}}
        interm: {{for-issuer: interm, signing-key: interm, simulated-update-schedule: P30D}}
      time-stamping:
        tsa: {{signing-key: tsa, signing-cert: tsa}}
"""


NAMES = ("root", "interm", "seal-rsa", "seal-ec", "seal-revoked", "seal-listed", "seal-late", "tsa", "ocsp")
LABEL = registry.ArchLabel("testing-ca")


def write_pki(folder: Path, prefix: str) -> Any:
    """Keys, and what certomancer is to make of them. `prefix` is the address that the certificates name."""
    (folder / "keys").mkdir(parents=True)
    for name in NAMES:
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if name == "seal-rsa":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "keys" / f"{name}.pem").write_bytes(key.private_bytes(*form))
    (folder / "certomancer.yml").write_text(CONFIGURATION.replace("PREFIX", prefix))
    return read_pki(folder)


def read_pki(folder: Path) -> Any:
    path = folder / "certomancer.yml"
    return registry.CertomancerConfig.from_file(str(path), str(folder), config_search_dir=str(folder))


async def serve(app: web.Application, port: int) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def start_status(folder: Path) -> str:
    """Starts to answer about certificates at the address that they name, and returns it."""
    address = (folder / "status").read_text()
    asked: Counter[str] = Counter()

    @web.middleware
    async def count(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path == "/asked":
            return web.json_response(asked)
        asked[request.path] += 1
        return await handler(request)

    app = build_animator_app({LABEL: read_pki(folder).get_pki_arch(LABEL)})
    app.middlewares.insert(0, count)
    await serve(app, int(address.rpartition(":")[2]))
    return address


async def issue_token(request: web.Request) -> web.Response:
    """What the peer lacks."""
    return web.json_response({"access_token": "any", "token_type": "Bearer", "expires_in": 3600})


@functools.cache
def cached_load() -> Any:
    return functools.lru_cache(serialization.load_der_private_key)


async def start(folder: Path, multisign: int, *, status_elsewhere: bool = False) -> tuple[web.AppRunner, str]:
    """The running server and its address. Sees to it that the key is parsed once."""
    load = cached_load()
    # The peer calls it with these two arguments and no others.
    serialization.load_der_private_key = lambda data, password: load(data, password)  # type: ignore[misc, assignment]
    port = free_port()
    status = f"http://127.0.0.1:{free_port() if status_elsewhere else port}"
    configuration = write_pki(folder, status)
    parameters = dummy.DummyServiceParams(hash_pinning_required=True, multisign=multisign)
    server = dummy.CSCWithCertomancer(configuration, service_params=parameters)
    server.register_routes()
    server.app.router.add_post("/oauth2/authorization-server/oauth/token", issue_token)
    architecture = configuration.get_pki_arch(LABEL)
    root = architecture.get_cert(registry.CertLabel("root"))
    (folder / "services").write_text(f"http://127.0.0.1:{port}/testing-ca")
    (folder / "status").write_text(status)
    (folder / "root.pem").write_bytes(pem.armor("CERTIFICATE", root.dump()))
    others = await serve(build_animator_app({LABEL: architecture}), port)
    server.app.on_cleanup.append(lambda app: web_end.end(others))
    runner = await serve(server.app, 0)
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main(folder: Path, *options: str) -> None:
    if "--status" in options:
        address = await start_status(folder)
    else:
        _, address = await start(folder, multisign=1000, status_elsewhere="--status-elsewhere" in options)
    print(address, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
