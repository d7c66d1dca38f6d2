"""Adds to a CMS what levels LT and LTA need (ETSI EN 319 122-1 5.5, RFC 5652, RFC 5940). DER with definite lengths.

Certificates and CRLs go into the fields of SignedData, OCSP responses beside the CRLs as other revocation information. Nothing
that was signed is encoded again.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from batchseal.algorithms import DIGEST_BYTES
from batchseal.document import Evidence
from batchseal.formats.cades.wrapping import ID_DATA, WITHOUT_CONTENT
from batchseal.formats.cms import ID_TIME_STAMP, CmsTemplate, Pieces
from batchseal.formats.der import (
    CONTEXT_0,
    CONTEXT_1,
    ID_SIGNED_DATA,
    OCTET_STRING,
    SEQUENCE,
    SET,
    children,
    signed_data,
    tlv,
    whole,
)
from batchseal.formats.material import decoded

ID_ARCHIVE_TIME_STAMP = bytes.fromhex("060604008d450204")  # archive-time-stamp-v3, 0.4.0.1733.2.4
ID_HASH_INDEX = bytes.fromhex("060704008195320105")  # ats-hash-index-v3, 0.4.0.19122.1.5
ID_OCSP_RESPONSE = bytes.fromhex("06082b06010505071002")  # id-ri-ocsp-response, RFC 5940 2.1
SHA_256 = bytes.fromhex("300b0609608648016503040201")
# RFC 5652 5.1: the version where revocation information is of another kind than CRLs.
VERSION_5 = bytes.fromhex("020105")
# What stands for message digest, signature value and time stamp token where a CMS is built without them.
MARKS = 0xEC, 0xED, 0xEE


@dataclass(frozen=True, slots=True)
class LongTerm:
    """A detached CMS in parts: the elements of SignedData and of its one SignerInfo."""

    version: bytes
    middle: bytes  # digestAlgorithms and encapContentInfo
    added: "Added"
    signer: tuple[bytes, ...]

    def hash_index(self, attributes: Iterable[tuple[bytes, bytes]]) -> bytes:
        """ATSHashIndexV3 over these unsigned attributes, each a type with one value (EN 319 122-1 5.5.2)."""
        return tlv(SEQUENCE, SHA_256, self.added.digests, _digests(kind + value for kind, value in attributes))

    def archived(self, content_digest: bytes, index: bytes) -> bytes:
        """What an archive time stamp is about (EN 319 122-1 5.5.3). `content_digest` is the SHA-256 of the document."""
        return b"".join((ID_DATA, content_digest, *self.signer, index))

    def whole(self, attributes: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The CMS with these unsigned attributes."""
        unsigned = tlv(CONTEXT_1, *sorted(tlv(SEQUENCE, kind, tlv(SET, value)) for kind, value in attributes))
        signers = tlv(SET, tlv(SEQUENCE, *self.signer, unsigned))
        data = tlv(SEQUENCE, self.version, self.middle, self.added.fields, signers)
        return tlv(SEQUENCE, ID_SIGNED_DATA, tlv(CONTEXT_0, data))

    def length(self, attributes: Iterable[tuple[bytes, bytes]], content_bytes: int | None) -> int:
        """The length of the CMS with these unsigned attributes, and with a document of so many bytes (None: without)."""
        unsigned = whole(sum(whole(len(kind) + whole(len(value))) for kind, value in attributes))
        signers = whole(whole(sum(map(len, self.signer)) + unsigned))
        data = len(self.version) + len(self.middle) + len(self.added.fields) + signers
        if content_bytes is not None:
            data += whole(len(ID_DATA) + whole(whole(content_bytes))) - len(WITHOUT_CONTENT)
        return whole(len(ID_SIGNED_DATA) + whole(whole(data)))


@dataclass(frozen=True, slots=True)
class Added:
    """What documents share that have the same material: the fields with it, and its part of the hash index."""

    has_responses: bool
    fields: bytes  # certificates and crls of SignedData
    digests: bytes
    more_bytes: int  # how much longer the fields are than those of level B


def extended(template: CmsTemplate, message_digest: bytes, signature: bytes, material: bytes) -> LongTerm:
    """The CMS of level B with validation material. Raises ItemRejected."""
    detached = template.signed_data(message_digest, signature)
    layout = _layout(template, len(signature))
    added = _added(detached[layout.certificates], material)
    version = VERSION_5 if added.has_responses else detached[layout.version]
    return LongTerm(version, detached[layout.middle], added, tuple(detached[field] for field in layout.signer))


@lru_cache(maxsize=256)
def long_term_pieces(template: CmsTemplate, material: bytes, signature_bytes: int, time_stamp_bytes: int) -> Pieces:
    """The CMS of level LT around its variable parts, for all documents that share the material and whose parts are as long."""
    sizes = DIGEST_BYTES[template.credential.digest_algorithm], signature_bytes, time_stamp_bytes
    digest, signature, stamp = (bytes([mark]) * size for mark, size in zip(MARKS, sizes, strict=True))
    der = extended(template, digest, signature, material).whole([(ID_TIME_STAMP, stamp)])
    return Pieces.of(der, digest, signature, stamp)


@lru_cache(maxsize=64)
def more_bytes(template: CmsTemplate, material: bytes) -> int:
    """How much longer the fields of SignedData become by the material."""
    size = DIGEST_BYTES[template.credential.digest_algorithm]
    return extended(template, bytes(size), bytes(template.credential.signature_bytes), material).added.more_bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts are in a CMS of level B."""

    version: slice
    middle: slice
    certificates: slice
    signer: tuple[slice, ...]


@lru_cache(maxsize=64)
def _layout(template: CmsTemplate, signature_bytes: int) -> Layout:
    """The same for all documents of a template whose signature values are as long."""
    detached = template.signed_data(bytes(DIGEST_BYTES[template.credential.digest_algorithm]), bytes(signature_bytes))
    version, algorithms, content, certificates, signers = signed_data(detached)
    (signer,) = children(signers)
    fields = children(signer)
    at = len(detached) - len(signers) - len(certificates) - len(content) - len(algorithms) - len(version)
    begins = [at]
    for part in (version, algorithms + content, certificates):
        begins.append(begins[-1] + len(part))
    version_at, middle_at, certificates_at = (slice(first, last) for first, last in pairwise(begins))
    places = [len(detached)]
    for field in reversed(fields):
        places.append(places[-1] - len(field))
    signer_slices = tuple(slice(first, last) for first, last in pairwise(reversed(places)))
    return Layout(version_at, middle_at, certificates_at, signer_slices)


@lru_cache(maxsize=64)
def _added(certificates: bytes, material: bytes) -> Added:
    """`certificates` is the field of the CMS without the material."""
    found = decoded(material)
    responses = [tlv(CONTEXT_1, ID_OCSP_RESPONSE, response) for response in found.ocsp_responses]
    all_certificates = sorted({*children(certificates), *found.certificates})  # the order of a SET OF, X.690 11.6
    revocations = sorted({*found.crls, *responses})
    fields = tlv(CONTEXT_0, *all_certificates) + (tlv(CONTEXT_1, *revocations) if revocations else b"")
    return Added(
        bool(responses),
        fields,
        _digests(all_certificates) + _digests(revocations),
        len(fields) - len(certificates),
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
    *before, signers = signed_data(token)
    (signer,) = children(signers)
    fields = children(signer)
    attributes = children(fields.pop()) if fields[-1][:1] == CONTEXT_1 else []
    attributes.append(tlv(SEQUENCE, kind, tlv(SET, value)))
    signers = tlv(SET, tlv(SEQUENCE, *fields, tlv(CONTEXT_1, *sorted(attributes))))
    return tlv(SEQUENCE, ID_SIGNED_DATA, tlv(CONTEXT_0, tlv(SEQUENCE, *before, signers)))


def _digests(values: Iterable[bytes]) -> bytes:
    return tlv(SEQUENCE, *(tlv(OCTET_STRING, hashlib.sha256(value).digest()) for value in values))
