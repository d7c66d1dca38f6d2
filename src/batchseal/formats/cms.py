"""CMS SignedData (RFC 5652) for PAdES and CAdES, levels B-B and B-T, from a template per credential.

asn1crypto builds the structures once for each credential and length of signature value; a document's CMS is then five byte
strings put together. Signed attributes: content-type, message-digest, signing-certificate-v2 (RFC 5035). CAdES needs
signing-time too (ETSI EN 319 122-1 6.3), where PAdES must not have it: the signature dictionary's /M says it (EN 319 142-1 6.3).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from asn1crypto import algos, cms, core, tsp, x509

from batchseal.algorithms import DIGEST_BYTES, pss_parameters
from batchseal.document import Credential
from batchseal.errors import CredentialUnusable, ItemRejected

# The reserved room is this much longer than the longest CMS: a tool that signs again with a renewed chain may need a little more.
SPARE_BYTES = 64

# RFC 5652 5.4: the signature covers the attributes as an explicit SET OF, in the message they are [0] IMPLICIT.
SET_OF_TAG = b"\x31"


SIGNER_LOCATION = "1.2.840.113549.1.9.16.2.17"


class SignerLocation(core.Sequence):  # type: ignore[misc]
    """Where the signer says to be (ETSI EN 319 122-1 5.2.5)."""

    _fields = [  # noqa: RUF012
        ("country_name", x509.DirectoryString, {"explicit": 0, "optional": True}),
        ("locality_name", x509.DirectoryString, {"explicit": 1, "optional": True}),
    ]


@dataclass(frozen=True, slots=True)
class Pieces:
    """SignedData around its variable parts: before + message digest + between + signature value + middle + time stamp + after."""

    before: bytes
    between: bytes
    middle: bytes
    after: bytes

    @classmethod
    def of(cls, der: bytes, message_digest: bytes, signature: bytes, timestamp: bytes) -> "Pieces":
        """The pieces of a SignedData with these parts, which are marks that stand nowhere else in its SignerInfo."""
        # The marks stand in the last structure, in this order; the search begins behind the time stamp, whose bytes are others'.
        stamp = der.rindex(timestamp) if timestamp else len(der)
        end = der.rindex(signature, 0, stamp)
        at = der.rindex(message_digest, 0, end)
        between, middle = der[at + len(message_digest) : end], der[end + len(signature) : stamp]
        return cls(der[:at], between, middle, der[stamp + len(timestamp) :])

    def around(self, message_digest: bytes, signature: bytes, timestamp: bytes) -> bytes:
        """The SignedData with these parts, which are as long as the marks were."""
        return b"".join((self.before, message_digest, self.between, signature, self.middle, timestamp, self.after))


class CmsTemplate:
    """Writes the CMS of any document that is signed with one credential. Immutable; safe in threads."""

    @classmethod
    def cached(cls, credential: Credential, signing_time: datetime | None = None, location: str = "") -> "CmsTemplate":
        """The same template for the same arguments, however often it is asked for.

        `signing_time` (UTC) and `location`, where they are given, become signed attributes.
        """
        return _template(credential, signing_time, location)

    def __init__(self, credential: Credential, signing_time: datetime | None = None, location: str = "") -> None:
        try:
            chain = [x509.Certificate.load(der) for der in credential.chain]
            _ = [certificate.serial_number for certificate in chain]  # parsing is lazy: fail here, not later
            digest_bytes = DIGEST_BYTES[credential.digest_algorithm]
        except (ValueError, KeyError) as problem:
            raise CredentialUnusable(f"credential {credential.credential_id}: {problem}") from None
        self.credential = credential
        self._signing_time = signing_time
        self._location = location
        self._chain = chain
        self._mark = bytes(range(256 - digest_bytes, 256))
        attributes = self._attributes().dump()
        at = attributes.index(self._mark)
        self._attributes_before = SET_OF_TAG + attributes[1:at]
        self._attributes_after = attributes[at + digest_bytes :]
        self._pieces: dict[tuple[int, int], Pieces] = {}
        self.contents_bytes = (
            len(self.signed_data(bytes(digest_bytes), bytes(credential.signature_bytes))) + SPARE_BYTES
        )

    def attributes_digest(self, message_digest: bytes) -> bytes:
        """Digest of the DER signed attributes: what is signed upstream. `message_digest` is that of the ByteRange."""
        digest = hashlib.new(self.credential.digest_algorithm, self._attributes_before)
        digest.update(message_digest + self._attributes_after)
        return digest.digest()

    def signed_data(self, message_digest: bytes, signature: bytes, timestamp: bytes = b"") -> bytes:
        """The DER ContentInfo, with a `timestamp` token as an unsigned attribute where one is given (RFC 3161 appendix A).

        Raises ItemRejected for a signature value longer than the credential can give.
        """
        if not 0 < len(signature) <= self.credential.signature_bytes:
            raise ItemRejected(f"a signature value of {len(signature)} bytes does not fit its key")
        lengths = len(signature), len(timestamp)
        pieces = self._pieces.get(lengths)
        if pieces is None:
            pieces = self._pieces[lengths] = self._build(len(signature), timestamp)
        return pieces.around(message_digest, signature, timestamp)

    def _attributes(self) -> cms.CMSAttributes:
        algorithm = self.credential.digest_algorithm
        certificate = {"cert_hash": hashlib.new(algorithm, self.credential.chain[0]).digest()}
        if algorithm != "sha256":  # the default is left out, as DER wants
            certificate["hash_algorithm"] = algos.DigestAlgorithm({"algorithm": algorithm})
        signing_certificate = tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2(certificate)]})
        attributes = [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [self._mark]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [signing_certificate]}),
        ]
        if self._signing_time is not None:
            # RFC 5652 11.3: UTCTime until 2049, GeneralizedTime from then on.
            name = "utc_time" if self._signing_time.year < 2050 else "generalized_time"
            moment = cms.Time({name: self._signing_time.replace(microsecond=0)})
            attributes.append(cms.CMSAttribute({"type": "signing_time", "values": [moment]}))
        if self._location:
            place = SignerLocation({"locality_name": x509.DirectoryString({"utf8_string": self._location})})
            attributes.append(cms.CMSAttribute({"type": SIGNER_LOCATION, "values": [core.Any(place)]}))
        return cms.CMSAttributes(attributes)

    def _build(self, signature_bytes: int, timestamp: bytes) -> Pieces:
        mark = b"\xee" * signature_bytes
        algorithm, leaf = self.credential.digest_algorithm, self._chain[0]
        signature_algorithm: dict[str, object] = {
            "algorithm": {"ec": f"{algorithm}_ecdsa", "rsa": f"{algorithm}_rsa"}[self.credential.key_type]
        }
        if self.credential.scheme == "pss":  # RFC 4056 3
            signature_algorithm = {"algorithm": "rsassa_pss", "parameters": pss_parameters(algorithm)}
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    {"issuer_and_serial_number": {"issuer": leaf.issuer, "serial_number": leaf.serial_number}}
                ),
                "digest_algorithm": {"algorithm": algorithm},
                "signed_attrs": self._attributes(),
                "signature_algorithm": signature_algorithm,
                "signature": mark,
            }
        )
        if timestamp:
            token = cms.ContentInfo.load(timestamp)
            signer["unsigned_attrs"] = [{"type": "signature_time_stamp_token", "values": [token]}]
        signed = cms.SignedData(
            {
                "version": "v1",
                "digest_algorithms": [{"algorithm": algorithm}],
                "encap_content_info": {"content_type": "data"},
                "certificates": self._chain,
                "signer_infos": [signer],
            }
        )
        der = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
        return Pieces.of(der, self._mark, mark, timestamp)


_template = lru_cache(maxsize=64)(CmsTemplate)
