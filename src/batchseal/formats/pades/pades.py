"""The format PAdES (ETSI EN 319 142-1 6): an incremental update of the PDF with a CMS in its reserved region.

The signed file is: the original, the head of the update, `<` hexadecimal digits of the CMS `>`, the tail of the update. Streams
of a visible signature's appearance, which many documents have in common, are put into the tail at last. At levels LT and LTA a
section follows (`long_term`). What stands before the header of the original is left out: readers disagree on whether a
/ByteRange counts it.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, overload

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
from batchseal.formats.digests import document_digests
from batchseal.formats.interface import Memory, Need, NeedKind, Original, unbooked
from batchseal.formats.pades import long_term, visible
from batchseal.formats.pades.encryption import Planning
from batchseal.formats.token import chain_of
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "pades"
# Earlier releases know no tail with gaps. They find this name unknown, and leave such documents to later ones.
VISIBLE_NAME = "pades-visible"
# The same is true of an original that is not signed from its first byte on.
FROM_HEADER_NAME = "pades-from-header"
# The unsigned attribute around a time stamp token takes 28 bytes, and the lengths of what holds it may grow by one byte each.
ATTRIBUTE_BYTES = 64
# Planning takes this and a part of the document's size, at most, where nothing more is booked. An invoice takes 34 KB; most that
# takes more has many compressed objects. A document that is larger than a batch is not in memory, so only a batch counts.
PLANNING_BYTES, PLANNING_PART, PLANNED_BATCH_BYTES = 512 << 10, 4, 4 << 20
# What planning takes beyond its bound for each byte of an appearance that an encrypted document does not share with others.
UNSHARED_FACTOR = 4


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The incremental update around the reserved region, as it is stored. `reserved_bytes` includes the `<` and the `>`.

    New fields have defaults. `section` is what follows, above level T. The shared content n of a visible signature belongs into
    the tail in front of the byte `gaps[n]`. The first `skipped_bytes` of the original are no part of the signed file.
    """

    head: bytes
    tail: bytes
    reserved_bytes: int
    section: long_term.Section | None = None
    gaps: tuple[int, ...] = ()
    skipped_bytes: int = 0


_encode = msgspec.msgpack.Encoder().encode
_plan = msgspec.msgpack.Decoder(Plan).decode


class Pades:
    """A `SignatureFormat`."""

    name = NAME
    signs = frozenset({(SignatureType.PADES, ContentType.PDF)})

    def offers(self, wanted: Description) -> Refusal | None:
        return visible.offers(wanted) if wanted.visible else None

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
        drawing = visible.Drawing(credential, signing_time, memory)
        updates = [
            plan(content, wanted, template, pdf_time, time_stamp_bytes, memory, drawing, credential.digest_algorithm)
            for _, wanted, content in originals
        ]
        planned = {at: update for at, update in enumerate(updates) if not isinstance(update, Refusal)}
        # The ByteRanges: everything but the reserved region.
        parts = [
            (
                from_header(originals[at][2], update.skipped_bytes),
                update.head,
                *whole_tail(update.tail, update.inserted, shared),
            )
            for at, (update, shared) in planned.items()
        ]
        wishes = [originals[at][1] for at in planned]
        kept = any(wanted.level >= Level.LTA or wanted.evidence_record for wanted in wishes)
        digests, states = digests_of(credential.digest_algorithm, parts, keeps_states=kept)
        found = dict(zip(planned, zip(digests, states, strict=True), strict=True))
        results: list[Prepared | Refusal] = []
        for at, (ordinal, wanted, _) in enumerate(originals):
            if isinstance(outcome := updates[at], Refusal):
                results.append(outcome)
                continue
            update, shared = outcome
            digest, state = found[at]
            section, begun = None, None
            if update.section is not None:
                section = long_term.stored(update.section, state if wanted.level >= Level.LTA else b"")
            if wanted.evidence_record:
                signed_bytes = memoryview(originals[at][2]).nbytes - update.skipped_bytes
                begun = BegunDigest(state, signed_bytes + len(update.head))
            results.append(
                Prepared(
                    ordinal=ordinal,
                    format=FROM_HEADER_NAME if update.skipped_bytes else VISIBLE_NAME if wanted.visible else NAME,
                    digest=template.attributes_digest(digest),
                    document_digest=digest,
                    fingerprint=credential.fingerprint,
                    level=wanted.level,
                    additional_bytes=len(update.head)
                    + update.reserved_bytes
                    + len(update.tail)
                    + sum(map(len, shared))
                    - update.skipped_bytes,
                    plan=_encode(stored(update, section)),
                    time_stamp_bytes=time_stamp_bytes if wanted.level >= Level.T else 0,
                    shared=shared,
                    begun=begun,
                )
            )
        return results

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        if prepared.level >= Level.T and not evidence.time_stamps:
            return Need(NeedKind.TIME_STAMP, hashlib.sha256(evidence.signature).digest())
        if prepared.level >= Level.LT and not evidence.material:
            chains = (credential.chain, chain_of(evidence.time_stamps[0]))
            return Need(NeedKind.VALIDATION_MATERIAL, chains=chains, deflates=True)
        if prepared.level >= Level.LTA and not evidence.archive_time_stamps:
            update = _plan(prepared.plan)
            section, around = section_parts(prepared, update, evidence)
            before = contents_region(prepared, update, evidence, credential), *tail_of(prepared, update)
            return Need(NeedKind.ARCHIVE_TIME_STAMP, long_term.stamped_digest(section, *before, *around))
        return None

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        added = prepared.additional_bytes  # the reserved region is as long, whatever is in it
        if prepared.level >= Level.LT:
            update = _plan(prepared.plan)
            section = section_of(update)
            added += long_term.section_bytes(section, update.tail, evidence.material, prepared.time_stamp_bytes)
        return added

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        update = _plan(prepared.plan)
        region = contents_region(prepared, update, evidence, credential)
        tail = tail_of(prepared, update)
        begin = from_header(original, update.skipped_bytes)
        segments: tuple[Buffer | Stretch, ...] = (begin, update.head, region, *tail)
        total_bytes = bytes_in(original) + prepared.additional_bytes
        if prepared.level >= Level.LT:
            further = section_segments(prepared, update, evidence, (region, *tail))
            segments += further
            total_bytes += sum(map(len, further))
        return SignedDocument(prepared.ordinal, segments, total_bytes)


def stored(update: planner.PlannedUpdate, section: long_term.Section | None) -> Plan:
    """What is kept of an update."""
    return Plan(update.head, update.tail, update.reserved_bytes, section, update.inserted, update.skipped_bytes)


@overload
def from_header(original: "Buffer", skipped_bytes: int) -> "Buffer": ...
@overload
def from_header(original: "Buffer | Stretch", skipped_bytes: int) -> "Buffer | Stretch": ...
def from_header(original: "Buffer | Stretch", skipped_bytes: int) -> "Buffer | Stretch":
    """What the signed file has of an original, which is not copied."""
    if not skipped_bytes:
        return original
    return (original if isinstance(original, Stretch) else memoryview(original).cast("B"))[skipped_bytes:]


def digests_of(
    algorithm: str, documents: "Sequence[tuple[Buffer, ...]]", *, keeps_states: bool
) -> tuple[list[bytes], list[bytes]]:
    """The digests of documents that are an original, a head and the parts of a tail; and the SHA-256 states behind the heads."""
    if not keeps_states:
        return document_digests(algorithm, documents), [b""] * len(documents)
    found = long_term.states(documents)
    # Time stamps use SHA-256, whatever the signature uses.
    digests = [each for each, _ in found] if algorithm == "sha256" else document_digests(algorithm, documents)
    return digests, [state for _, state in found]


def contents_region(prepared: Prepared, update: Plan, evidence: Evidence, credential: Credential) -> bytes:
    """The value of /Contents: the CMS in the room that is reserved for it. Raises ItemRejected."""
    template = CmsTemplate.cached(credential)
    time_stamp = evidence.time_stamps[0] if evidence.time_stamps else b""
    if prepared.level >= Level.T and not time_stamp:
        raise ItemRejected("the time stamp is missing")
    signed_data = template.signed_data(prepared.document_digest, evidence.signature, time_stamp)
    return padded(signed_data, update.reserved_bytes, "CMS")


def padded(der: bytes, reserved_bytes: int, name: str) -> bytes:
    """A hexadecimal string of so many bytes with `der` and zeros behind it (ISO 32000-2 12.8.1). Raises ItemRejected."""
    contents, room = der.hex().encode("ascii"), reserved_bytes - 2
    if len(contents) > room:
        raise ItemRejected(f"the {name} takes {len(contents)} hex digits, {room} are reserved")
    return b"<" + contents.ljust(room, b"0") + b">"


def section_of(update: Plan) -> long_term.Section:
    """What is planned behind the update. Raises ItemRejected."""
    if update.section is None:
        raise ItemRejected("the document was prepared without room for validation material")
    return update.section


def section_parts(
    prepared: Prepared, update: Plan, evidence: Evidence
) -> tuple[long_term.Section, tuple[bytes, bytes]]:
    """The plan of the section, and its bytes around the token. Raises ItemRejected."""
    section = section_of(update)
    return section, long_term.written(section, update.tail, evidence.material, prepared.time_stamp_bytes)


def section_segments(
    prepared: Prepared, update: Plan, evidence: Evidence, before: "Sequence[Buffer]"
) -> tuple[bytes, ...]:
    """What follows the update. `before` is what stands between its head and the section.

    Raises ItemRejected where the evidence is less than the level asks for, or about other bytes.
    """
    section, around = section_parts(prepared, update, evidence)
    if hashlib.sha256(evidence.signature).digest() not in evidence.time_stamps[0]:
        raise ItemRejected("the time stamp is about another signature than the one that is written here")
    if prepared.level < Level.LTA:
        return around[1:]
    if not evidence.archive_time_stamps:
        raise ItemRejected("the archive time stamp is missing")
    token = evidence.archive_time_stamps[0]
    if long_term.stamped_digest(section, *before, *around) not in token:
        raise ItemRejected("the archive time stamp is about another document than the one that is written here")
    return around[0], padded(token, 2 * prepared.time_stamp_bytes + 2, "archive time stamp"), around[1]


class PadesVisible(Pades):
    """The format of what is stored of a visible signature. Requests come to `Pades`."""

    name = VISIBLE_NAME
    signs = frozenset()


class PadesFromHeader(Pades):
    """The format of what is stored of a document with other bytes before its header. Requests come to `Pades`."""

    name = FROM_HEADER_NAME
    signs = frozenset()


def tail_of(prepared: Prepared, update: Plan) -> "list[Buffer]":
    """The tail in parts. Raises ItemRejected where what it shares with other documents was not read."""
    if len(update.gaps) != len(prepared.shared):
        raise ItemRejected("the document was read without what it shares with others")
    return whole_tail(update.tail, update.gaps, prepared.shared)


def whole_tail(tail: bytes, offsets: Sequence[int], shared: Sequence[bytes]) -> "list[Buffer]":
    """The tail in parts, with the shared contents between them."""
    parts: list[Buffer] = []
    view, at = memoryview(tail), 0
    for offset, content in zip(offsets, shared, strict=True):
        parts += (view[at:offset], content)
        at = offset
    return [*parts, view[at:]] if parts else [tail]


def needs_more(found: "visible.Drawn | Refusal") -> bool:
    """Whether a plan had too little memory."""
    return (
        not isinstance(found, Refusal) and isinstance(found[0], planner.PlanRefusal) and found[0].code == "limit_memory"
    )


def plan(
    content: "Buffer",
    wanted: Description,
    template: CmsTemplate,
    pdf_time: str,
    time_stamp_bytes: int,
    memory: Memory,
    drawing: visible.Drawing,
    digest_algorithm: str,
) -> "tuple[planner.PlannedUpdate, tuple[bytes, ...]] | Refusal":
    """The incremental update that holds the signature field, with what it shares with others, or why this PDF can have none.

    The time stamp comes after the document was digested, so the reserved region must have room for it and its attribute.
    """
    room_bytes = time_stamp_bytes + ATTRIBUTE_BYTES if wanted.level >= Level.T else 0

    planning = Planning(content)

    def within(memory_bytes: int) -> "visible.Drawn | Refusal":
        invisible = partial(
            planning,
            contents_bytes=template.contents_bytes + room_bytes,
            reason=wanted.reason,
            location=wanted.location,
            signing_time=pdf_time,
            section=wanted.level >= Level.LT,
            time_stamp=wanted.level >= Level.LTA,
            digest_algorithm=digest_algorithm,
            max_memory_bytes=memory_bytes,
        )
        if wanted.visible:
            return drawing.plan(content, wanted, invisible)
        return invisible(), ()

    size = len(memoryview(content))
    found = within(PLANNING_BYTES + min(size, PLANNED_BATCH_BYTES) // PLANNING_PART)
    if needs_more(found) and size > PLANNED_BATCH_BYTES:
        with memory(min(planner.memory_bound(size), PLANNING_BYTES + size // PLANNING_PART)) as granted:
            found = within(granted)
    if needs_more(found):
        # The answer is a copy of what the plan holds, so both are there for a moment.
        # In an encrypted document the appearance is a part of both.
        answered = planner.update_bound(size) + (drawing.shared_bytes if planning.is_encrypted else 0)
        drawn = UNSHARED_FACTOR * drawing.shared_bytes if planning.is_encrypted else 0
        with memory(planner.memory_bound(size) + drawn + answered) as granted:
            found = within(max(1, granted - answered))
    if isinstance(found, Refusal):
        return found
    update, shared = found
    if isinstance(update, planner.PlanRefusal):
        # All other refusals follow from the document alone.
        ours = update.code == "no_memory"
        return Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR if ours else SignError.NOT_SIGNABLE, update.message)
    return update, shared
