"""Signing with an independent CSC v1 server (certomancer), which stamps and answers about its certificates too."""

import hashlib
import io
import json
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from harness import certomancer_peer, web_end
from harness.waiting import eventually
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.fetchers.aiohttp_fetchers import AIOHttpFetcherBackend
from tests.support.certomancer import process
from tests.support.long_term import cades_level
from tests.support.parts import running_parts
from tests.support.upstream import CONTENTS, Running, running_service

from batchseal.errors import CredentialUnusable
from batchseal.operation import Caller, OperationStatus
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.signature import Level, SignatureDefaults
from batchseal.signer.pace import Pace
from batchseal.store.revocation_answers import RevocationAnswers
from batchseal.system.backoff import Backoff
from batchseal.upstream.certification_path import CertificationPaths
from batchseal.upstream.inquiry import Inquiry
from batchseal.upstream.remote import RemoteUpstream
from batchseal.upstream.revocation import Revocation
from batchseal.upstream.transport import Route
from batchseal.upstream.trust import Roots


class Peer:
    """certomancer, with the methods that `running_service` expects of a double."""

    def __init__(self, address):
        self.address = address

    async def start(self):
        return self.address

    async def stop(self):
        pass


@pytest.fixture
async def peer(tmp_path, monkeypatch):
    monkeypatch.setattr(
        serialization, "load_der_private_key", serialization.load_der_private_key
    )  # the peer replaces it; monkeypatch restores it after the test
    runner, address = await certomancer_peer.start(tmp_path / "peer", multisign=500)
    yield address
    await web_end.end(runner)


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
    digests, results = [hashlib.sha256(b"%d" % n).digest() for n in range(1200)], dict[int, Any]()
    async for part in upstream.sign(Caller("A"), credential, digests, request_key="k"):
        results.update(part)
    key: Any = x509.load_der_x509_certificate(credential.chain[0]).public_key()
    for position, digest in enumerate(digests):
        if kind == "rsa":
            key.verify(results[position], digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        else:
            key.verify(results[position], digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    await upstream.close()


async def test_time_stamps_and_revocation_of_an_independent_authority(peer, tmp_path, connect_store):
    instance, services = uuid4(), (tmp_path / "peer" / "services").read_text()
    root = tmp_path / "peer" / "root.pem"
    settings: dict[str, Any] = {"timestamp_urls": f"{services}/tsa/tsa", "timestamp_roots": str(root)}
    async with running_service(connect_store, instance, tmp_path, Peer(peer), **settings) as running:
        entry = {"secret": "s", "credentialId": "testing-ca/seal-ec"}
        (tmp_path / "client-services-config.json").write_text(json.dumps({"A": entry}))
        row, results = await running.finished((await running.submit("b-t", CONTENTS[:4], applyTimestamp=True)).id)
    assert row.status is OperationStatus.EXECUTED
    _, _, der = pem.unarmor(root.read_bytes())
    async with ClientSession() as session:
        context = ValidationContext(
            trust_roots=[asn1_x509.Certificate.load(der)],
            allow_fetching=True,
            revocation_mode="require",  # needs the OCSP responder and the CRLs of the peer
            fetcher_backend=AIOHttpFetcherBackend(session),
        )
        for result in results:
            (signature,) = PdfFileReader(io.BytesIO(b"".join(result.segments))).embedded_signatures
            status = await async_validate_pdf_signature(signature, context, context)
            assert status.bottom_line and status.timestamp_validity is not None
            assert status.timestamp_validity.valid and status.timestamp_validity.trusted
        assert context.ocsps and context.crls


async def test_a_responder_that_comes_back(tmp_path, connect_store):
    """Until then nothing is signed with the certificate; afterwards each document is signed once, and reaches its level."""
    folder = tmp_path / "peer"
    with process(folder, "--status-elsewhere") as signs:
        root, services = folder / "root.pem", (folder / "services").read_text()
        path = tmp_path / "client-services-config.json"
        path.write_text(json.dumps({"A": {"secret": "s", "credentialId": "testing-ca/seal-ec"}}))
        settings = Settings(service_domain=signs, timestamp_urls=f"{services}/tsa/tsa", timestamp_roots=str(root))
        inquiry, instance = Inquiry(Route(), ["127.0.0.1"]), uuid4()
        answers = RevocationAnswers((await connect_store(instance)).database)
        paths = CertificationPaths(lambda: [Roots(str(root))], inquiry)
        revocation = Revocation(inquiry, paths, answers, failed_seconds=0.2)
        upstream = RemoteUpstream(settings, ClientServices.load(path), revocation=revocation)
        async with running_parts(
            connect_store,
            upstream,
            tmp_path,
            instance=instance,
            materials=revocation,
            pace=Pace(between_tries=Backoff(0.1, 0.1)),
            signature_defaults=lambda client_service: SignatureDefaults(Level.LTA),
        ) as parts:
            running = Running(parts.service, None, tmp_path, upstream, parts.ledger, parts, parts.offer)  # type: ignore[arg-type]
            row = await running.submit("waits", [b"x" * 1000] * 3, signatureType="CAdES")

            async def is_waiting():
                found = await parts.service.status_by_id(Caller("A"), row.id)
                return found.status is OperationStatus.EXECUTION_ERROR

            await eventually(is_waiting)
            assert (await upstream.state()).numbers["batchseal_upstream_sign_calls_total"] == 0
            with process(folder, "--status"):
                row, results = await running.finished(row.id)
            assert row.status is OperationStatus.EXECUTED
            assert [cades_level(b"".join(one.segments), b"x" * 1000) for one in results] == ["LTA"] * 3
            assert (await upstream.state()).numbers["batchseal_upstream_sign_calls_total"] == 1
        await upstream.close()
