"""An independent CSC v1 server as the signing service (certomancer; skipped where it is not installed)."""

import hashlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from batchseal.config import Settings
from batchseal.errors import CredentialUnusable
from batchseal.operation import Caller
from batchseal.services import ClientServices
from batchseal.upstream.remote import RemoteUpstream

pytest.importorskip("csc_dummy.csc_dummy_server")
certomancer_peer = pytest.importorskip("benchmarks.certomancer_peer")


@pytest.fixture
async def peer(tmp_path, monkeypatch):
    monkeypatch.setattr(
        serialization, "load_der_private_key", serialization.load_der_private_key
    )  # put back afterwards
    runner, address = await certomancer_peer.start(tmp_path / "peer", multisign=500)
    yield address
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
