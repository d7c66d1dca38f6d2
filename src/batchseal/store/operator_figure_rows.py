"""Figures as the operator's page sees them, see `operator_rows.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from batchseal.store.operator_rows import OperationLine
from batchseal.store.trail import Verified


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures of the first page that the database knows. Percentiles are over the operations that ended in `window_seconds`;
    None where none ended.
    """

    queue_operations: int
    queue_documents: int
    waiting_for_retry: int
    """Operations that are EXECUTION_ERROR."""
    oldest_seconds: float
    held_operations: int
    """Those that wait for an operator after a restore. They are not in the queue."""
    held_documents: int
    held_since: datetime | None
    received_a_minute: float
    signed_a_minute: float
    failed_a_minute: float
    window_seconds: float
    batch_p50_seconds: float | None
    batch_p95_seconds: float | None
    single_p50_seconds: float | None
    single_p95_seconds: float | None
    database_bytes: int
    unchained_entries: int
    audit_problem: str
    """What the last verification of the audit chain has found; empty: nothing."""


@dataclass(frozen=True, slots=True)
class InstanceLine:
    """An instance. `leases` counts the operations that it works on, `duties` names what it does for all."""

    id: UUID
    address: str
    version: str
    store: str
    started_at: datetime
    seen_at: datetime
    seconds_ago: float
    left_at: datetime | None
    is_alive: bool
    unfinished: int
    own: int
    leases: int
    duties: tuple[str, ...]
    lanes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientServiceLine:
    """A client service that has ever used this database. Figures are those of this month (UTC)."""

    id: str
    last_seen: datetime | None
    """When it registered its last operation."""
    documents: int
    signatures: int
    failures: int
    queue_documents: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a client service used in a month (UTC): of the operations that it registered in it.

    `documents` have ended, as `signatures` or as `failures`. `content_bytes` is the size of those that were signed, as they came.
    """

    client_service: str
    month: date
    documents: int
    signatures: int
    failures: int
    time_stamps: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class StorageShare:
    """Payloads that are still there. `state` is `unfinished`, `not fetched`, `fetched` or `purge asked`."""

    state: str
    operations: int
    stored_bytes: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Storage:
    """What is stored, by state; the largest payloads; and the tables, in bytes with their indexes."""

    shares: tuple[StorageShare, ...]
    largest: tuple[OperationLine, ...]
    tables: Mapping[str, int]
    database_bytes: int


@dataclass(frozen=True, slots=True)
class CredentialLine:
    """What the signers noted of a credential when they last used or looked at it.

    `grant_ends_at` and `grant_left`: until when, and how many signatures, its grant still allows; None where each call gets a
    grant of its own. `needs_otp`: only a person can have the grant renewed. `state` is `ok`, `ends soon` or `lapsed`.
    """

    credential_id: str
    client_service: str
    subject: str
    issuer: str
    serial: str
    key: str
    valid_to: datetime | None
    certificate_days_left: int | None
    multisign: int
    needs_otp: bool
    needs_pin: bool
    grant_began_at: datetime | None
    grant_ends_at: datetime | None
    grant_days_left: float | None
    grant_total: int | None
    grant_left: int | None
    state: str
    problem: str
    noted_at: datetime
    lane_holder: UUID | None


@dataclass(frozen=True, slots=True)
class TimeStampLine:
    """A time stamp authority: how long its tokens are, and what was asked of it by all instances where it has a budget."""

    authority: str
    token_bytes: int
    asked: int
    first_asked_at: datetime | None
    last_asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an operator should look at. `kind` is a name that never changes, for texts in several languages.

    `severity` is `warning` or `critical`. `subject` is what it is about, `values` are for the text.
    """

    kind: str
    severity: str
    subject: str
    values: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric at a time. Longer ranges give the mean and the largest value of each step."""

    at: datetime
    mean: float
    largest: float


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An entry of the audit trail. `position` is None while it is not in the chain yet."""

    position: int | None
    at: datetime
    event: str
    operation_id: int
    client_service: str
    signed: int
    failed: int
    actor: str
    origin: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditState:
    """The end of the chain, what was exported of it (month, last position, entries, file, when), and its last verification."""

    last_position: int
    last_link: str
    waiting: int
    exports: tuple[tuple[date, int, int, str, datetime], ...]
    verified: Verified | None
