"""certomancer's CSC v1 server, wrapped as an upstream to measure against: `python -m harness.certomancer_peer FOLDER`.

Its key is parsed once (else the peer would be what is measured), and it gets a token address. Prints its address; the root's
certificate is FOLDER/root.pem. Its time stamps, OCSP answers and CRLs are at an address of their own, which FOLDER/services
holds.
"""

import asyncio
import functools
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from asn1crypto import pem
from certomancer import registry
from certomancer.integrations.aiohttp_animator import build_animator_app
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from csc_dummy import csc_dummy_server as dummy

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
    services:
      ocsp:
        interm: {{for-issuer: interm, responder-cert: ocsp, signing-key: ocsp}}
      crl-repo:
        root: {{for-issuer: root, signing-key: root, simulated-update-schedule: P90D}}
        interm: {{for-issuer: interm, signing-key: interm, simulated-update-schedule: P30D}}
      time-stamping:
        tsa: {{signing-key: tsa, signing-cert: tsa}}
"""


def write_pki(folder: Path, prefix: str) -> Any:
    (folder / "keys").mkdir(parents=True)
    for name in ("root", "interm", "seal-rsa", "seal-ec", "tsa", "ocsp"):
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if name == "seal-rsa":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "keys" / f"{name}.pem").write_bytes(key.private_bytes(*form))
    path = folder / "certomancer.yml"
    path.write_text(CONFIGURATION.replace("PREFIX", prefix))
    return registry.CertomancerConfig.from_file(str(path), str(folder), config_search_dir=str(folder))


async def issue_token(request: web.Request) -> web.Response:
    """What the peer lacks."""
    return web.json_response({"access_token": "any", "token_type": "Bearer", "expires_in": 3600})


@functools.cache
def cached_load() -> Any:
    return functools.lru_cache(serialization.load_der_private_key)


async def start(folder: Path, multisign: int) -> tuple[web.AppRunner, str]:
    """The running server and its address. Sees to it that the key is parsed once."""
    load = cached_load()
    # The peer calls it with these two arguments and no others.
    serialization.load_der_private_key = lambda data, password: load(data, password)  # type: ignore[misc, assignment]
    port = free_port()
    configuration = write_pki(folder, f"http://127.0.0.1:{port}")
    parameters = dummy.DummyServiceParams(hash_pinning_required=True, multisign=multisign)
    server = dummy.CSCWithCertomancer(configuration, service_params=parameters)
    server.register_routes()
    server.app.router.add_post("/oauth2/authorization-server/oauth/token", issue_token)
    label = registry.ArchLabel("testing-ca")
    root = configuration.get_pki_arch(label).get_cert(registry.CertLabel("root"))
    (folder / "services").write_text(f"http://127.0.0.1:{port}/testing-ca")
    (folder / "root.pem").write_bytes(pem.armor("CERTIFICATE", root.dump()))
    others = web.AppRunner(build_animator_app({label: configuration.get_pki_arch(label)}), access_log=None)
    await others.setup()
    await web.TCPSite(others, "127.0.0.1", port).start()
    server.app.on_cleanup.append(lambda app: others.cleanup())
    runner = web.AppRunner(server.app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main(folder: Path) -> None:
    _, address = await start(folder, multisign=1000)
    print(address, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
