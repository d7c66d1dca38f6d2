"""The format XAdES (ETSI EN 319 132-1): the original document with one ds:Signature element put into it.

The signed file is: the original up to the insertion, the signature, the rest of the original. Where the parent is an empty
element such as `<a/>`, it is opened into `<a>…</a>`, which has the same canonical form.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from batchseal._native.canonicaliser import TOLD_IDS
from batchseal._native.digest import Sha256State
from batchseal.document import (
    DEFAULT_TIME_STAMP_BYTES,
    MAX_TIME_STAMP_BYTES,
    BegunDigest,
    Credential,
    Description,
    Evidence,
    Prepared,
    Refusal,
    SignedDocument,
    Stretch,
)
from batchseal.errors import DocumentUnsuitable, ItemRejected
from batchseal.formats.interface import Memory, Need, NeedKind, Original, unbooked
from batchseal.formats.token import chain_of
from batchseal.formats.xades import names
from batchseal.formats.xades.canonical import CanonicalDocument, Insertion, Wish, canonicalise
from batchseal.formats.xades.location import parse
from batchseal.formats.xades.template import (
    CANONICAL_TRANSFORMS,
    TRANSFORMS,
    Style,
    XadesTemplate,
    canonical_value,
    encoded,
    raw_value,
)
from batchseal.formats.xades.unsigned import properties, unsigned_properties
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureOptions, SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "xades"
# Characters that XML 1.0 has no way to write (2.2).
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# How often another suffix is tried where ids of the document collide with ours.
MAX_SUFFIXES = 1000
# What stands behind the signature in a document is kept with its plan where it is so short. Most signatures are the last child of
# the root, and its end tag alone follows.
KEPT_REST_BYTES = 4096
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


class Plan(msgspec.Struct, frozen=True):
    """How the signature is written, and where it goes, as it is stored. New fields have defaults.

    `document_state` is a kept Sha256State behind the canonical document, with which the input of an archive time stamp begins.
    `version` says how the text is made of `style`. Who writes signatures in another way counts on, and keeps the way before.
    """

    style: Style
    insertion: Insertion
    value_bytes: int  # the length of the signature value as XML has it
    is_ecdsa: bool = False
    time_stamp_room: int = 0  # the length of the longest token, as far as it is part of `additional_bytes`
    version: int = 1
    document_state: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_plan = msgspec.msgpack.Decoder(Plan).decode


class Xades:
    """A `SignatureFormat`."""

    name = NAME
    signs = frozenset({(SignatureType.XADES, kind) for kind in (ContentType.TEXT_XML, ContentType.APPLICATION_XML)})

    def offers(self, wanted: Description) -> Refusal | None:
        options, cause = wanted.options, None
        if wanted.visible:
            cause = "a signature in XML cannot be visible"
        elif options.transform and options.transform not in TRANSFORMS:
            cause = f"signatureTransform {options.transform[:40]!r} is not one of {', '.join(TRANSFORMS)}"
        elif options.canonical and options.canonical not in CANONICAL_TRANSFORMS:
            cause = f"canonicalTransform {options.canonical[:40]!r} is not one of {', '.join(CANONICAL_TRANSFORMS)}"
        elif wanted.location and UNWRITABLE.search(wanted.location):
            cause = "location has a character that XML cannot hold"
        else:
            try:
                parse(options.location)
            except DocumentUnsuitable as problem:
                cause = problem.cause
        return Refusal(SignError.CONFIGURATION_SIGN_ERROR, cause) if cause else None

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES,
        memory: Memory = unbooked,
    ) -> list[Prepared | Refusal]:
        found = canonicalise(
            [(content, wish(wanted, credential, signing_time)) for _, wanted, content in originals], memory
        )
        results: list[Prepared | Refusal] = []
        for (ordinal, wanted, content), canonical in zip(originals, found, strict=True):
            if isinstance(canonical, DocumentUnsuitable):
                results.append(Refusal(canonical.sign_error, canonical.cause))
            else:
                begun = begin(content, canonical.insertion) if wanted.evidence_record else None
                results.append(prepare_one(ordinal, wanted, canonical, credential, signing_time, begun))
        return results

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        if prepared.level >= Level.T and not evidence.time_stamps:
            text = stamped_text(_plan(prepared.plan), evidence)
            return Need(NeedKind.TIME_STAMP, hashlib.sha256(text).digest())
        if prepared.level >= Level.LT and not evidence.material:
            chains = (credential.chain, chain_of(evidence.time_stamps[0]))
            return Need(NeedKind.VALIDATION_MATERIAL, chains=chains)
        if prepared.level >= Level.LTA and not evidence.archive_time_stamps:
            return Need(NeedKind.ARCHIVE_TIME_STAMP, archived_digest(prepared, evidence, credential))
        return None

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        if not evidence.time_stamps:
            return prepared.additional_bytes
        plan = _plan(prepared.plan)
        width = len(encoded("=", plan.insertion.codec))
        room = stamped_length(plan.style, plan.time_stamp_room) if plan.time_stamp_room else 0
        return prepared.additional_bytes + width * (len(unsigned_properties(evidence, plan.style.ids)) - room)

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        plan = _plan(prepared.plan)
        template = XadesTemplate.cached(credential, plan.style)
        # What is written here was signed when it was prepared, perhaps by another release.
        if template.signed_info_digest(prepared.document_digest) != prepared.digest:
            raise ItemRejected("the signature is about another text than the one that is written here")
        check_evidence(prepared, plan, evidence, credential)
        where = plan.insertion
        view = original if isinstance(original, Stretch) else memoryview(original).cast("B")
        unsigned = unsigned_properties(evidence, plan.style.ids) if prepared.level >= Level.T else ""
        signature = template.signature(prepared.document_digest, evidence.signature, unsigned)
        text = encoded(f"{where.before}{signature}{where.after}", where.codec)
        segments = (view[: where.offset], text, view[where.offset + where.removed_bytes :])
        return SignedDocument(prepared.ordinal, segments, len(view) - where.removed_bytes + len(text))


def stamped_text(plan: Plan, evidence: Evidence) -> bytes:
    """What a signature time stamp is about. Raises ItemRejected."""
    raw = raw_value(evidence.signature, plan.value_bytes, is_ecdsa=plan.is_ecdsa)
    return canonical_value(plan.style, raw)


def archived_digest(prepared: Prepared, evidence: Evidence, credential: Credential) -> bytes:
    """The SHA-256 digest that an archive time stamp is about (EN 319 132-1 5.5.2.2). Raises ItemRejected.

    Its input is what the references are about, then SignedInfo, SignatureValue and KeyInfo, then the unsigned properties, each in
    canonical form. Only what stands behind the document is digested here.
    """
    plan = _plan(prepared.plan)
    if not plan.document_state:
        raise ItemRejected("the document was prepared without what an archive time stamp needs")
    template, state = XadesTemplate.cached(credential, plan.style), Sha256State(plan.document_state)
    state.update(template.archived(prepared.document_digest, evidence.signature))
    state.update(properties(evidence, plan.style.ids, canonical=True).encode())
    return state.digest()


def check_evidence(prepared: Prepared, plan: Plan, evidence: Evidence, credential: Credential) -> None:
    """Raises ItemRejected where the evidence is less than the level asks for, or about something else."""
    other = "is about another text than the one that is written here"
    if prepared.level >= Level.T:
        if not evidence.time_stamps:
            raise ItemRejected("the time stamp is missing")
        if hashlib.sha256(stamped_text(plan, evidence)).digest() not in evidence.time_stamps[0]:
            raise ItemRejected(f"the time stamp {other}")
    if prepared.level >= Level.LT and not evidence.material:
        raise ItemRejected("the validation material is missing")
    if prepared.level >= Level.LTA:
        if not evidence.archive_time_stamps:
            raise ItemRejected("the archive time stamp is missing")
        if archived_digest(prepared, evidence, credential) not in evidence.archive_time_stamps[0]:
            raise ItemRejected(f"the archive time stamp {other}")


def stamped_length(style: Style, token_bytes: int) -> int:
    """The length of unsigned properties that hold only a time stamp of so many bytes."""
    return len(unsigned_properties(Evidence(b"", (bytes(token_bytes),)), style.ids))


def begin(content: "Buffer", where: Insertion) -> BegunDigest:
    """What is known of the signed document's digest: what stands before the signature, and the rest where it is short.

    A long rest is read again, in blocks, once the signature is there: it comes behind bytes that nobody knows before.
    """
    view, state = memoryview(content).cast("B"), Sha256State()
    state.update(view[: where.offset])
    rest = view[where.offset + where.removed_bytes :]
    return BegunDigest(state.kept(), where.offset, bytes(rest) if len(rest) <= KEPT_REST_BYTES else b"")


def prepare_one(
    ordinal: int,
    wanted: Description,
    found: CanonicalDocument,
    credential: Credential,
    signing_time: datetime,
    begun: BegunDigest | None = None,
) -> Prepared | Refusal:
    """`found` is what the canonicaliser said of the document."""
    style = unused_style(wanted, found, credential, signing_time)
    if style is None:
        return Refusal(SignError.NOT_SIGNABLE, "the ids of the document leave none for a signature")
    template, where = XadesTemplate.cached(credential, style), found.insertion
    room = MAX_TIME_STAMP_BYTES if wanted.level >= Level.T else 0
    text_bytes = template.encoded_bytes(where.codec)
    if room:
        text_bytes += len(encoded("=", where.codec)) * stamped_length(style, room)
    around_bytes = len(encoded(where.before + where.after, where.codec)) - where.removed_bytes
    return Prepared(
        ordinal=ordinal,
        format=NAME,
        digest=template.signed_info_digest(found.digest),
        document_digest=found.digest,
        fingerprint=credential.fingerprint,
        level=wanted.level,
        additional_bytes=text_bytes + around_bytes,
        plan=_encode(Plan(style, where, template.value_bytes, template.is_ecdsa, room, document_state=found.state)),
        time_stamp_bytes=room,
        begun=begun,
    )


def unused_style(
    wanted: Description, found: CanonicalDocument, credential: Credential, signing_time: datetime
) -> Style | None:
    """The style of the signature, with ids that the document does not have. They are the same for a whole operation otherwise."""
    style = first = _first_style(
        wanted.options,
        wanted.content_type,
        wanted.location or "",
        reference_uri(wanted),
        credential.fingerprint,
        signing_time,
    )
    if len(found.ids) >= TOLD_IDS:
        return None
    for number in range(2, MAX_SUFFIXES + 1):
        if not found.ids or found.ids.isdisjoint(style.ids):
            return style
        style = replace(first, suffix=f"{first.suffix}-{number}")
    return None


def first_suffix(fingerprint: bytes, signing_time: datetime) -> str:
    """What every id of a signature ends in, unless a document has such ids already. Then a number follows."""
    return hashlib.sha256(fingerprint + signing_time.strftime(MOMENT).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)  # nearly always the same for all documents of an operation
def _first_style(
    options: SignatureOptions,
    content_type: ContentType,
    city: str,
    uri: str,
    fingerprint: bytes,
    signing_time: datetime,
) -> Style:
    return Style(
        signing_time=signing_time.strftime(MOMENT),
        suffix=first_suffix(fingerprint, signing_time),
        transform=options.transform or "ENVELOPED",
        canonical=options.canonical or "EXCLUSIVE",
        uri=uri,
        mime_type=content_type.media_type,
        city=city,
        policy=options.policy,
        role=options.role,
    )


def wish(wanted: Description, credential: Credential, signing_time: datetime) -> Wish:
    """What is asked of the document. `offers` has found nothing wrong."""
    return Wish(
        location=parse(wanted.options.location),
        digest_algorithm=credential.digest_algorithm,
        without_signatures=wanted.options.transform in ("XPATH", "XPATH2_FILTER"),
        with_comments=reference_uri(wanted) == names.WHOLE_DOCUMENT_WITH_COMMENTS,
        keep_state=wanted.level >= Level.LTA,
        id_part=first_suffix(credential.fingerprint, signing_time),
    )


def reference_uri(wanted: Description) -> str:
    """Comments are covered only where the reference names the document in the longer form (XMLDSig 4.4.3.3)."""
    with_comments = wanted.options.canonical == "EXCLUSIVE_WITH_COMMENTS" and wanted.options.covers_comments
    return names.WHOLE_DOCUMENT_WITH_COMMENTS if with_comments else names.WHOLE_DOCUMENT
