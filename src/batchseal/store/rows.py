"""Rows of the database as the rest of the service sees them: frozen types whose fields hold Python values."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from batchseal.document import Evidence, Refusal, ToSign
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.signature import Level

# The fence of an operation that was registered and never claimed.
REGISTRATION_FENCE = 1
# How long after the registration `claim` leaves an operation alone: its worker is about to hand it to the signer.
WAKE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation to register. `instance` is the one that holds the payload. Replies give `host` and `port` as its address."""

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
    payload_record: bytes = b""  # what the payload store needs to find the payload again
    stored_bytes: int = 0  # what the payload takes in its store
    evidence_record: bool = False  # whether one is to be made of its signed documents
    payload_store: str | None = (
        None  # where its payload lies; None: in the folder of `instance`, which alone can read it
    )
    token_holder: UUID | None = None  # the instance that has the token of a caller who signs with one of its own
    request_id: str = (
        ""  # of the request that brought it, and where that stands in a trace (system/telemetry/context.py)
    )
    trace_parent: str = ""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to register. One with a `refusal` is stored as ERROR_SIGNING."""

    ordinal: int
    external_reference: str
    name: str
    content_type: ContentType
    content_bytes: int
    refusal: Refusal | None = None
    other_type: str = ""  # the media type, where `content_type` is OTHER


class PayloadColumns(NamedTuple):
    """The columns of an operation that say where its payloads are. Only the package `payloads` can read the two records."""

    payload_id: UUID
    payload_record: bytes
    further_payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OperationRow:
    """An operation as it is stored. Times have a time zone (UTC) and whole milliseconds."""

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
    evidence_record: bool = False  # whether one was asked for
    payload_store: str | None = (
        None  # where its payload lies; None: in the folder of `instance`, which alone can read it
    )
    token_holder: UUID | None = (
        None  # the instance that has the token of its caller, where it signs with one of its own
    )
    request_id: str | None = None  # of the request that brought it
    trace_parent: str | None = None  # where that request stands in a trace (W3C Trace Context), if it stands in one
    reopened_at: datetime | None = None  # when its failed documents were last opened again, or it was resumed

    @property
    def payloads(self) -> PayloadColumns:
        """The columns that lead to the payloads of this operation."""
        return PayloadColumns(self.payload_id, self.payload_record, self.further_payloads)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as it is stored, without its content. `additional_bytes` is how much signing added to it."""

    ordinal: int
    external_reference: str
    name: str
    content_type: ContentType
    status: DocumentStatus
    sign_error: SignError | None
    cause: str | None
    content_bytes: int
    additional_bytes: int
    evidence: Evidence | None = None  # of a signed document, if whoever made this object knew it
    other_type: str = ""  # the media type, where `content_type` is OTHER
    level: Level | None = None  # of its signature, where that is known

    @property
    def media_type(self) -> str:
        """The media type of the original."""
        return self.other_type or self.content_type.media_type


@dataclass(frozen=True, slots=True)
class ClaimedOperation:
    """An operation that this process holds the lease of. Every write to the operation names `fence`.

    `tries` counts the runs that ended in EXECUTION_ERROR. `fence` grows with each claim, so a fence much higher than `tries`
    means that the process dies each time it works on this operation.
    """

    row: OperationRow
    fence: int
    tries: int
    documents: Sequence[DocumentRow] | None = None  # None: they must be read from the database
    to_sign: Sequence[ToSign] = ()  # prepared for `fingerprint`; what is missing here must be read from the payload
    fingerprint: bytes = b""
    is_durable: bool = False  # whether its worker made the payload of a synchronous operation durable
    documents_digest: bytes = b""  # of all its documents, if it was handed over (`audit.chain.documents_digest`)
    is_found: bool = False  # whether it was found in the database: a power cut may be why nobody has handed it over

    @property
    def may_be_torn(self) -> bool:
        """Whether a power cut may have taken a part of its payload, since nothing had made that durable.

        A store that several instances read takes a payload whole.
        """
        return self.is_found and self.row.mode is Mode.SYNC and self.row.payload_store is None


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """A row of the table `signatures`: what the database keeps of one document while it is being signed.

    `evidence` is None as long as there is no signature. `tries` counts the sign calls that the document was in.
    """

    ordinal: int
    evidence: Evidence | None = None
    tries: int = 0


class OperationEnd(NamedTuple):
    """What became of an operation: how many of its documents have failed, and when it ended (None: it has not ended yet)."""

    failed: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Registration:
    """A new operation as its worker hands it to the signer, which then works under the lease that the registration gave.

    `asked_at` is a time in seconds by the monotonic clock, taken before the operation was registered. `is_durable` says that the
    payload of a synchronous operation has survived a power cut by now, without the signer. `documents_digest` is what the audit
    trail says of the documents at the registration.
    """

    row: OperationRow
    documents: list[DocumentRow]
    to_sign: list[ToSign]
    fingerprint: bytes  # of the credential that `to_sign` was prepared for
    asked_at: float
    is_durable: bool = False
    documents_digest: bytes = b""

    def claimed(self) -> ClaimedOperation | None:
        """The operation with its lease. None if so much time has passed that another `claim` may have taken the lease."""
        if time.monotonic() - self.asked_at > WAKE_SECONDS:
            return None
        return ClaimedOperation(
            *(self.row, REGISTRATION_FENCE, 0, self.documents, self.to_sign, self.fingerprint),
            *(self.is_durable, self.documents_digest),
        )


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit trail with its place in the chain. `event` is one of `audit.chain.Event`."""

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
    actor: str = ""  # who acted, where a person did
    origin: str = ""  # from where
    detail: str = ""  # what was done, in words


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures for `/metrics` and `batchseal check`. The mappings count by the status of the operation."""

    operations: Mapping[OperationStatus, int]
    documents: Mapping[OperationStatus, int]
    unfinished: int
    oldest_unfinished_seconds: float
    database_bytes: int


def operation_row(record: Mapping[str, Any]) -> OperationRow:
    """The operation in a database record with all columns of the table `operations`."""
    return OperationRow(
        id=record["id"],
        payload_id=record["payload_id"],
        client_service=record["client_service"],
        external_reference=record["external_reference"],
        description=record["description"],
        mode=Mode.read(record["mode"], record["entry"]),
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
        evidence_record=record["evidence_record"],
        payload_store=record["payload_store"],
        token_holder=record["token_holder"],
        request_id=record["request_id"],
        trace_parent=record["trace_parent"],
        reopened_at=record["reopened_at"],
    )


def payload_columns(record: Mapping[str, Any]) -> PayloadColumns:
    """The payload columns in a database record that has at least these three."""
    return PayloadColumns(record["payload_id"], record["payload_record"], tuple(record["further_payloads"]))


def document_row(record: Mapping[str, Any]) -> DocumentRow:
    """The document in a database record of the query `documents`."""
    return DocumentRow(
        ordinal=record["ordinal"],
        external_reference=record["external_reference"],
        name=record["name"],
        content_type=ContentType.read(record["content_type"], record["media_type"]),
        status=DocumentStatus(record["status"]),
        sign_error=SignError.read(record["sign_error"], record["cause"]),
        cause=record["cause"] or None,
        content_bytes=record["content_bytes"],
        additional_bytes=record["additional_bytes"],
        other_type=record["media_type"],
        level=Level(record["level"]) if record["level"] else None,
    )


def claimed_operation(record: Mapping[str, Any], *, is_found: bool = False) -> ClaimedOperation:
    """The claimed operation in a database record with all columns of the table `operations`."""
    return ClaimedOperation(operation_row(record), record["fence"], record["tries"], is_found=is_found)
