"""Rows as the rest of the service sees them: frozen, typed, without the database's own values."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from batchseal.document import Evidence, Refusal, ToSign
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus, SignError

REGISTRATION_FENCE = 1
# How long `claim` leaves a new operation to the worker that is about to hand it to the signer.
WAKE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation to register. `instance` holds the payload; host and port are what replies advertise."""

    payload_id: UUID
    client_service: str
    external_reference: str
    description: str
    mode: Mode
    instance: UUID
    host: str
    port: int
    return_signed_content: bool | None = None
    documents_digest: bytes = b""  # SHA-256 over the documents' digests, for the audit trail
    payload_record: bytes = b""  # what the payload store wants to know when it is asked for the payload


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to register; one with a `refusal` ends at once."""

    ordinal: int
    external_reference: str
    name: str
    content_type: ContentType
    content_bytes: int
    refusal: Refusal | None = None


class PayloadColumns(NamedTuple):
    """What a row says of the payloads of its operation. Only `payloads` reads the two records."""

    payload_id: UUID
    payload_record: bytes
    further_payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OperationRow:
    """An operation as stored. Times are aware, in UTC, in whole milliseconds."""

    id: int
    payload_id: UUID
    client_service: str
    external_reference: str
    description: str
    mode: Mode
    status: OperationStatus
    created_at: datetime
    finished_at: datetime | None
    instance: UUID
    host: str
    port: int
    documents_total: int
    documents_signed: int
    documents_failed: int
    return_signed_content: bool | None
    payload_purged: bool
    payload_record: bytes = b""
    further_payloads: tuple[bytes, ...] = ()

    @property
    def payloads(self) -> PayloadColumns:
        return PayloadColumns(self.payload_id, self.payload_record, self.further_payloads)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as stored, without its content. `additional_bytes` is what signing added."""

    ordinal: int
    external_reference: str
    name: str
    content_type: ContentType
    status: DocumentStatus
    sign_error: SignError | None
    cause: str | None
    content_bytes: int
    additional_bytes: int
    evidence: Evidence | None = None  # of a signed document, where it came with the row


@dataclass(frozen=True, slots=True)
class ClaimedOperation:
    """An operation under lease. Every write to it names `fence`; `tries` counts those that ended in
    EXECUTION_ERROR.

    `fence` grows with each claim: far more claims than tries means that its worker keeps dying.
    """

    row: OperationRow
    fence: int
    tries: int
    documents: Sequence[DocumentRow] | None = None  # where they are known without asking
    to_sign: Sequence[ToSign] = ()  # what is prepared for `fingerprint`, where that is known without looking
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """What the database keeps of one document while it is signed. `tries`: sign calls that it was in."""

    ordinal: int
    evidence: Evidence | None = None
    tries: int = 0


class OperationEnd(NamedTuple):
    """What an operation's end says: documents given up, and when (None where it is not the end yet)."""

    failed: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Registration:
    """A new operation as its worker hands it to the signer, which begins under the lease of the registration. `asked_at`:
    monotonic seconds, from before it was registered.
    """

    row: OperationRow
    documents: list[DocumentRow]
    to_sign: list[ToSign]
    fingerprint: bytes  # of the credential that `to_sign` was prepared for
    asked_at: float

    def claimed(self) -> ClaimedOperation | None:
        """None where it comes so late that a `claim` may have taken the lease over."""
        if time.monotonic() - self.asked_at > WAKE_SECONDS:
            return None
        return ClaimedOperation(self.row, REGISTRATION_FENCE, 0, self.documents, self.to_sign, self.fingerprint)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit trail as it is chained. `event` is one of `audit.chain.Event`."""

    position: int
    at: datetime
    operation_id: int
    month: date
    signed: int
    failed: int
    event: int
    client_service: str
    digest: bytes
    credential: bytes
    link: bytes


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers for `/metrics` and `check`."""

    operations: Mapping[OperationStatus, int]
    documents: Mapping[OperationStatus, int]
    unfinished: int
    oldest_unfinished_seconds: float
    database_bytes: int


def operation_row(record: Mapping[str, Any]) -> OperationRow:
    return OperationRow(
        id=record["id"],
        payload_id=record["payload_id"],
        client_service=record["client_service"],
        external_reference=record["external_reference"],
        description=record["description"],
        mode=Mode(record["mode"]),
        status=OperationStatus(record["status"]),
        created_at=record["created_at"],
        finished_at=record["finished_at"],
        instance=record["instance"],
        host=record["host"],
        port=record["port"],
        documents_total=record["documents_total"],
        documents_signed=record["documents_signed"],
        documents_failed=record["documents_failed"],
        return_signed_content=record["return_signed_content"],
        payload_purged=record["payload_purged"],
        payload_record=record["payload_record"],
        further_payloads=tuple(record["further_payloads"]),
    )


def payload_columns(record: Mapping[str, Any]) -> PayloadColumns:
    return PayloadColumns(record["payload_id"], record["payload_record"], tuple(record["further_payloads"]))


def document_row(record: Mapping[str, Any]) -> DocumentRow:
    return DocumentRow(
        ordinal=record["ordinal"],
        external_reference=record["external_reference"],
        name=record["name"],
        content_type=ContentType(record["content_type"]),
        status=DocumentStatus(record["status"]),
        sign_error=SignError(record["sign_error"]) if record["sign_error"] else None,
        cause=record["cause"] or None,
        content_bytes=record["content_bytes"],
        additional_bytes=record["additional_bytes"],
    )


def claimed_operation(record: Mapping[str, Any]) -> ClaimedOperation:
    return ClaimedOperation(operation_row(record), record["fence"], record["tries"])
