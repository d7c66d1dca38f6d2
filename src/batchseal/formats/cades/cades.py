"""The format CAdES, levels B and T (ETSI EN 319 122-1 6): a CMS over any document, which is not looked at.

Attached, the signed file is a CMS that contains the document: a head, the original as it is, a tail. Detached, it is the CMS
alone.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from asn1crypto import cms

from batchseal.algorithms import DIGEST_BYTES
from batchseal.document import (
    DEFAULT_TIME_STAMP_BYTES,
    MAX_TIME_STAMP_BYTES,
    Credential,
    Description,
    Evidence,
    Level,
    Prepared,
    Refusal,
    SignatureType,
    SignedDocument,
    Stretch,
)
from batchseal.errors import ItemRejected
from batchseal.formats.cades.wrapping import WITHOUT_CONTENT, Lengths, attached, whole
from batchseal.formats.cms import CmsTemplate
from batchseal.formats.digests import document_digests
from batchseal.formats.interface import Memory, Need, NeedKind, Original, unbooked
from batchseal.operation import ContentType, SignError

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "cades"
# RFC 8551 3.2.2, and RFC 5652 for the signature that stands alone.
ATTACHED_TYPE, ATTACHED_SUFFIX = "application/pkcs7-mime", ".p7m"
DETACHED_TYPE, DETACHED_SUFFIX = "application/pkcs7-signature", ".p7s"


class Plan(msgspec.Struct, frozen=True):
    """What the CMS says, and how long its parts are, as it is stored. New fields have defaults.

    `signing_time` is in seconds since 1970. `content_bytes` is the length of the document in the CMS, None for a detached one.
    """

    signing_time: int
    location: str
    content_bytes: int | None
    lengths: Lengths


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
        elif wanted.level > Level.T:
            cause = f"CAdES B-{wanted.level.name} is not offered yet"
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
                    plan=_encode(Plan(int(moment.timestamp()), wanted.location or "", content_bytes, lengths)),
                    time_stamp_bytes=room,
                    is_exact=credential.key_type != "ec",  # ECDSA values differ in length
                )
            )
        return results

    def next_need(self, prepared: Prepared, evidence: Evidence) -> Need | None:
        if prepared.level >= Level.T and not evidence.time_stamps:
            return Need(NeedKind.TIME_STAMP, evidence.signature)
        return None

    def added_bytes(self, prepared: Prepared, evidence: Evidence) -> int:
        plan = _plan(prepared.plan)
        stamp_bytes = len(evidence.time_stamps[0]) if evidence.time_stamps else 0
        return plan.lengths.total(plan.content_bytes, len(evidence.signature), stamp_bytes) - (plan.content_bytes or 0)

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        plan = _plan(prepared.plan)
        template = CmsTemplate.cached(credential, datetime.fromtimestamp(plan.signing_time, UTC), plan.location)
        # What is written here was signed when it was prepared, perhaps by another release.
        if template.attributes_digest(prepared.document_digest) != prepared.digest:
            raise ItemRejected("the signature is about other attributes than those that are written here")
        time_stamp = evidence.time_stamps[0] if evidence.time_stamps else b""
        if prepared.level >= Level.T and not time_stamp:
            raise ItemRejected("the time stamp is missing")
        detached = template.signed_data(prepared.document_digest, evidence.signature, time_stamp)
        if plan.content_bytes is None:
            return SignedDocument(prepared.ordinal, (detached,), len(detached), DETACHED_TYPE, DETACHED_SUFFIX)
        head, tail = attached(detached, plan.content_bytes)
        total = len(head) + plan.content_bytes + len(tail)
        return SignedDocument(prepared.ordinal, (head, original, tail), total, ATTACHED_TYPE, ATTACHED_SUFFIX)


@lru_cache(maxsize=64)
def fixed_lengths(template: CmsTemplate) -> Lengths:
    """The lengths in the CMS of a template that do not depend on the document."""
    value = bytes(template.credential.signature_bytes)
    info = cms.ContentInfo.load(template.signed_data(bytes(DIGEST_BYTES[template.credential.digest_algorithm]), value))
    data = info["content"]
    (signer,) = data["signer_infos"]
    return Lengths(
        len(signer.contents) - whole(len(value)),
        len(data.contents) - len(data["signer_infos"].dump()) - len(WITHOUT_CONTENT),
    )


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
