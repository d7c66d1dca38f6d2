"""How many bytes level LT adds to a PDF beyond level T: `lt_bytes_kb`, in units of 1,000 bytes.

    python -m benchmarks.level_bytes

The material is what a chain of three has, with a time stamp authority: five certificates with RSA keys of 2,048 bits (issuer, root,
time stamp authority and its issuer, OCSP responder) beside those in the signature, one OCSP response with the certificate of its
responder in it, and one list. Certificates have from 0.9 to 1 KB each, the whole material 6.7 KB: as that of a test authority with
which files of these levels were tried with other validators.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from benchmarks.packagers import SIGNATURE_BYTES, credential
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from harness.invoices import invoice

from batchseal.document import Description, Evidence, Material, Prepared
from batchseal.formats import material
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType
from batchseal.signature import Level

AUTHORITIES = "Example Root", "Example Intermediate", "Example Time Stamps"


@cache
def key(owner: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def name(common_name: str) -> x509.Name:
    parts = (NameOID.COUNTRY_NAME, "PT"), (NameOID.ORGANIZATION_NAME, "Example Test")
    return x509.Name(
        [*(x509.NameAttribute(*part) for part in parts), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def certificate(subject: str, issuer: str, *more: x509.ExtensionType) -> x509.Certificate:
    now, is_authority = datetime.now(UTC), subject in AUTHORITIES
    uses = dict.fromkeys(
        ("data_encipherment", "key_agreement", "key_encipherment", "encipher_only", "decipher_only"), False
    )
    own = (not is_authority, not is_authority, is_authority, is_authority)
    usage = dict(zip(("digital_signature", "content_commitment", "key_cert_sign", "crl_sign"), own, strict=True))
    address = "http://127.0.0.1:9017/testing-ca/" + issuer.replace(" ", "-").lower()
    places = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{address}/ocsp")),
    ]
    lists = [x509.DistributionPoint([x509.UniformResourceIdentifier(f"{address}.crl")], None, None, None)]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(is_authority, None), True),
        (x509.KeyUsage(**usage, **uses), True),
        (x509.SubjectKeyIdentifier.from_public_key(key(subject).public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key(issuer).public_key()), False),
        # The root gives lists, and the authorities below it answer questions.
        (
            x509.CRLDistributionPoints(lists) if issuer == AUTHORITIES[0] else x509.AuthorityInformationAccess(places),
            False,
        ),
        *((one, False) for one in more),
    ]
    if subject == issuer:
        del extensions[4]  # nobody asks about a root
    builder = (
        x509.CertificateBuilder(name(issuer), name(subject), key(subject).public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )
    for one, critical in extensions:
        builder = builder.add_extension(one, critical)
    return builder.sign(key(issuer), hashes.SHA256())


@cache
def five_certificates() -> Material:
    root, issuing, stamping = AUTHORITIES
    now = datetime.now(UTC)
    responder = certificate(
        "OCSP Responder 1", issuing, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), x509.OCSPNoCheck()
    )
    issuer = certificate(issuing, root)
    certificates = [
        certificate(root, root),
        issuer,
        certificate(stamping, root),
        certificate("Time Stamping Unit 1", stamping, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])),
        responder,
    ]
    seal = certificate("Seal of a company", issuing)
    answer = ocsp.OCSPResponseBuilder().add_response(
        seal, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now, now + timedelta(days=1), None, None
    )
    response = answer.responder_id(ocsp.OCSPResponderEncoding.HASH, responder).certificates([responder])
    revoked = x509.CertificateRevocationListBuilder(name(root), now, now + timedelta(days=90))
    revoked = revoked.add_extension(x509.CRLNumber(17), False)
    return Material(
        tuple(one.public_bytes(Encoding.DER) for one in certificates),
        (response.sign(key("OCSP Responder 1"), hashes.SHA256()).public_bytes(Encoding.DER),),
        (revoked.sign(key(root), hashes.SHA256()).public_bytes(Encoding.DER),),
    )


def measure() -> dict[str, Any]:
    original, one = invoice(1, size_bytes=20_000), credential()
    found = five_certificates()
    stored, signature = material.encoded(found, one.chain, deflates=True), b"\x5a" * SIGNATURE_BYTES
    evidence = Evidence(signature, (hashlib.sha256(signature).digest(),), stored)
    lengths = {}
    for level in (Level.T, Level.LT):
        wanted = Description("bench", "bench.pdf", ContentType.PDF, "Fatura", "Oeiras", level=level)
        (prepared,) = Pades().prepare([(0, wanted, original)], one, datetime.now(UTC))
        if not isinstance(prepared, Prepared):
            raise RuntimeError(prepared.cause)
        lengths[level] = Pades().package(original, prepared, evidence, one).total_bytes
    parts = (*found.certificates, *found.ocsp_responses, *found.crls)
    return {
        "lt_bytes_kb": round((lengths[Level.LT] - lengths[Level.T]) / 1000, 3),
        "material_bytes": sum(map(len, parts)),
        "certificates": len(found.certificates),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
