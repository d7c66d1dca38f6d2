"""What the spill holds beside the documents, as msgpack records: prepared digests, signatures, credentials, descriptions."""

from collections.abc import Iterable, Mapping

import msgspec

from batchseal.document import Credential, Description, PreparedDigest, SignatureValue
from batchseal.errors import SpillDamaged
from batchseal.operation import ContentType
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.reader import SpillReader
from batchseal.payloads.writer import Frame
from batchseal.store.rows import DocumentRow

# Ordinal, content type, reason, location, time stamp: what a later preparation needs of the request.
WhatWasAsked = tuple[int, ContentType, str | None, str | None, bool]

_encode = msgspec.msgpack.Encoder().encode
_prepared = msgspec.msgpack.Decoder(PreparedDigest).decode
_credential = msgspec.msgpack.Decoder(Credential).decode
_tries = msgspec.msgpack.Decoder(dict[int, int]).decode
_asked = msgspec.msgpack.Decoder(list[WhatWasAsked]).decode


def prepared_frame(prepared: PreparedDigest) -> Frame:
    return FrameKind.PREPARED, prepared.ordinal, _encode(prepared)


def signature_frame(signature: SignatureValue) -> Frame:
    return FrameKind.SIGNATURE, signature.ordinal, signature.value


def timestamp_frame(ordinal: int, token: bytes) -> Frame:
    return FrameKind.TIMESTAMP, ordinal, token


def credential_frame(credential: Credential) -> Frame:
    return FrameKind.CREDENTIAL, _credential_ordinal(credential.fingerprint), _encode(credential)


def _credential_ordinal(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint[:4], "little")


def asked_frame(asked: Iterable[WhatWasAsked]) -> Frame:
    return FrameKind.DESCRIPTIONS, 0, _encode(list(asked))


def tries_frame(tries: Mapping[int, int]) -> Frame:
    """Replaces the one before: what is not named in it has had no try."""
    return FrameKind.TRIES, 0, _encode(dict(tries))


def read_prepared(reader: SpillReader, ordinal: int) -> PreparedDigest:
    return _prepared(reader.read(FrameKind.PREPARED, ordinal))


def read_signature(reader: SpillReader, ordinal: int) -> SignatureValue:
    return SignatureValue(ordinal, reader.read(FrameKind.SIGNATURE, ordinal))


def read_timestamp(reader: SpillReader, prepared: PreparedDigest) -> bytes:
    """The token, or b"" for a document that asks for none. Raises SpillDamaged where one is missing."""
    return reader.read(FrameKind.TIMESTAMP, prepared.ordinal) if prepared.timestamp else b""


def has_credential(reader: SpillReader, fingerprint: bytes) -> bool:
    return _credential_ordinal(fingerprint) in reader.ordinals(FrameKind.CREDENTIAL)


def read_credential(reader: SpillReader, fingerprint: bytes) -> Credential:
    return _credential(reader.read(FrameKind.CREDENTIAL, _credential_ordinal(fingerprint)))


def read_asked(reader: SpillReader) -> dict[int, WhatWasAsked]:
    """By ordinal."""
    return {item[0]: item for item in _asked(reader.read(FrameKind.DESCRIPTIONS, 0))}


def description(row: DocumentRow, asked: dict[int, WhatWasAsked]) -> Description:
    """What a preparation needs to know of a document: its row, and what the spill says was asked for it."""
    if row.ordinal not in asked:
        raise SpillDamaged(f"what was asked for document {row.ordinal} is not stored")
    _, content_type, reason, location, timestamp = asked[row.ordinal]
    return Description(row.external_reference, row.name, content_type, reason, location, apply_timestamp=timestamp)


def read_tries(reader: SpillReader) -> dict[int, int]:
    """Sign calls by ordinal; {} where none is known."""
    return _tries(reader.read(FrameKind.TRIES, 0)) if 0 in reader.ordinals(FrameKind.TRIES) else {}
