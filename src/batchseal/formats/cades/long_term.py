"""Adds to a CMS what levels LT and LTA need (ETSI EN 319 122-1 5.5, RFC 5652, RFC 5940). DER with definite lengths.

Certificates and CRLs go into the fields of SignedData, OCSP responses beside the CRLs as other revocation information. Nothing
that was signed is encoded again.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from batchseal.document import Evidence
from batchseal.errors import ItemRejected
from batchseal.formats.cades.wrapping import (
    CONTEXT_0,
    ID_DATA,
    ID_SIGNED_DATA,
    ID_TIME_STAMP,
    OCTET_STRING,
    SEQUENCE,
    content_at,
    header,
)
from batchseal.formats.material import decoded

SET, CONTEXT_1 = b"\x31", b"\xa1"
ID_ARCHIVE_TIME_STAMP = bytes.fromhex("060604008d450204")  # archive-time-stamp-v3, 0.4.0.1733.2.4
ID_HASH_INDEX = bytes.fromhex("060704008195320105")  # ats-hash-index-v3, 0.4.0.19122.1.5
ID_OCSP_RESPONSE = bytes.fromhex("06082b06010505071002")  # id-ri-ocsp-response, RFC 5940 2.1
SHA_256 = bytes.fromhex("300b0609608648016503040201")
# RFC 5652 5.1: the version where revocation information is of another kind than CRLs.
VERSION_5 = bytes.fromhex("020105")


@dataclass(frozen=True, slots=True)
class LongTerm:
    """A detached CMS in parts: the elements of SignedData and of its one SignerInfo."""

    version: bytes
    middle: bytes  # digestAlgorithms and encapContentInfo
    certificates: tuple[bytes, ...]
    revocations: tuple[bytes, ...]
    signer: tuple[bytes, ...]

    def hash_index(self, attributes: Iterable[tuple[bytes, bytes]]) -> bytes:
        """ATSHashIndexV3 over these unsigned attributes, each a type with one value (EN 319 122-1 5.5.2)."""
        values = [kind + value for kind, value in attributes]
        return tlv(SEQUENCE, SHA_256, *map(_digests, (self.certificates, self.revocations, values)))

    def archived(self, content_digest: bytes, index: bytes) -> bytes:
        """What an archive time stamp is about (EN 319 122-1 5.5.3). `content_digest` is the SHA-256 of the document."""
        return b"".join((ID_DATA, content_digest, *self.signer, index))

    def whole(self, attributes: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The CMS with these unsigned attributes."""
        unsigned = tlv(CONTEXT_1, *sorted(tlv(SEQUENCE, kind, tlv(SET, value)) for kind, value in attributes))
        parts = [self.version, self.middle, tlv(CONTEXT_0, *self.certificates)]
        if self.revocations:
            parts.append(tlv(CONTEXT_1, *self.revocations))
        signers = tlv(SET, tlv(SEQUENCE, *self.signer, unsigned))
        return tlv(SEQUENCE, ID_SIGNED_DATA, tlv(CONTEXT_0, tlv(SEQUENCE, *parts, signers)))


def extended(detached: bytes, material: bytes) -> LongTerm:
    """A CMS of level B with validation material."""
    version, algorithms, content, certificates, signers = _signed_data(detached)
    found = decoded(material)
    responses = [tlv(CONTEXT_1, ID_OCSP_RESPONSE, response) for response in found.ocsp_responses]
    (signer,) = children(signers)
    return LongTerm(
        VERSION_5 if responses else version,
        algorithms + content,
        tuple(sorted({*children(certificates), *found.certificates})),  # the order of a SET OF, X.690 11.6
        tuple(sorted({*found.crls, *responses})),
        tuple(children(signer)),
    )


def attributes_of(parts: LongTerm, evidence: Evidence) -> list[tuple[bytes, bytes]]:
    """The unsigned attributes that the evidence stands for."""
    stamp = (ID_TIME_STAMP, evidence.time_stamps[0])
    if not evidence.archive_time_stamps:
        return [stamp]
    token = with_attribute(evidence.archive_time_stamps[0], ID_HASH_INDEX, parts.hash_index([stamp]))
    return [stamp, (ID_ARCHIVE_TIME_STAMP, token)]


def archived_digest(parts: LongTerm, evidence: Evidence, content_digest: bytes) -> bytes:
    """The SHA-256 digest that the archive time stamp of this signature is about."""
    index = parts.hash_index([(ID_TIME_STAMP, evidence.time_stamps[0])])
    return hashlib.sha256(parts.archived(content_digest, index)).digest()


def with_attribute(token: bytes, kind: bytes, value: bytes) -> bytes:
    """A time stamp token with one more unsigned attribute of its signer. Raises ItemRejected for a token in another encoding."""
    *before, signers = _signed_data(token)
    (signer,) = children(signers)
    fields = children(signer)
    attributes = children(fields.pop()) if fields[-1][:1] == CONTEXT_1 else []
    attributes.append(tlv(SEQUENCE, kind, tlv(SET, value)))
    signers = tlv(SET, tlv(SEQUENCE, *fields, tlv(CONTEXT_1, *sorted(attributes))))
    return tlv(SEQUENCE, ID_SIGNED_DATA, tlv(CONTEXT_0, tlv(SEQUENCE, *before, signers)))


def _signed_data(info: bytes) -> list[bytes]:
    kind, explicit = children(info)
    if kind != ID_SIGNED_DATA:
        raise ItemRejected("a CMS holds no signature")
    return children(children(explicit)[0])


def children(der: bytes) -> list[bytes]:
    """The values in a constructed value, each whole. Raises ItemRejected for indefinite lengths and for a value that is cut."""
    at, found = content_at(der, 0), []
    while at < len(der):
        start = at
        if at + 1 >= len(der) or der[at + 1] == 0x80:
            raise ItemRejected("a CMS is not in DER")
        at = content_at(der, start)
        length = der[start + 1] if der[start + 1] < 0x80 else int.from_bytes(der[start + 2 : at], "big")
        at += length
        found.append(der[start:at])
    if at != len(der):
        raise ItemRejected("a CMS is not in DER")
    return found


def tlv(tag: bytes, *contents: bytes) -> bytes:
    """A value of one-byte tag around contents."""
    inside = b"".join(contents)
    return header(tag, len(inside)) + inside


def _digests(values: Iterable[bytes]) -> bytes:
    return tlv(SEQUENCE, *(tlv(OCTET_STRING, hashlib.sha256(value).digest()) for value in values))
