"""The sandbox's time stamp authority (RFC 3161): answers a request with a token over its imprint.

Owns the form of the token. Leaves the key and its certificates to `authority`, and HTTP to `server`.

A token is put together from encoded parts, of which nearly all are made once. asn1crypto encodes what it has made anew for each
level around it, and several times at each; and it takes a length whose last byte is 0x80 for the indefinite form, whereupon it
encodes everything inside once more. A token of such a length took 100 times as long as one that is a byte longer.
"""

import hashlib
import secrets
from datetime import UTC, datetime

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from batchseal.formats.der import CONTEXT_0, ID_SIGNED_DATA, OCTET_STRING, SEQUENCE, SET, tlv
from batchseal.sandbox.authority import Signer

POLICY = "1.3.6.1.4.1.13762.3"  # a policy for examples: it promises as little as the sandbox's certificates
ACCEPTED = {"sha256": 32, "sha384": 48, "sha512": 64}  # digest algorithms of imprints, and their bytes
INTEGER, GENERALIZED_TIME = b"\x02", b"\x18"
VERSION_1, VERSION_3 = tlv(INTEGER, b"\x01"), tlv(INTEGER, b"\x03")
GRANTED = tlv(SEQUENCE, tlv(INTEGER, b"\x00"))
ECDSA_WITH_SHA256 = ec.ECDSA(hashes.SHA256())


class Refusal(core.Sequence):  # type: ignore[misc]
    """A TimeStampResp without a token (RFC 3161 2.4.2), which the class of asn1crypto does not write."""

    _fields = [("status", tsp.PKIStatusInfo)]  # noqa: RUF012


class TimestampAuthority:
    """Signs time stamp tokens with `signer`, whose key must be EC. May be used by several threads at once."""

    def __init__(self, signer: Signer) -> None:
        assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
        self._key = signer.key
        chain = signer.chain_der()[:2]
        leaf = asn1_x509.Certificate.load(chain[0])
        named = tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(chain[0]).digest()})]})
        name = cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number})
        algorithm = algos.DigestAlgorithm({"algorithm": "sha256"}).dump()
        self._policy = core.ObjectIdentifier(POLICY).dump()
        self._attributes = [attribute("content_type", cms.ContentType("tst_info").dump())]
        self._attributes.append(attribute("signing_certificate_v2", named.dump()))
        self._content_type = cms.ContentType("tst_info").dump()
        self._digest_algorithms = tlv(SET, algorithm)
        self._certificates = tlv(CONTEXT_0, *sorted(chain))
        self._signer = VERSION_1 + name.dump() + algorithm
        self._signature_algorithm = algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}).dump()

    def reply(self, data: bytes) -> bytes:
        """The answer to a request, as a DER TimeStampResp: granted, or rejected if the request is malformed."""
        try:
            request = tsp.TimeStampReq.load(data, strict=True)
            imprint = request["message_imprint"]
            name = imprint["hash_algorithm"]["algorithm"].native
            if ACCEPTED.get(name) != len(imprint["hashed_message"].native):
                raise ValueError(name)
            with_chain = bool(request["cert_req"].native)
            repeated = imprint.dump(), request["nonce"].dump()
        except (ValueError, TypeError):
            return bytes(Refusal({"status": {"status": "rejection", "fail_info": {"bad_data_format"}}}).dump())
        return tlv(SEQUENCE, GRANTED, self.token(self._info(*repeated), with_chain=with_chain))

    def _info(self, imprint: bytes, nonce: bytes) -> bytes:
        """The DER TSTInfo (RFC 3161 2.4.2) for a MessageImprint and an INTEGER, which is empty where none was given."""
        serial = secrets.randbits(63)
        number = tlv(INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))  # X.690 8.3
        moment = tlv(GENERALIZED_TIME, datetime.now(UTC).strftime("%Y%m%d%H%M%SZ").encode())
        return tlv(SEQUENCE, VERSION_1, self._policy, imprint, number, moment, nonce)

    def token(self, content: bytes, *, with_chain: bool) -> bytes:
        """The signed token over `content`, a DER TSTInfo: a DER ContentInfo (RFC 5652 3)."""
        digest = attribute("message_digest", tlv(OCTET_STRING, hashlib.sha256(content).digest()))
        attributes = b"".join(sorted((*self._attributes, digest)))  # X.690 11.6
        # The signature covers the attributes as an explicit SET OF, in the token they are [0] IMPLICIT (RFC 5652 5.4).
        signature = self._key.sign(tlv(SET, attributes), ECDSA_WITH_SHA256)
        signer = tlv(
            SEQUENCE,
            self._signer,
            tlv(CONTEXT_0, attributes),
            self._signature_algorithm,
            tlv(OCTET_STRING, signature),
        )
        inside = tlv(SEQUENCE, self._content_type, tlv(CONTEXT_0, tlv(OCTET_STRING, content)))
        certificates = self._certificates if with_chain else b""
        signed = tlv(SEQUENCE, VERSION_3, self._digest_algorithms, inside, certificates, tlv(SET, signer))
        return tlv(SEQUENCE, ID_SIGNED_DATA, tlv(CONTEXT_0, signed))


def attribute(kind: str, value: bytes) -> bytes:
    """A DER Attribute with one value (RFC 5652 5.3)."""
    return tlv(SEQUENCE, cms.CMSAttributeType(kind).dump(), tlv(SET, value))
