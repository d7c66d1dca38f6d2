"""Each signature algorithm of CSC, from the list in the credential to the signed PDF, which pyHanko and pdfsig validate."""

import asyncio
import base64
import datetime
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID
from harness.misbehaving import Misbehaving
from harness.validators import pdfsig_verify
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from tests.support.upstream import CONTENTS, running_service

from batchseal.algorithms import pss_parameters
from batchseal.operation import OperationStatus
from batchseal.store import Store


@dataclass(frozen=True)
class Algorithm:
    oid: str
    digest: Any
    curve: Any = None  # None: RSA
    pss: bool = False


ALGORITHMS = {
    "ecdsa p256 sha256": Algorithm("1.2.840.10045.4.3.2", hashes.SHA256(), ec.SECP256R1()),
    "ecdsa p384 sha384": Algorithm("1.2.840.10045.4.3.3", hashes.SHA384(), ec.SECP384R1()),
    "ecdsa p384 sha512": Algorithm("1.2.840.10045.4.3.4", hashes.SHA512(), ec.SECP384R1()),
    "rsa sha256": Algorithm("1.2.840.113549.1.1.11", hashes.SHA256()),
    "rsa sha384": Algorithm("1.2.840.113549.1.1.12", hashes.SHA384()),
    "rsa sha512": Algorithm("1.2.840.113549.1.1.13", hashes.SHA512()),
    "pss sha256": Algorithm("1.2.840.113549.1.1.10", hashes.SHA256(), pss=True),
}


class Double(Misbehaving):
    """A signing service with one algorithm. It refuses calls that name another."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(multisign=5)
        self.algorithm = algorithm
        made = ec.generate_private_key(algorithm.curve) if algorithm.curve else rsa.generate_private_key(65537, 2048)
        self.private: Any = made
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Seal")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, made.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        self.certificate = builder.sign(made, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def answer_credential(self) -> dict[str, Any]:
        return {**super().answer_credential(), "key": {"status": "enabled", "algo": [self.algorithm.oid]}}

    def answer_signHash(self, body: Any) -> dict[str, Any]:
        assert body["signAlgo"] == self.algorithm.oid
        assert {len(base64.b64decode(text)) for text in body["hash"]} == {self.algorithm.digest.digest_size}
        parameters = base64.b64encode(pss_parameters(self.algorithm.digest.name).dump()).decode()
        assert body.get("signAlgoParams") == (parameters if self.algorithm.pss else None)
        return super().answer_signHash(body)

    def sign(self, digest: bytes) -> str:
        prehashed = Prehashed(self.algorithm.digest)
        if self.algorithm.curve:
            value = self.private.sign(digest, ec.ECDSA(prehashed))
        elif self.algorithm.pss:
            scheme = padding.PSS(padding.MGF1(self.algorithm.digest), self.algorithm.digest.digest_size)
            value = self.private.sign(digest, scheme, prehashed)
        else:
            value = self.private.sign(digest, padding.PKCS1v15(), prehashed)
        return base64.b64encode(value).decode()


def judged(signed: bytes, root: bytes) -> Any:
    context = ValidationContext(trust_roots=[asn1_x509.Certificate.load(root)], allow_fetching=False)
    (signature,) = PdfFileReader(io.BytesIO(signed)).embedded_signatures
    return validate_pdf_signature(signature, context)


@pytest.mark.parametrize("name", ALGORITHMS)
async def test_signs_by(name: str, connect_store: Callable[..., Awaitable[Store]], tmp_path: Path) -> None:
    algorithm, instance = ALGORITHMS[name], uuid4()
    double = Double(algorithm)
    async with running_service(connect_store, instance, tmp_path, double) as running:
        row, results = await running.finished((await running.submit("r", CONTENTS[:7])).id)
    assert row.status is OperationStatus.EXECUTED
    paths = []
    for number, result in enumerate(results):
        paths.append(tmp_path / f"{number}.pdf")
        paths[-1].write_bytes(b"".join(result.segments))
    status = await asyncio.to_thread(judged, paths[0].read_bytes(), double.certificate)
    assert status.bottom_line
    assert status.md_algorithm == algorithm.digest.name
    root = x509.load_der_x509_certificate(double.certificate).public_bytes(serialization.Encoding.PEM)
    verdicts = (await asyncio.to_thread(pdfsig_verify, paths, root)).values()
    assert all(found and all(signature.valid for signature in found) for found in verdicts)
    assert len(verdicts) == 7
