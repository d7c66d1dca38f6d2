"""CMS SignedData (RFC 5652) for PAdES and CAdES, levels B-B and B-T, from a template per credential.

asn1crypto builds once for each credential what depends on nothing else. The signing time and the location, which may be another
one for every document, and the lengths around them are written beside that without a parser; a document's CMS is then five byte
strings put together. Signed attributes: content-type, message-digest, signing-certificate-v2 (RFC 5035). CAdES needs
signing-time too (ETSI EN 319 122-1 6.3), where PAdES must not have it: the signature dictionary's /M says it (EN 319 142-1 6.3).
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from asn1crypto import algos, cms, tsp, x509

from batchseal.algorithms import DIGEST_BYTES, pss_parameters
from batchseal.document import Credential
from batchseal.errors import CredentialUnusable, ItemRejected
from batchseal.formats.der import (
    CONTEXT_0,
    CONTEXT_1,
    ID_SIGNED_DATA,
    OCTET_STRING,
    SEQUENCE,
    SET,
    children,
    header,
    signed_data,
    tlv,
    whole,
)

# The reserved room is this much longer than the longest CMS: a tool that signs again with a renewed chain may need a little more.
SPARE_BYTES = 64

ID_MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")  # RFC 5652 11.2
ID_SIGNING_TIME = bytes.fromhex("06092a864886f70d010905")  # RFC 5652 11.3
ID_SIGNER_LOCATION = bytes.fromhex("060b2a864886f70d0109100211")  # ETSI EN 319 122-1 5.2.5
ID_TIME_STAMP = bytes.fromhex("060b2a864886f70d010910020e")  # id-aa-signatureTimeStampToken, RFC 3161 appendix A
UTF8_STRING, UTC_TIME, GENERALIZED_TIME = b"\x0c", b"\x17", b"\x18"


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


class CredentialParts:
    """What of a CMS depends on the credential alone, in DER. Raises CredentialUnusable."""

    def __init__(self, credential: Credential) -> None:
        try:
            data = signed_data(_with_empty_parts(credential).dump())
            self.digest_bytes = DIGEST_BYTES[credential.digest_algorithm]
        except (ValueError, KeyError) as problem:
            raise CredentialUnusable(f"credential {credential.credential_id}: {problem}") from None
        version, identity, digest_algorithm, attributes, signature_algorithm, _ = children(children(data[-1])[0])
        # Of SignedData: version, digestAlgorithms, encapContentInfo, certificates. Of SignerInfo: version, sid, digestAlgorithm.
        self.data = b"".join(data[:-1])
        self.signer = version + identity + digest_algorithm
        self.attributes = children(attributes)
        self.signature_algorithm = signature_algorithm


class CmsTemplate:
    """Writes the CMS of any document that is signed with one credential. Immutable; safe in threads.

    Making one is cheap: it parses nothing, unless the credential is a new one.
    """

    @classmethod
    def cached(cls, credential: Credential, signing_time: datetime | None = None, location: str = "") -> "CmsTemplate":
        """A template for these arguments. `signing_time` (UTC) and `location`, where they are given, become signed attributes."""
        return _template(credential, signing_time, location)

    def __init__(self, credential: Credential, signing_time: datetime | None = None, location: str = "") -> None:
        self.credential = credential
        self._parts = parts = _parts(credential)
        digest = attribute(ID_MESSAGE_DIGEST, tlv(OCTET_STRING, bytes(parts.digest_bytes)))
        attributes = [*parts.attributes, digest]
        if signing_time is not None:
            attributes.append(attribute(ID_SIGNING_TIME, time(signing_time)))
        if location:
            place = tlv(SEQUENCE, tlv(CONTEXT_1, tlv(UTF8_STRING, location.encode())))  # localityName
            attributes.append(attribute(ID_SIGNER_LOCATION, place))
        attributes.sort()  # X.690 11.6, and none of them has another one's type
        at = attributes.index(digest)
        # RFC 5652 5.4: the signature covers the attributes as an explicit SET OF, in the message they are [0] IMPLICIT.
        self._attributes_bytes = sum(map(len, attributes))
        self._before = b"".join(attributes[:at]) + digest[: -parts.digest_bytes]
        self._after = b"".join(attributes[at + 1 :])
        self._attributes_before = header(SET, self._attributes_bytes) + self._before
        # The lengths of the contents that do not depend on the document: of SignedData without SignerInfos, and of SignerInfo
        # without the signature value and what follows it.
        self.data_bytes = len(parts.data)
        self.signer_bytes = len(parts.signer) + whole(self._attributes_bytes) + len(parts.signature_algorithm)
        self._pieces: dict[tuple[int, int], Pieces] = {}
        self.contents_bytes = (
            len(self.signed_data(bytes(parts.digest_bytes), bytes(credential.signature_bytes))) + SPARE_BYTES
        )

    def attributes_digest(self, message_digest: bytes) -> bytes:
        """Digest of the DER signed attributes: what is signed upstream. `message_digest` is that of the ByteRange."""
        digest = hashlib.new(self.credential.digest_algorithm, self._attributes_before)
        digest.update(message_digest + self._after)
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
            pieces = self._pieces[lengths] = self._build(*lengths)
        return pieces.around(message_digest, signature, timestamp)

    def _build(self, signature_bytes: int, timestamp_bytes: int) -> Pieces:
        parts, unsigned, unsigned_bytes = self._parts, b"", 0
        if timestamp_bytes:
            kind = ID_TIME_STAMP + header(SET, timestamp_bytes)
            one = header(SEQUENCE, len(kind) + timestamp_bytes) + kind
            unsigned = header(CONTEXT_1, len(one) + timestamp_bytes) + one
            unsigned_bytes = len(unsigned) + timestamp_bytes
        signer_bytes = self.signer_bytes + whole(signature_bytes) + unsigned_bytes
        signer = header(SEQUENCE, signer_bytes) + parts.signer + header(CONTEXT_0, self._attributes_bytes)
        data_bytes = len(parts.data) + whole(whole(signer_bytes))
        explicit = header(CONTEXT_0, whole(data_bytes)) + header(SEQUENCE, data_bytes)
        outside = header(SEQUENCE, len(ID_SIGNED_DATA) + whole(whole(data_bytes))) + ID_SIGNED_DATA + explicit
        before = outside + parts.data + header(SET, whole(signer_bytes)) + signer + self._before
        between = self._after + parts.signature_algorithm + header(OCTET_STRING, signature_bytes)
        return Pieces(before, between, unsigned, b"")


def attribute(kind: bytes, value: bytes) -> bytes:
    """An Attribute with one value (RFC 5652 5.3)."""
    return tlv(SEQUENCE, kind, tlv(SET, value))


def time(moment: datetime) -> bytes:
    """A signing time. RFC 5652 11.3: UTCTime until 2049, GeneralizedTime from then on."""
    if moment.year < 2050:
        return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def _with_empty_parts(credential: Credential) -> cms.ContentInfo:
    """The CMS of a credential, of whose parts those are empty that depend on the document."""
    chain = [x509.Certificate.load(der) for der in credential.chain]
    _ = [certificate.serial_number for certificate in chain]  # parsing is lazy: fail here, not later
    algorithm, leaf = credential.digest_algorithm, chain[0]
    certificate: dict[str, object] = {"cert_hash": hashlib.new(algorithm, credential.chain[0]).digest()}
    if algorithm != "sha256":  # the default is left out, as DER wants
        certificate["hash_algorithm"] = algos.DigestAlgorithm({"algorithm": algorithm})
    signing_certificate = tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2(certificate)]})
    signature_algorithm: dict[str, object] = {
        "algorithm": {"ec": f"{algorithm}_ecdsa", "rsa": f"{algorithm}_rsa"}[credential.key_type]
    }
    if credential.scheme == "pss":  # RFC 4056 3
        signature_algorithm = {"algorithm": "rsassa_pss", "parameters": pss_parameters(algorithm)}
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {"issuer_and_serial_number": {"issuer": leaf.issuer, "serial_number": leaf.serial_number}}
            ),
            "digest_algorithm": {"algorithm": algorithm},
            "signed_attrs": cms.CMSAttributes(
                [
                    cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
                    cms.CMSAttribute({"type": "signing_certificate_v2", "values": [signing_certificate]}),
                ]
            ),
            "signature_algorithm": signature_algorithm,
            "signature": b"",
        }
    )
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": algorithm}],
            "encap_content_info": {"content_type": "data"},
            "certificates": chain,
            "signer_infos": [signer],
        }
    )
    return cms.ContentInfo({"content_type": "signed_data", "content": signed})


_parts = lru_cache(maxsize=64)(CredentialParts)
# Saves the little that a template costs where a whole operation has the same one.
_template = lru_cache(maxsize=64)(CmsTemplate)
