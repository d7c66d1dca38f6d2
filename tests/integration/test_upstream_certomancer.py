"""An independent CSC v1 server as the signing service (certomancer; skipped where it is not installed)."""

import functools
import hashlib
import json

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from batchseal.config import Settings
from batchseal.errors import CredentialUnusable
from batchseal.operation import Caller
from batchseal.services import ClientServices
from batchseal.upstream.remote import RemoteUpstream

registry = pytest.importorskip("certomancer.registry")
dummy = pytest.importorskip("csc_dummy.csc_dummy_server")

VALID = 'validity: {valid-from: "2020-01-01T00:00:00+0000", valid-to: "2050-01-01T00:00:00+0000"}'
CONFIGURATION = f"""
external-url-prefix: "http://127.0.0.1:9000"
keysets:
  t:
    path-prefix: keys
    keys:
      root: {{path: root.pem}}
      interm: {{path: interm.pem}}
      seal-rsa: {{path: seal-rsa.pem}}
      seal-ec: {{path: seal-ec.pem}}
pki-architectures:
  testing-ca:
    keyset: t
    entity-defaults: {{country-name: PT, organization-name: Peer}}
    entities:
      root: {{common-name: Peer Root}}
      interm: {{common-name: Peer Intermediate}}
      seal-rsa: {{common-name: Seal RSA}}
      seal-ec: {{common-name: Seal EC}}
    certs:
      root: {{subject: root, issuer: root, {VALID}, profiles: [{{id: simple-ca, params: {{max-path-len: 1}}}}]}}
      interm: {{subject: interm, issuer: root, {VALID}, profiles: [{{id: simple-ca, params: {{max-path-len: 0}}}}]}}
      seal-rsa: {{subject: seal-rsa, issuer: interm, {VALID}, profiles: [{{id: digsig-commitment}}]}}
      seal-ec: {{subject: seal-ec, issuer: interm, {VALID}, profiles: [{{id: digsig-commitment}}]}}
"""


def write_pki(folder):
    (folder / "keys").mkdir()
    for name in ("root", "interm", "seal-rsa", "seal-ec"):
        if name == "seal-rsa":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "keys" / f"{name}.pem").write_bytes(key.private_bytes(*form))
    (folder / "certomancer.yml").write_text(CONFIGURATION)
    return registry.CertomancerConfig.from_file(
        str(folder / "certomancer.yml"), str(folder), config_search_dir=str(folder)
    )


async def issue_token(request):
    """What the peer lacks."""
    return web.json_response({"access_token": "any", "token_type": "Bearer", "expires_in": 60})


@pytest.fixture
async def peer(tmp_path, monkeypatch):
    # The peer parses its key for each signature, and would be what is measured.
    load = functools.lru_cache(serialization.load_der_private_key)
    monkeypatch.setattr(serialization, "load_der_private_key", lambda data, password: load(data, password))
    parameters = dummy.DummyServiceParams(hash_pinning_required=True, multisign=500)
    server = dummy.CSCWithCertomancer(write_pki(tmp_path), service_params=parameters)
    server.register_routes()
    server.app.router.add_post("/oauth2/authorization-server/oauth/token", issue_token)
    runner = web.AppRunner(server.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("kind", ["rsa", "ec"])
async def test_signs_with_an_independent_server(peer, tmp_path, kind):
    path = tmp_path / "client-services-config.json"
    entry = {"secret": "s", "credentialId": f"testing-ca/seal-{kind}"}
    path.write_text(json.dumps({"A": entry, "several": {"secret": "s"}}))
    upstream = RemoteUpstream(Settings(service_domain=peer), ClientServices.load(path))
    assert await upstream.health() is None
    with pytest.raises(CredentialUnusable, match="testing-ca/seal-rsa"):
        await upstream.credential(Caller("several"))
    credential = await upstream.credential(Caller("A"))
    assert credential.key_type == kind and len(credential.chain) == 3
    digests, results = [hashlib.sha256(b"%d" % n).digest() for n in range(1200)], {}
    async for part in upstream.sign(Caller("A"), credential, digests, request_key="k"):
        results.update(part)
    key = x509.load_der_x509_certificate(credential.chain[0]).public_key()
    for position, digest in enumerate(digests):
        if kind == "rsa":
            key.verify(results[position], digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        else:
            key.verify(results[position], digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    await upstream.close()
