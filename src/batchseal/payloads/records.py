"""What a payload holds beside the documents: msgpack records with names and defaults, so that fields can be added.

A release reads the records of the one before it, and ignores fields of the one after it. Records of release 0.1 had no version;
the last part of this module reads them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from batchseal.document import DEFAULT_TIME_STAMP_BYTES, BegunDigest, Credential, Description, Evidence, Prepared
from batchseal.errors import PayloadDamaged
from batchseal.operation import ContentType
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import Frame, PayloadReader
from batchseal.signature import (
    Level,
    SignatureLook,
    SignatureOptions,
    SignaturePlace,
    SignatureType,
    VisibleSignature,
)


class AskedDocument(msgspec.Struct, omit_defaults=True):
    """What was asked for one document, as far as a later preparation needs it. Its names stand in the database."""

    ordinal: int
    content_type: ContentType
    reason: str | None = None
    location: str | None = None
    signature_type: SignatureType = SignatureType.PADES
    level: Level = Level.B
    visible: bool = False
    options: SignatureOptions | None = None
    other_type: str = ""
    place: SignaturePlace | None = None  # of a visible signature
    look: int = -1  # its look, by its position in `Asked.looks`
    visible_signature: VisibleSignature | None = None  # both, put together when they are read; this is not stored
    evidence_record: bool = False


class Asked(msgspec.Struct, omit_defaults=True):
    """The content of the one DESCRIPTIONS frame. Documents whose visible signatures look the same share one look."""

    documents: list[AskedDocument]
    version: int = 2
    looks: list[SignatureLook] = []


class PreparedRecord(msgspec.Struct, omit_defaults=True):
    """The content of a PREPARED frame. The last six fields are those of release 0.1, which knew one format and no name for it.

    Records without `time_stamp_bytes` are of a release that always reserved this much.
    """

    ordinal: int
    version: int = 2
    format: str = ""
    digest: bytes = b""
    document_digest: bytes = b""
    fingerprint: bytes = b""
    level: Level = Level.B
    additional_bytes: int = 0
    plan: bytes = b""
    time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES
    is_exact: bool = True
    shared: list[bytes] = []  # the keys of SHARED frames
    begun: BegunDigest | None = None

    head: bytes = b""
    tail: bytes = b""
    reserved_bytes: int = 0
    message_digest: bytes = b""
    attributes_digest: bytes = b""
    timestamp: bool = False


# Release 0.1: ordinal, content type, reason, location, whether a time stamp was asked for.
AskedTuple = tuple[int, ContentType, str | None, str | None, bool]

T = TypeVar("T")
DEFAULT_OPTIONS = SignatureOptions()

_encode = msgspec.msgpack.Encoder().encode
_prepared = msgspec.msgpack.Decoder(PreparedRecord).decode
_credential = msgspec.msgpack.Decoder(Credential).decode
_asked = msgspec.msgpack.Decoder(Asked | list[AskedTuple]).decode
_tries = msgspec.msgpack.Decoder(dict[int, int]).decode


# --- writing ---------------------------------------------------------------------------------------------------------


class PreparedFrames:
    """The frames of the prepared documents of one payload: what they share with others is written once."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}  # by content

    def frames(self, prepared: Iterable[Prepared]) -> Iterator[Frame]:
        """A frame for each document, and before it one for each content that is new in this payload."""
        for one in prepared:
            for content in one.shared:
                if content not in self._keys:
                    key = self._keys[content] = shared_key(content)
                    yield FrameKind.SHARED, _shared_ordinal(key), content
            yield prepared_frame(one, [self._keys[content] for content in one.shared])


def prepared_frame(prepared: Prepared, shared: Sequence[bytes] = ()) -> Frame:
    """The frame of a document. `shared` are the keys of what it shares with others."""
    record = PreparedRecord(
        ordinal=prepared.ordinal,
        format=prepared.format,
        digest=prepared.digest,
        document_digest=prepared.document_digest,
        fingerprint=prepared.fingerprint,
        level=prepared.level,
        additional_bytes=prepared.additional_bytes,
        plan=prepared.plan,
        time_stamp_bytes=prepared.time_stamp_bytes,
        is_exact=prepared.is_exact,
        shared=list(shared),
        begun=prepared.begun,
    )
    return FrameKind.PREPARED, prepared.ordinal, _encode(record)


def credential_frame(credential: Credential) -> Frame:
    return FrameKind.CREDENTIAL, _credential_ordinal(credential.fingerprint), _encode(credential)


def asked_frame(asked: Iterable[tuple[int, Description]]) -> Frame:
    """`asked`: the ordinal of each document, and what its caller says of it."""
    looks: dict[SignatureLook, int] = {}
    documents = [
        AskedDocument(
            ordinal,
            what.content_type.stored,
            what.reason,
            what.location,
            signature_type=what.signature_type,
            level=what.level,
            visible=what.visible,
            options=None if what.options == DEFAULT_OPTIONS else what.options,
            other_type=what.other_type,
            place=what.visible_signature.place if what.visible_signature else None,
            look=looks.setdefault(what.visible_signature.look, len(looks)) if what.visible_signature else -1,
            evidence_record=what.evidence_record,
        )
        for ordinal, what in asked
    ]
    return FrameKind.DESCRIPTIONS, 0, _encode(Asked(documents, looks=list(looks)))


def has_credential(reader: PayloadReader, fingerprint: bytes) -> bool:
    """Whether the credential is stored and is what was written. Raises PayloadUnavailable."""
    try:
        return read_credential(reader, fingerprint).fingerprint == fingerprint
    except PayloadDamaged:
        return False


def shared_key(content: bytes) -> bytes:
    """What a shared content is known by. Contents that differ never have the same key: it is a digest, of 128 bits."""
    return hashlib.sha256(content).digest()[:16]


def _shared_ordinal(key: bytes) -> int:
    return int.from_bytes(key[:4], "little")


def _credential_ordinal(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint[:4], "little")


# --- reading: all raise PayloadDamaged and PayloadUnavailable --------------------------------------------------------


class SharedContents:
    """Reads what prepared documents share, each content once."""

    def __init__(self, reader: PayloadReader) -> None:
        self._reader = reader
        self._found: dict[bytes, bytes] = {}

    def read(self, key: bytes) -> bytes:
        if key not in self._found:
            content = self._reader.read(FrameKind.SHARED, _shared_ordinal(key))
            if shared_key(content) != key:
                raise PayloadDamaged("what documents share is not what was stored")
            self._found[key] = content
        return self._found[key]


def read_prepared(reader: PayloadReader, ordinal: int, shared: SharedContents | None = None) -> Prepared:
    """The prepared document. What it shares with others is read only with `shared`."""
    raw = reader.read(FrameKind.PREPARED, ordinal)
    record = _decoded(_prepared, raw)
    if not record.format:
        return _prepared_of_release_0_1(record, raw)
    return Prepared(
        record.ordinal,
        record.format,
        record.digest,
        record.document_digest,
        record.fingerprint,
        record.level,
        record.additional_bytes,
        record.plan,
        record.time_stamp_bytes,
        record.is_exact,
        tuple(map(shared.read, record.shared)) if shared is not None else (),
        record.begun,
    )


def read_credential(reader: PayloadReader, fingerprint: bytes) -> Credential:
    return _decoded(_credential, reader.read(FrameKind.CREDENTIAL, _credential_ordinal(fingerprint)))


def read_asked(reader: PayloadReader) -> dict[int, AskedDocument]:
    """By ordinal."""
    found = _decoded(_asked, reader.read(FrameKind.DESCRIPTIONS, 0))
    if not isinstance(found, Asked):
        return {document.ordinal: document for document in map(_asked_of_release_0_1, found)}
    for document in found.documents:
        if document.place is not None and 0 <= document.look < len(found.looks):
            document.visible_signature = VisibleSignature(document.place, found.looks[document.look])
    return {document.ordinal: document for document in found.documents}


def description(asked: AskedDocument, external_reference: str, name: str) -> Description:
    return Description(
        external_reference,
        name,
        ContentType.read(asked.content_type, asked.other_type),
        asked.reason,
        asked.location,
        signature_type=asked.signature_type,
        level=asked.level,
        visible=asked.visible,
        options=asked.options or DEFAULT_OPTIONS,
        other_type=asked.other_type,
        visible_signature=asked.visible_signature,
        evidence_record=asked.evidence_record,
    )


def _decoded(decode: Callable[[bytes], T], raw: bytes) -> T:
    try:
        return decode(raw)
    except msgspec.MsgspecError as problem:
        raise PayloadDamaged(f"a stored record cannot be read: {problem}") from None


# --- release 0.1 kept signatures, time stamps and tries in the payload ------------------------------------------------


def _prepared_of_release_0_1(old: PreparedRecord, raw: bytes) -> Prepared:
    """The old record has the fields of the plan under the same names, so it is the plan."""
    return Prepared(
        ordinal=old.ordinal,
        format="pades",
        digest=old.attributes_digest,
        document_digest=old.message_digest,
        fingerprint=old.fingerprint,
        level=Level.T if old.timestamp else Level.B,
        additional_bytes=len(old.head) + old.reserved_bytes + len(old.tail),
        plan=raw,
        time_stamp_bytes=DEFAULT_TIME_STAMP_BYTES,
    )


def _asked_of_release_0_1(old: AskedTuple) -> AskedDocument:
    ordinal, content_type, reason, location, time_stamp = old
    return AskedDocument(ordinal, content_type, reason, location, level=Level.T if time_stamp else Level.B)


def read_old_evidence(reader: PayloadReader, ordinals: Sequence[int]) -> dict[int, Evidence]:
    """By ordinal, where the payload holds a signature that is what was written.

    The signature of a document that this release prepared anew does not count: it is about the document as it was before.
    """
    found: dict[int, Evidence] = {}
    for ordinal in ordinals:
        signature = _read_whole(reader, FrameKind.SIGNATURE, ordinal)
        if signature is not None and _is_of_release_0_1(reader, ordinal):
            stamp = _read_whole(reader, FrameKind.TIMESTAMP, ordinal)
            found[ordinal] = Evidence(signature, () if stamp is None else (stamp,))
    return found


def _read_whole(reader: PayloadReader, kind: FrameKind, ordinal: int) -> bytes | None:
    """The content of a frame, or None where it is missing or is not what was written."""
    if not reader.has(kind, ordinal):
        return None
    try:
        return reader.read(kind, ordinal)
    except PayloadDamaged:
        return None


def _is_of_release_0_1(reader: PayloadReader, ordinal: int) -> bool:
    """Whether the document was prepared by release 0.1. A record that cannot be read says nothing of a later release."""
    raw = _read_whole(reader, FrameKind.PREPARED, ordinal)
    return raw is None or not _decoded(_prepared, raw).format


def read_old_tries(reader: PayloadReader) -> dict[int, int]:
    """Sign calls by ordinal."""
    return _decoded(_tries, reader.read(FrameKind.TRIES, 0)) if 0 in reader.ordinals(FrameKind.TRIES) else {}
