"""A small public key infrastructure in memory: a root, a signer, a time stamp authority, and what tells of their revocation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.support.signing_keys import DIGESTS, Key, Signer, signer

from batchseal.document import Material

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


class SmallPki:
    """`Materials` as well: an OCSP response about the signer, a CRL about what the root has issued."""

    def __init__(self, digest_algorithm: str = "sha256", kind: str = "p256") -> None:
        """`kind` is that of the signer's key, as `signing_keys.signer` names it. The others are P-256."""
        self.root = self.issued("Root", None)
        self.leaf = self.issued("Seal", self.root, key=signer(kind).key)
        self.authority = self.issued("Time", self.root, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]))
        chain = (self.leaf.der, self.root.der)
        fingerprint = hashlib.sha256(b"".join(chain)).digest()
        of_kind = signer(kind).credential
        credential = replace(of_kind, chain=chain, digest_algorithm=digest_algorithm, fingerprint=fingerprint)
        self.signer = Signer(self.leaf.key, credential)
        self.asked = 0
        self.behind = timedelta()
        """How long ago its time stamps were given."""

    def issued(
        self,
        name: str,
        by: Issued | None,
        *more: x509.ExtensionType,
        key: Key | None = None,
        is_authority: bool = False,
        ends: timedelta = 9 * DAY,
    ) -> Issued:
        """A certificate of ours with these further extensions, valid from yesterday until `ends` from now.

        Without `by` it signs itself, and is that of an authority.
        """
        key, is_authority = key or ec.generate_private_key(ec.SECP256R1()), is_authority or by is None
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(
            by.certificate.subject if by else subject, subject, key.public_key(), x509.random_serial_number()
        )
        now = datetime.now(UTC)
        builder = builder.not_valid_before(now - DAY).not_valid_after(now + ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        signs, issues = not is_authority, is_authority
        usage = x509.KeyUsage(signs, signs, False, False, False, issues, issues, False, False)
        builder = builder.add_extension(usage, critical=True)
        for extension in more:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.ExtendedKeyUsage))
        return Issued(key, builder.sign(by.key if by else key, hashes.SHA256()))

    def token(self, imprint: bytes) -> bytes:
        """A time stamp token about a SHA-256 digest."""
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3",
                "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": imprint},
                "serial_number": 1,
                "gen_time": (datetime.now(UTC) - self.behind).replace(microsecond=0),
            }
        )
        certificate = asn1_x509.Certificate.load(self.authority.der)
        # SHA-512, since SHA-256 is the default, which is left out: asn1crypto encodes whatever holds a default again and again.
        certified = {
            "hash_algorithm": {"algorithm": "sha512"},
            "cert_hash": hashlib.sha512(self.authority.der).digest(),
        }
        named = tsp.SigningCertificateV2({"certs": [certified]})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "signing_certificate_v2", "values": [named]}),
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(info.dump()).digest()]}),
            ]
        )
        assert isinstance(self.authority.key, ec.EllipticCurvePrivateKey)
        info_of_signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    {
                        "issuer_and_serial_number": {
                            "issuer": certificate.issuer,
                            "serial_number": certificate.serial_number,
                        }
                    }
                ),
                "digest_algorithm": {"algorithm": "sha256"},
                "signed_attrs": attributes,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
                "signature": self.authority.key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
            }
        )
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [{"algorithm": "sha256"}],
                "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info.dump())},
                "certificates": [certificate],
                "signer_infos": [info_of_signer],
            }
        )
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())

    async def check(self, chain: Sequence[bytes]) -> None:
        pass

    async def material(self, chains: Sequence[Sequence[bytes]]) -> Material:
        self.asked += 1
        return self.present()

    def present(self) -> Material:
        now = datetime.now(UTC)
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                self.leaf.certificate,
                self.root.certificate,
                hashes.SHA256(),
                ocsp.OCSPCertStatus.GOOD,
                now,
                now + DAY,
                None,
                None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self.root.certificate)
            .sign(self.root.key, DIGESTS["sha256"])
        )
        revoked = x509.CertificateRevocationListBuilder(self.root.certificate.subject, now, now + DAY)
        crl = revoked.sign(self.root.key, hashes.SHA256())
        return Material(
            (self.leaf.der, self.root.der, self.authority.der),
            (response.public_bytes(Encoding.DER),),
            (crl.public_bytes(Encoding.DER),),
        )
