"""A key and certificate made on the spot, and CMS built from asn1crypto objects: a second opinion on our packaging.

RSA, since iText 5 does not know the standard identifier of ECDSA with SHA-256 and could not verify.
"""

import datetime
import hashlib
from dataclasses import dataclass
from functools import cache

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

CONTENTS_BYTES = 4096


def _certificate(
    subject: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, is_ca: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ("data_encipherment", "key_agreement", "key_encipherment", "encipher_only", "decipher_only"), False
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_ca, content_commitment=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@dataclass(frozen=True)
class LocalSigner:
    """Signs digests of documents as detached CAdES CMS."""

    key: rsa.RSAPrivateKey
    certificate: asn1_x509.Certificate
    root_der: bytes
    root_pem: bytes

    def cms(self, digest: bytes) -> bytes:
        """SignedData over a SHA-256 document digest, with signing-certificate-v2 and without signing-time."""
        identifier = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(self.certificate.dump()).digest()})
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["data"]},
                {"type": "message_digest", "values": [digest]},
                {
                    "type": "signing_certificate_v2",
                    "values": [tsp.SigningCertificateV2({"certs": [identifier]})],
                },
            ]
        )
        signature = self.key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    "issuer_and_serial_number",
                    {"issuer": self.certificate.issuer, "serial_number": self.certificate.serial_number},
                ),
                "digest_algorithm": sha256,
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_rsa"},
                "signature": core.OctetString(signature),
            }
        )
        data = cms.SignedData(
            {
                "version": "v1",
                "digest_algorithms": [sha256],
                "encap_content_info": {"content_type": "data"},
                "certificates": [self.certificate],
                "signer_infos": [signer],
            }
        )
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": data}).dump())

    def complete(self, original: bytes, head: bytes, reserved_bytes: int, tail: bytes) -> bytes:
        """The signed file of a planned update."""
        digest = hashlib.sha256(original)
        digest.update(head)
        digest.update(tail)
        value = self.cms(digest.digest()).hex().encode()
        return b"".join([original, head, b"<", value.ljust(reserved_bytes - 2, b"0"), b">", tail])


@cache
def local_signer() -> LocalSigner:
    """One signer a process, under a root of its own."""
    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root = _certificate("Test root", root_key, "Test root", root_key, is_ca=True)
    leaf = _certificate("Test signer", key, "Test root", root_key, is_ca=False)
    der = serialization.Encoding.DER
    return LocalSigner(
        key,
        asn1_x509.Certificate.load(leaf.public_bytes(der)),
        root.public_bytes(der),
        root.public_bytes(serialization.Encoding.PEM),
    )
