"""Turns Python values into column values and back, and checks which values a row can hold."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import msgspec
import xxhash

from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import TooLarge, ValueNotAllowed
from batchseal.operation import DocumentStatus, OperationStatus
from batchseal.store.rows import DocumentRow, NewDocument, NewOperation, OperationEnd, OperationRow, SignatureRow

# An entry of a B-tree index holds at most 2,704 bytes. The client service and the external reference share one entry.
MAX_KEY_BYTES = 2_600
MAX_CAUSE_CHARACTERS = 500
MAX_TRIES = (1 << 15) - 1  # the largest value of the column, which is a smallint
SURROGATE = re.compile("[\ud800-\udfff]")


def month_of(created_at: datetime) -> date:
    """The first day of the month in which an operation was registered (UTC). It names the partition of its documents."""
    return created_at.astimezone(UTC).date().replace(day=1)


def day_of(created_at: datetime) -> date:
    """The day on which an operation was registered (UTC). It names the partition of its signatures."""
    return created_at.astimezone(UTC).date()


def reference_key(client_service: str, reference: str) -> int:
    """A signed 32-bit number that stands for a document's reference in the index.

    It is stored, so it must never be computed otherwise.
    """
    return xxhash.xxh32_intdigest(f"{client_service}\0{reference}".encode()) - (1 << 31)


def document_columns(client_service: str, documents: Sequence[NewDocument]) -> tuple[list[Any], ...]:
    """The documents as one array for each column: content bytes, ordinals, reference keys, statuses, content types, signErrors,
    external references, names, causes, media types.
    """
    refusals = [document.refusal for document in documents]
    return (
        [document.content_bytes for document in documents],
        [document.ordinal for document in documents],
        [reference_key(client_service, document.external_reference) for document in documents],
        [DocumentStatus.ERROR_SIGNING if refusal else DocumentStatus.RECEIVED for refusal in refusals],
        [document.content_type.stored for document in documents],
        [refusal.sign_error.stored if refusal else 0 for refusal in refusals],
        [document.external_reference for document in documents],
        [document.name for document in documents],
        [storable_cause(refusal.cause) if refusal else "" for refusal in refusals],
        [document.other_type for document in documents],
    )


def outcome_columns(
    outcomes: Sequence[DocumentOutcome],
) -> tuple[list[int], list[int], list[int], list[str], list[int], list[int]]:
    """The outcomes as one array for each column: ordinals, statuses, signErrors, causes, additional bytes, levels."""
    return (
        [outcome.ordinal for outcome in outcomes],
        [DocumentStatus.ERROR_SIGNING if outcome.refusal else DocumentStatus.SIGNED for outcome in outcomes],
        [outcome.refusal.sign_error.stored if outcome.refusal else 0 for outcome in outcomes],
        [storable_cause(outcome.refusal.cause) if outcome.refusal else "" for outcome in outcomes],
        [outcome.additional_bytes for outcome in outcomes],
        [outcome.level or 0 for outcome in outcomes],
    )


def outcome_places(outcomes: Sequence[DocumentOutcome]) -> tuple[list[int], int]:
    """Where the outcome of a document stands in these arrays, counted from 1: `places[ordinal - before - 1]`. Returns both."""
    if not outcomes:
        return [], 0
    ordinals = [outcome.ordinal for outcome in outcomes]
    before = min(ordinals) - 1
    places = [0] * (max(ordinals) - before)
    for place, ordinal in enumerate(ordinals, 1):
        places[ordinal - before - 1] = place
    return places, before


class StoredEvidence(msgspec.Struct, omit_defaults=True):
    """The content of the column `evidence`: all evidence but the signature value. A new field needs a default, for older rows."""

    time_stamps: list[bytes] = []
    version: int = 1
    material: bytes = b""  # the digest of validation material, which is a row of `validation_materials`
    archive_time_stamps: list[bytes] = []


_encode_evidence = msgspec.msgpack.Encoder().encode
_decode_evidence = msgspec.msgpack.Decoder(StoredEvidence).decode


def signature_columns(kept: Sequence[SignatureRow]) -> tuple[list[int], list[bytes], list[bytes], list[int]]:
    """The rows as one array for each column: ordinals, signature values, the rest of the evidence, tries.

    Where a signature value is empty, the statement leaves the stored one as it is, and the rest of its evidence too.
    """
    return (
        [one.ordinal for one in kept],
        [one.evidence.signature if one.evidence else b"" for one in kept],
        [_stored_evidence(one.evidence) for one in kept],
        [min(one.tries, MAX_TRIES) for one in kept],
    )


def _stored_evidence(evidence: Evidence | None) -> bytes:
    if evidence is None or not evidence.time_stamps:
        return b""
    digest = material_digest(evidence.material) if evidence.material else b""
    archive = list(evidence.archive_time_stamps)
    return _encode_evidence(StoredEvidence(list(evidence.time_stamps), material=digest, archive_time_stamps=archive))


@lru_cache(maxsize=64)
def material_digest(material: bytes) -> bytes:
    """The SHA-256 under which validation material is stored. Computed once for all documents that share it."""
    return hashlib.sha256(material).digest()


def wanted_material(record: Mapping[str, Any]) -> bytes:
    """The digest of the validation material that a record of the query `evidence` refers to; empty where there is none."""
    return _decode_evidence(record["evidence"]).material if record["evidence"] else b""


def signature_row(record: Mapping[str, Any], materials: Mapping[bytes, bytes]) -> SignatureRow:
    """The row in a database record of the query `evidence`. `materials` holds validation material by its digest.

    What depends on material that is missing counts as missing too.
    """
    evidence = None
    if record["signature"]:
        rest = _decode_evidence(record["evidence"]) if record["evidence"] else StoredEvidence()
        material = materials.get(rest.material, b"") if rest.material else b""
        archive = tuple(rest.archive_time_stamps) if material else ()
        evidence = Evidence(record["signature"], tuple(rest.time_stamps), material, archive)
    return SignatureRow(record["ordinal"], evidence, record["tries"])


def registered_document(document: NewDocument) -> DocumentRow:
    """The row that the registration of `document` has made."""
    refusal = document.refusal
    return DocumentRow(
        ordinal=document.ordinal,
        external_reference=document.external_reference,
        name=document.name,
        content_type=document.content_type,
        status=DocumentStatus.ERROR_SIGNING if refusal else DocumentStatus.RECEIVED,
        sign_error=refusal.sign_error if refusal else None,
        cause=storable_cause(refusal.cause) if refusal else None,
        content_bytes=document.content_bytes,
        additional_bytes=0,
        other_type=document.other_type,
    )


def as_ended(
    row: OperationRow,
    documents: Sequence[DocumentRow],
    outcomes: Mapping[int, DocumentOutcome],
    evidence: Mapping[int, Evidence],
    ended: OperationEnd,
) -> tuple[OperationRow, list[DocumentRow]]:
    """The rows as they are after the end of the operation, computed from the rows before it. This saves reading them again.

    The keys of `outcomes` and `evidence` are ordinals.
    """
    operation = replace(
        row,
        status=OperationStatus.EXECUTION_FAILED if ended.failed else OperationStatus.EXECUTED,
        finished_at=ended.finished_at,
        documents_signed=row.documents_total - ended.failed,
        documents_failed=ended.failed,
    )
    return operation, [
        _ended_document(document, outcomes.get(document.ordinal), evidence.get(document.ordinal))
        for document in documents
    ]


def _ended_document(row: DocumentRow, outcome: DocumentOutcome | None, evidence: Evidence | None) -> DocumentRow:
    if outcome is None:  # the document was refused on arrival
        return row
    if (refusal := outcome.refusal) is None:
        added_bytes, level = outcome.additional_bytes, outcome.level
        return replace(row, status=DocumentStatus.SIGNED, additional_bytes=added_bytes, evidence=evidence, level=level)
    return replace(
        row, status=DocumentStatus.ERROR_SIGNING, sign_error=refusal.sign_error, cause=storable_cause(refusal.cause)
    )


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can store the text: it takes neither U+0000 nor half a surrogate pair, which UTF-8 cannot encode."""
    return "\0" not in text and SURROGATE.search(text) is None


def storable_cause(cause: str) -> str:
    """The cause in a form that can be stored. A cause may quote what others sent, of any length and with any character."""
    return cause.replace("\0", "")[:MAX_CAUSE_CHARACTERS].encode("utf-8", "replace").decode()


def check_storable(operation: NewOperation, documents: Sequence[NewDocument]) -> None:
    """Raises ValueNotAllowed or TooLarge for a value that the database cannot store unchanged."""
    if not is_storable(operation.external_reference) or not is_storable(operation.description):
        raise ValueNotAllowed("externalReference or description contains U+0000 or half a surrogate pair")
    if len(f"{operation.client_service}{operation.external_reference}".encode()) > MAX_KEY_BYTES:
        raise TooLarge("externalReference is longer than the database can store")
    for document in documents:
        if not is_storable(document.external_reference) or not is_storable(document.name):
            raise ValueNotAllowed(
                f"document {document.ordinal}: externalReference or name contains U+0000 or half a surrogate pair"
            )
