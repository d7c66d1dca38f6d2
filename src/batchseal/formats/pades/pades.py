"""The format PAdES, levels B and T (ETSI EN 319 142-1 6): an incremental update of the PDF with a CMS in its reserved region.

The signed file is: the original, the head of the update, `<` hexadecimal digits of the CMS `>`, the tail of the update.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from batchseal._native import planner
from batchseal.document import (
    DEFAULT_TIME_STAMP_BYTES,
    BegunDigest,
    Credential,
    Description,
    Evidence,
    Prepared,
    Refusal,
    SignedDocument,
    Stretch,
    bytes_in,
)
from batchseal.errors import ItemRejected
from batchseal.formats.cms import CmsTemplate
from batchseal.formats.digests import begun_digest, document_digests
from batchseal.formats.interface import Memory, Need, NeedKind, Original, unbooked
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "pades"
# The unsigned attribute around a time stamp token takes 28 bytes, and the lengths of what holds it may grow by one byte each.
ATTRIBUTE_BYTES = 64
# Planning takes this and a part of the document's size, at most, where nothing more is booked. An invoice takes 34 KB; most that
# takes more has many compressed objects.
PLANNING_BYTES, PLANNING_PART = 512 << 10, 4


class Plan(msgspec.Struct, frozen=True):
    """The incremental update around the reserved region, as it is stored. `reserved_bytes` includes the `<` and the `>`."""

    head: bytes
    tail: bytes
    reserved_bytes: int


_encode = msgspec.msgpack.Encoder().encode
_plan = msgspec.msgpack.Decoder(Plan).decode


class Pades:
    """A `SignatureFormat`."""

    name = NAME
    signs = frozenset({(SignatureType.PADES, ContentType.PDF)})

    def offers(self, wanted: Description) -> Refusal | None:
        cause = None
        if wanted.visible:
            cause = "visible signatures are not offered yet"
        elif wanted.level > Level.T:
            cause = f"PAdES B-{wanted.level.name} is not offered yet"
        return Refusal(SignError.CONFIGURATION_SIGN_ERROR, cause) if cause else None

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES,
        memory: Memory = unbooked,
    ) -> list[Prepared | Refusal]:
        template = CmsTemplate.cached(credential)
        pdf_time = signing_time.strftime("D:%Y%m%d%H%M%SZ")
        updates = [
            plan(content, wanted, template, pdf_time, time_stamp_bytes, memory) for _, wanted, content in originals
        ]
        planned = [(at, update) for at, update in enumerate(updates) if not isinstance(update, Refusal)]
        # The ByteRanges: everything but the reserved region.
        ranges = {at: (originals[at][2], update.head, update.tail) for at, update in planned}
        begun: dict[int, BegunDigest] = {}
        digests: dict[int, bytes] = {}
        for at, parts in ranges.items():
            if originals[at][1].evidence_record:
                digests[at], begun[at] = begun_digest(credential.digest_algorithm, parts[:2], parts[2:])
        others = {at: parts for at, parts in ranges.items() if at not in digests}
        found = document_digests(credential.digest_algorithm, list(others.values()))
        digests |= zip(others, found, strict=True)
        results: list[Prepared | Refusal] = []
        for at, ((ordinal, wanted, _), update) in enumerate(zip(originals, updates, strict=True)):
            if isinstance(update, Refusal):
                results.append(update)
                continue
            results.append(
                Prepared(
                    ordinal=ordinal,
                    format=NAME,
                    digest=template.attributes_digest(digests[at]),
                    document_digest=digests[at],
                    fingerprint=credential.fingerprint,
                    level=wanted.level,
                    additional_bytes=len(update.head) + update.reserved_bytes + len(update.tail),
                    plan=_encode(Plan(update.head, update.tail, update.reserved_bytes)),
                    time_stamp_bytes=time_stamp_bytes if wanted.level >= Level.T else 0,
                    begun=begun.get(at),
                )
            )
        return results

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        if prepared.level >= Level.T and not evidence.time_stamps:
            return Need(NeedKind.TIME_STAMP, hashlib.sha256(evidence.signature).digest())
        return None

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        return prepared.additional_bytes  # the reserved region is as long, whatever is in it

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        template, update = CmsTemplate.cached(credential), _plan(prepared.plan)
        time_stamp = evidence.time_stamps[0] if evidence.time_stamps else b""
        if prepared.level >= Level.T and not time_stamp:
            raise ItemRejected("the time stamp is missing")
        signed_data = template.signed_data(prepared.document_digest, evidence.signature, time_stamp)
        contents = signed_data.hex().encode("ascii")
        room = update.reserved_bytes - 2
        if len(contents) > room:  # ISO 32000-2 12.8.1
            raise ItemRejected(f"the CMS takes {len(contents)} hex digits, {room} are reserved")
        region = b"<" + contents.ljust(room, b"0") + b">"
        segments = (original, update.head, region, update.tail)
        return SignedDocument(prepared.ordinal, segments, bytes_in(original) + prepared.additional_bytes)


def plan(
    content: "Buffer",
    wanted: Description,
    template: CmsTemplate,
    pdf_time: str,
    time_stamp_bytes: int,
    memory: Memory,
) -> "planner.PlannedUpdate | Refusal":
    """The incremental update that holds the signature field, or why this PDF cannot have one.

    The time stamp comes after the document was digested, so the reserved region must have room for it and its attribute.
    """
    room_bytes = time_stamp_bytes + ATTRIBUTE_BYTES if wanted.level >= Level.T else 0

    def within(memory_bytes: int) -> "planner.PlannedUpdate | planner.PlanRefusal":
        return planner.plan(
            content,
            contents_bytes=template.contents_bytes + room_bytes,
            reason=wanted.reason,
            location=wanted.location,
            signing_time=pdf_time,
            max_memory_bytes=memory_bytes,
        )

    size = len(memoryview(content))
    update = within(PLANNING_BYTES + size // PLANNING_PART)
    if isinstance(update, planner.PlanRefusal) and update.code == "limit_memory":
        # The answer is a copy of what the plan holds, so both are there for a moment.
        with memory(planner.memory_bound(size) + planner.update_bound(size)) as granted:
            update = within(max(1, granted - planner.update_bound(size)))
    if isinstance(update, planner.PlanRefusal):
        # All other refusals follow from the document alone.
        ours = update.code == "no_memory"
        return Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR if ours else SignError.NOT_SIGNABLE, update.message)
    return update
