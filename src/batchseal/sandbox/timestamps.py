"""The sandbox's time stamp authority (RFC 3161): answers a request with a token over its imprint.

Owns the form of the token. Leaves the key and its certificates to `authority`, and HTTP to `server`.
"""

import hashlib
import secrets
from datetime import UTC, datetime

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from batchseal.sandbox.authority import Signer

POLICY = "1.3.6.1.4.1.13762.3"  # a policy for examples: it promises as little as the sandbox's certificates
ACCEPTED = {"sha256": 32, "sha384": 48, "sha512": 64}  # digest algorithms of imprints, and their bytes


class Refusal(core.Sequence):  # type: ignore[misc]
    """A TimeStampResp without a token (RFC 3161 2.4.2), which the class of asn1crypto does not write."""

    _fields = [("status", tsp.PKIStatusInfo)]  # noqa: RUF012


class TimestampAuthority:
    """Signs time stamp tokens with `signer`, whose key must be EC. May be used by several threads at once."""

    def __init__(self, signer: Signer) -> None:
        self._key = signer.key
        self._chain = [asn1_x509.Certificate.load(der) for der in signer.chain_der()[:2]]
        certificate = hashlib.sha256(self._chain[0].dump()).digest()
        made = tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": certificate})]})
        # What was read from DER is written as it stands. What was made is encoded anew again and again, by each level around it.
        self._signing_certificate = tsp.SigningCertificateV2.load(made.dump())

    def reply(self, data: bytes) -> bytes:
        """The answer to a request, as a DER TimeStampResp: granted, or rejected if the request is malformed."""
        try:
            request = tsp.TimeStampReq.load(data, strict=True)
            imprint = request["message_imprint"]
            name = imprint["hash_algorithm"]["algorithm"].native
            if ACCEPTED.get(name) != len(imprint["hashed_message"].native):
                raise ValueError(name)
        except (ValueError, TypeError):
            return bytes(Refusal({"status": {"status": "rejection", "fail_info": {"bad_data_format"}}}).dump())
        info = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": imprint,
            "serial_number": secrets.randbits(63),
            "gen_time": datetime.now(UTC).replace(microsecond=0),
            "nonce": request["nonce"],
        }
        token = self._token(tsp.TSTInfo(info).dump(), with_chain=bool(request["cert_req"].native))
        return bytes(tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump())

    def _token(self, content: bytes, *, with_chain: bool) -> cms.ContentInfo:
        """The signed token over `content`, a DER TSTInfo."""
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
                cms.CMSAttribute({"type": "signing_certificate_v2", "values": [self._signing_certificate]}),
            ]
        )
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        leaf = self._chain[0]
        name = cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number})
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier({"issuer_and_serial_number": name}),
            "digest_algorithm": sha256,
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
        }
        signed = {
            "version": "v3",
            "digest_algorithms": [sha256],
            "encap_content_info": {"content_type": "tst_info", "content": cms.ParsableOctetString(content)},
            "signer_infos": [cms.SignerInfo(signer)],
        }
        if with_chain:
            signed["certificates"] = self._chain
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})
