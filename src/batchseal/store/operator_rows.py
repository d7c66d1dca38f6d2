"""What the operator's page and `batchseal operations` see of the database: frozen types whose fields hold Python values.

All times have a time zone (UTC). Sizes are in bytes and durations in seconds. No type here holds the content of a document, a
signature value or a secret.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from batchseal.operation import DocumentStatus, Mode, OperationStatus

T = TypeVar("T")

# So many rows a list shows at once.
OPERATIONS_A_PAGE, DOCUMENTS_A_PAGE, ENTRIES_A_PAGE = 50, 100, 100


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts: the name of an account, and where the request came from (an address, or `command line`). Both go into the
    audit trail.
    """

    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. `next` is the cursor of the part after it, None at the end.

    A look at the database ends after a bounded number of rows, so a page may have few rows, or none, and a `next` all the same.
    Then `looked_back_to` says until when the look has come.
    """

    rows: tuple[T, ...] = ()
    next: str | None = None
    looked_back_to: datetime | None = None


# --- operations -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations are meant. What is None, empty or False does not limit them.

    `reference` is a prefix of the external reference; a list with it is ordered by the reference. `since` and `until` are about
    the time of registration. `older_seconds` is the least age of an operation. `is_held`: those that wait for an operator after a
    restore.
    """

    reference: str = ""
    client_service: str = ""
    statuses: frozenset[OperationStatus] = frozenset()
    mode: Mode | None = None
    since: datetime | None = None
    until: datetime | None = None
    has_failures: bool = False
    older_seconds: float | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class OperationLine:
    """An operation in a list. `purge_at` is when its payload is purged, as far as that is known now."""

    id: int
    client_service: str
    external_reference: str
    mode: Mode
    status: OperationStatus
    created_at: datetime
    finished_at: datetime | None
    fetched_at: datetime | None
    documents_total: int
    documents_signed: int
    documents_failed: int
    stored_bytes: int
    tries: int
    next_try_at: datetime | None
    instance: UUID
    lease_holder: UUID | None
    lease_until: datetime | None
    payload_purged: bool
    purge_asked_at: datetime | None
    reopened_at: datetime | None
    held_at: datetime | None
    purge_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """From the registration, or from the last retry, to the end. 0 for one that was sealed elsewhere, before it came here."""
        began = self.reopened_at or self.created_at
        return max(0.0, (self.finished_at - began).total_seconds()) if self.finished_at else None

    @property
    def is_held(self) -> bool:
        """Whether it waits for an operator: it was unfinished in a backup that was restored."""
        return self.held_at is not None and not self.status.finished


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the time line of an operation. `name` is that of an audit event, or `NEXT_TRY`, `LEASED` or `PURGE_DUE`.

    `position` is that of the entry in the chain, None while it is not in the chain, or is no entry. `actor`, `origin` and
    `detail` are filled where a person did it.
    """

    at: datetime
    name: str
    signed: int = 0
    failed: int = 0
    position: int | None = None
    actor: str = ""
    origin: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """A sign call that documents of an operation were in: how many of them, how long it took, what came of it.

    `outcome` is `signed`, or the name of the error; `cause` says it for a person.
    """

    at: datetime
    digests: int
    milliseconds: int
    outcome: str
    cause: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed documents with the same error and cause. `operations` holds up to 20 of their operations, the newest first."""

    sign_error: int
    label: str
    cause: str
    documents: int
    operations_count: int
    first_at: datetime
    last_at: datetime
    client_services: tuple[str, ...]
    operations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Failures:
    """The groups, that with the most documents first. `is_cut`: only the newest failures were counted, back to `back_to`."""

    groups: tuple[FailureGroup, ...]
    is_cut: bool
    back_to: datetime | None


@dataclass(frozen=True, slots=True)
class OperationDetail:
    """One operation with all but its documents (`OperatorStore.documents`)."""

    line: OperationLine
    description: str
    return_signed_content: bool | None
    evidence_record: str
    """`none`, `to be made`, `made` or `given up`."""
    payload_id: UUID
    payload_store: str
    """Where its payload lies; empty: in the folder of its instance."""
    signs_with_callers_token: bool
    fence: int
    address: str
    """The address that replies give for it."""
    events: tuple[Event, ...]
    calls: tuple[UpstreamCall, ...]
    failures: tuple[FailureGroup, ...]


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """A document in a list. `tries` counts the sign calls that it was in; `level` is 0 if none is known, 1 for B, 4 for LTA."""

    operation_id: int
    ordinal: int
    external_reference: str
    name: str
    media_type: str
    status: DocumentStatus
    sign_error: str
    cause: str
    content_bytes: int
    additional_bytes: int
    tries: int
    level: int


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A document that was searched for, with its operation."""

    document: DocumentLine
    client_service: str
    operation_reference: str
    operation_status: OperationStatus
    created_at: datetime
    payload_purged: bool


@dataclass(frozen=True, slots=True)
class DocumentSearch:
    """Exactly one of `reference` (the whole external reference) and `name` (a part of the name, in any case) is given.

    By name only operations registered between `since` and `until` are looked at, at most MAX_NAME_DAYS; None: the last of them.
    """

    reference: str = ""
    name: str = ""
    client_service: str = ""
    since: datetime | None = None
    until: datetime | None = None


MAX_NAME_DAYS = 90


# --- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """What an action did with one operation. `documents` were opened again or cancelled.

    `result` is `done`, or why nothing was changed: `unknown`, `unfinished`, `finished`, `signed`, `purged`, `fetched` (a retry
    needs a confirmation), `callers token`, `nothing to retry`, `ending`, `not held`.
    """

    operation_id: int
    result: str
    documents: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many operations a filter finds. `is_cut`: there are more, they were not all counted."""

    operations: int
    documents: int
    is_cut: bool
