"""The format CAdES (ETSI EN 319 122-1 6): a CMS over any document, which is not looked at.

Attached, the signed file is a CMS that contains the document: a head, the original as it is, a tail. Detached, it is the CMS
alone.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from batchseal.document import (
    DEFAULT_TIME_STAMP_BYTES,
    MAX_TIME_STAMP_BYTES,
    Credential,
    Description,
    Evidence,
    Prepared,
    Refusal,
    SignedDocument,
    Stretch,
)
from batchseal.errors import ItemRejected
from batchseal.formats.cades.long_term import (
    LongTerm,
    archived_digest,
    attributes_of,
    extended,
    long_term_pieces,
    more_bytes,
)
from batchseal.formats.cades.wrapping import WITHOUT_CONTENT, Lengths, attached
from batchseal.formats.cms import CmsTemplate
from batchseal.formats.digests import document_digests
from batchseal.formats.interface import Memory, Need, NeedKind, Original, unbooked
from batchseal.formats.token import chain_of
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "cades"
# RFC 8551 3.2.2, and RFC 5652 for the signature that stands alone.
ATTACHED_TYPE, ATTACHED_SUFFIX = "application/pkcs7-mime", ".p7m"
DETACHED_TYPE, DETACHED_SUFFIX = "application/pkcs7-signature", ".p7s"


class Plan(msgspec.Struct, frozen=True):
    """What the CMS says, and how long its parts are, as it is stored. New fields have defaults.

    `signing_time` is in seconds since 1970. `content_bytes` is the length of the document in the CMS, None for a detached one.
    `content_digest` is its SHA-256 where an archive time stamp needs it and the signature has another digest.
    """

    signing_time: int
    location: str
    content_bytes: int | None
    lengths: Lengths
    content_digest: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_plan = msgspec.msgpack.Decoder(Plan).decode


class Cades:
    """A `SignatureFormat`."""

    name = NAME
    signs = frozenset((SignatureType.CADES, kind) for kind in ContentType)

    def offers(self, wanted: Description) -> Refusal | None:
        cause = None
        if wanted.visible:
            cause = "a signature in CMS cannot be visible"
        elif wanted.location and not is_unicode(wanted.location):
            cause = "location has half a surrogate pair"
        return Refusal(SignError.CONFIGURATION_SIGN_ERROR, cause) if cause else None

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES,
        memory: Memory = unbooked,
    ) -> list[Prepared | Refusal]:
        digests = document_digests(credential.digest_algorithm, [(content,) for _, _, content in originals])
        further = archive_digests(originals, credential)
        moment = signing_time.replace(microsecond=0)
        results: list[Prepared | Refusal] = []
        for (ordinal, wanted, content), digest in zip(originals, digests, strict=True):
            template = CmsTemplate.cached(credential, moment, wanted.location or "")
            content_bytes = None if wanted.options.detached else memoryview(content).nbytes
            lengths = fixed_lengths(template)
            room = MAX_TIME_STAMP_BYTES if wanted.level >= Level.T else 0
            total = lengths.total(content_bytes, credential.signature_bytes, room)
            results.append(
                Prepared(
                    ordinal=ordinal,
                    format=NAME,
                    digest=template.attributes_digest(digest),
                    document_digest=digest,
                    fingerprint=credential.fingerprint,
                    level=wanted.level,
                    additional_bytes=total - (content_bytes or 0),
                    plan=_encode(
                        Plan(
                            int(moment.timestamp()),
                            wanted.location or "",
                            content_bytes,
                            lengths,
                            further.get(ordinal, b""),
                        )
                    ),
                    time_stamp_bytes=room,
                    is_exact=credential.key_type != "ec",  # ECDSA values differ in length
                )
            )
        return results

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        if prepared.level >= Level.T and not evidence.time_stamps:
            return Need(NeedKind.TIME_STAMP, hashlib.sha256(evidence.signature).digest())
        if prepared.level >= Level.LT and not evidence.material:
            chains = (credential.chain, chain_of(evidence.time_stamps[0]))
            return Need(NeedKind.VALIDATION_MATERIAL, chains=chains)
        if prepared.level >= Level.LTA and not evidence.archive_time_stamps:
            parts = long_term(prepared, evidence, credential)
            return Need(NeedKind.ARCHIVE_TIME_STAMP, archived_digest(parts, evidence, content_digest(prepared)))
        return None

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        plan = _plan(prepared.plan)
        if evidence.archive_time_stamps:
            assert credential is not None
            parts = long_term(prepared, evidence, credential)
            length = parts.length(attributes_of(parts, evidence), plan.content_bytes)
            return length - (plan.content_bytes or 0)
        stamp_bytes = len(evidence.time_stamps[0]) if evidence.time_stamps else 0
        more = 0
        if evidence.material:
            assert credential is not None
            more = more_bytes(template_of(plan, credential), evidence.material)
        length = plan.lengths.total(plan.content_bytes, len(evidence.signature), stamp_bytes, more)
        return length - (plan.content_bytes or 0)

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        plan = _plan(prepared.plan)
        template = template_of(plan, credential)
        # What is written here was signed when it was prepared, perhaps by another release.
        if template.attributes_digest(prepared.document_digest) != prepared.digest:
            raise ItemRejected("the signature is about other attributes than those that are written here")
        time_stamp = evidence.time_stamps[0] if evidence.time_stamps else b""
        if prepared.level >= Level.T and not time_stamp:
            raise ItemRejected("the time stamp is missing")
        if prepared.level >= Level.LT:
            detached = with_material(template, prepared, evidence)
        else:
            detached = template.signed_data(prepared.document_digest, evidence.signature, time_stamp)
        if plan.content_bytes is None:
            return SignedDocument(prepared.ordinal, (detached,), len(detached), DETACHED_TYPE, DETACHED_SUFFIX)
        head, tail = attached(detached, plan.content_bytes)
        total = len(head) + plan.content_bytes + len(tail)
        return SignedDocument(prepared.ordinal, (head, original, tail), total, ATTACHED_TYPE, ATTACHED_SUFFIX)


def archive_digests(originals: Sequence[Original], credential: Credential) -> dict[int, bytes]:
    """By ordinal the SHA-256 of documents of level LTA, where the signature has another digest. Time stamps use SHA-256."""
    if credential.digest_algorithm == "sha256":
        return {}
    archived = [(ordinal, content) for ordinal, wanted, content in originals if wanted.level >= Level.LTA]
    digests = document_digests("sha256", [(content,) for _, content in archived])
    return {ordinal: digest for (ordinal, _), digest in zip(archived, digests, strict=True)}


def content_digest(prepared: Prepared) -> bytes:
    """The SHA-256 of the document."""
    return _plan(prepared.plan).content_digest or prepared.document_digest


def template_of(plan: Plan, credential: Credential) -> CmsTemplate:
    return CmsTemplate.cached(credential, datetime.fromtimestamp(plan.signing_time, UTC), plan.location)


def long_term(prepared: Prepared, evidence: Evidence, credential: Credential) -> LongTerm:
    """The CMS with its validation material, in parts. Raises ItemRejected."""
    template = template_of(_plan(prepared.plan), credential)
    return extended(template, prepared.document_digest, evidence.signature, evidence.material)


def with_material(template: CmsTemplate, prepared: Prepared, evidence: Evidence) -> bytes:
    """The CMS of level LT or LTA. Raises ItemRejected where the evidence is less, or about something else."""
    if not evidence.material:
        raise ItemRejected("the validation material is missing")
    signature, stamp = evidence.signature, evidence.time_stamps[0]
    if prepared.level < Level.LTA:
        pieces = long_term_pieces(template, evidence.material, len(signature), len(stamp))
        return pieces.around(prepared.document_digest, signature, stamp)
    if not evidence.archive_time_stamps:
        raise ItemRejected("the archive time stamp is missing")
    parts = extended(template, prepared.document_digest, signature, evidence.material)
    if archived_digest(parts, evidence, content_digest(prepared)) not in evidence.archive_time_stamps[0]:
        raise ItemRejected("the archive time stamp is about another signature than the one that is written here")
    return parts.whole(attributes_of(parts, evidence))


def fixed_lengths(template: CmsTemplate) -> Lengths:
    """The lengths in the CMS of a template that do not depend on the document."""
    return Lengths(template.signer_bytes, template.data_bytes - len(WITHOUT_CONTENT))


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
