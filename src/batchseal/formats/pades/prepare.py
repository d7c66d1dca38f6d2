"""Step 3, digest: plans each document's incremental update and computes its digests, many documents in lanes at once."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from batchseal._native import digest, planner
from batchseal.document import Description, PreparedDigest, Refusal
from batchseal.formats.cms import TIMESTAMP_BYTES, CmsTemplate
from batchseal.operation import ContentType, SignError

if TYPE_CHECKING:
    from typing_extensions import Buffer

# An original with its ordinal and what was asked for it.
Original = tuple[int, Description, "Buffer"]


def prepare(
    originals: Sequence[Original], template: CmsTemplate, signing_time: datetime
) -> list[tuple[int, PreparedDigest | Refusal]]:
    """Prepares documents for signing; blocking, the GIL released for nearly all of it. `signing_time` is UTC."""
    pdf_time = signing_time.strftime("D:%Y%m%d%H%M%SZ")
    results: list[tuple[int, PreparedDigest | Refusal]] = []
    planned: list[tuple[int, Buffer, planner.PlannedUpdate, bool]] = []
    for ordinal, description, content in originals:
        refusal = description.refusal or unsupported(description)
        if refusal is None:
            update = plan(content, description, template, pdf_time)
            if not isinstance(update, Refusal):
                planned.append((ordinal, content, update, description.apply_timestamp))
                continue
            refusal = update
        results.append((ordinal, refusal))
    digests = message_digests(template, [(content, p.head, p.tail) for _, content, p, _ in planned])
    for (ordinal, _, update, timestamp), message_digest in zip(planned, digests, strict=True):
        results.append(
            (
                ordinal,
                PreparedDigest(
                    ordinal=ordinal,
                    head=update.head,
                    tail=update.tail,
                    reserved_bytes=update.reserved_bytes,
                    message_digest=message_digest,
                    attributes_digest=template.attributes_digest(message_digest),
                    fingerprint=template.credential.fingerprint,
                    timestamp=timestamp,
                ),
            )
        )
    return results


def unsupported(description: Description) -> Refusal | None:
    if description.content_type is not ContentType.PDF:
        return Refusal(SignError.CONFIGURATION_SIGN_ERROR, "XML documents (XAdES) cannot be signed yet")
    return None


def plan(
    content: "Buffer", description: Description, template: CmsTemplate, pdf_time: str
) -> "planner.PlannedUpdate | Refusal":
    update = planner.plan(
        content,
        contents_bytes=template.contents_bytes + (TIMESTAMP_BYTES if description.apply_timestamp else 0),
        reason=description.reason,
        location=description.location,
        signing_time=pdf_time,
    )
    if isinstance(update, planner.PlanRefusal):
        return Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR, f"{description.name}: {update.message}")
    return update


def message_digests(template: CmsTemplate, documents: Sequence[tuple["Buffer", bytes, bytes]]) -> list[bytes]:
    """Digests of the ByteRanges: everything but the reserved region. Documents are never joined."""
    algorithm = template.credential.digest_algorithm
    if algorithm == "sha256":
        return digest.sha256_many(documents)
    return [_library_digest(algorithm, segments) for segments in documents]


def _library_digest(algorithm: str, segments: "Sequence[Buffer]") -> bytes:
    state = hashlib.new(algorithm)
    for segment in segments:
        state.update(segment)
    return state.digest()
