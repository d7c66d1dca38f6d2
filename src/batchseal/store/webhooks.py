"""The tables of webhooks: which client services have one, and the events that they are told of.

The end of an operation leaves its event in the same transaction (the trigger of migration 0020), if its client service has a
webhook. Whoever sends an event claims it, and every write names the fence of that claim. A claim ends by itself after a time, so
an event whose sender was killed is sent again: receivers get each event at least once, and know it by its id.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

from batchseal.operation import OperationStatus
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

# How long an event that is about no operation is kept at least, so that it is told once. Of a certificate that will end, the same
# subject comes again for 30 days (notify/expiring.py).
TOLD_SECONDS = 366 * 86_400.0


class EventKind(IntEnum):
    """What an event is about. The numbers are stored, so they must never change."""

    OPERATION_FINISHED = 1
    OPERATION_FAILED = 2
    CREDENTIAL_EXPIRING = 3


class EventState(IntEnum):
    """The numbers are stored, so they must never change."""

    TO_SEND = 1
    DELIVERED = 2
    GIVEN_UP = 3


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """A client service that has a webhook. `target` is the SHA-256 of its address.

    `finished` and `failed` say of which ends it is told.
    """

    client_service: str
    target: bytes
    finished: bool = True
    failed: bool = True


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is stored. Every write to it names `fence`.

    `age_seconds` is the time since it occurred, or since an operator had it sent again.
    `details` (JSON) is what is told of an event that is about no operation. `http_status` and `problem` are of the last try.
    """

    number: int
    id: UUID
    client_service: str
    kind: EventKind
    occurred_at: datetime
    state: EventState
    fence: int
    tries: int
    next_try_at: datetime
    age_seconds: float
    operation_id: int | None = None
    external_reference: str | None = None
    operation_status: OperationStatus | None = None
    documents_total: int = 0
    documents_signed: int = 0
    documents_failed: int = 0
    details: str = ""
    http_status: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended. `pause_seconds`: when the next one is due, if the event is still to be sent."""

    event: EventRow
    state: EventState
    pause_seconds: float = 0.0
    http_status: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Events that wait to be sent, the age of the oldest of them, and the webhooks that are switched off."""

    waiting: int
    oldest_seconds: float
    off: int


class WebhookTable:
    """The rows, for the service itself and its commands. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep_endpoints(self, endpoints: Collection[EndpointRow]) -> None:
        """These client services have a webhook, and no others. Events for others are given up."""
        columns = (
            [one.client_service for one in endpoints],
            [one.target for one in endpoints],
            [one.finished for one in endpoints],
            [one.failed for one in endpoints],
        )
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["keep_webhook_endpoints"], *columns)

    async def endpoints(self) -> dict[str, datetime | None]:
        """The client services that have a webhook, each with the time since when it is off, or None."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["webhook_endpoints"])
            return {record["client_service"]: record["off_since"] for record in records}

    async def claim(self, room: Mapping[str, int], limit: int, seconds: float) -> list[EventRow]:
        """Up to `limit` events that are due, of each client service as many as there is `room` for.

        Nobody else claims them for `seconds`, unless all claims are taken back.
        """
        async with self._database.connection() as connection:
            asked = list(room), list(room.values()), seconds, limit
            return [_event_row(record) for record in await connection.fetch(QUERIES["claim_webhook_events"], *asked)]

    async def take_back(self) -> None:
        """Ends all claims. For whoever begins to send; the one before it has stopped, or is dead."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["take_webhook_events_back"])

    async def note(self, tried: Sequence[Tried]) -> None:
        """Notes how these tries ended. What was claimed by others meanwhile stays as it is."""
        columns = (
            [one.event.number for one in tried],
            [one.event.fence for one in tried],
            [one.state for one in tried],
            [one.pause_seconds for one in tried],
            [one.http_status for one in tried],
            [one.problem for one in tried],
        )
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_webhook_tries"], *columns)

    async def give_back(self, events: Collection[EventRow]) -> None:
        """These were claimed and not sent: they are due at once."""
        columns = [one.number for one in events], [one.fence for one in events]
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["give_webhook_events_back"], *columns)

    async def switch_off(self, endpoint: EndpointRow) -> None:
        """The receiver is gone for good. Nothing is sent there any more, until its address changes or it is switched on."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["switch_webhook_off"], endpoint.client_service, endpoint.target)

    async def switch_on(self, client_service: str) -> bool:
        """Whether the webhook of the client service was off. It is on now."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["switch_webhook_on"], client_service) is not None

    async def add(self, client_service: str, kind: EventKind, subject: str, details: str) -> bool:
        """Adds an event that is about no operation, once for each subject. Returns whether it is new."""
        async with self._database.connection() as connection:
            asked = client_service, kind, subject, details
            return await connection.fetchval(QUERIES["add_webhook_event"], *asked) is not None

    async def counts(self) -> EventCounts:
        """For the metrics."""
        async with self._database.connection() as connection:
            return EventCounts(*await connection.fetchrow(QUERIES["webhook_counts"]))

    async def events(
        self,
        *,
        client_service: str | None = None,
        state: EventState | None = None,
        operation_id: int | None = None,
        limit: int = 100,
    ) -> list[EventRow]:
        """The newest events, at most `limit`."""
        async with self._database.connection() as connection:
            asked = client_service, state, operation_id, limit
            return [_event_row(record) for record in await connection.fetch(QUERIES["webhook_events"], *asked)]

    async def redeliver(
        self,
        *,
        ids: Collection[UUID] = (),
        operation_id: int | None = None,
        given_up: bool = False,
        client_service: str | None = None,
    ) -> int:
        """Sends events once more: those with these ids, those of an operation, or all that were given up. Returns how many.

        With `client_service`, only those of that one. A webhook that is switched off gets none.
        """
        async with self._database.connection() as connection:
            asked = list(ids), operation_id, given_up, client_service
            return len(await connection.fetch(QUERIES["redeliver_webhook_events"], *asked))

    async def give_up_old(self, seconds: float) -> int:
        """Gives up to 5,000 events up that have been due for `seconds` and were not sent. Returns how many."""
        async with self._database.connection() as connection:
            done: str = await connection.execute(QUERIES["give_up_old_webhook_events"], seconds)
            return int(done.rsplit(maxsplit=1)[-1])

    async def drop(self, seconds: float) -> int:
        """Removes up to 5,000 events that ended `seconds` ago, those about no operation after TOLD_SECONDS. Returns how many."""
        async with self._database.connection() as connection:
            done: str = await connection.execute(QUERIES["drop_webhook_events"], seconds, TOLD_SECONDS)
            return int(done.rsplit(maxsplit=1)[-1])


def _event_row(record: Mapping[str, Any]) -> EventRow:
    status = record["operation_status"]
    return EventRow(
        number=record["number"],
        id=record["id"],
        client_service=record["client_service"],
        kind=EventKind(record["kind"]),
        occurred_at=record["occurred_at"],
        state=EventState(record["state"]),
        fence=record["fence"],
        tries=record["tries"],
        next_try_at=record["next_try_at"],
        age_seconds=record["age_seconds"],
        operation_id=record["operation_id"],
        external_reference=record["external_reference"],
        operation_status=OperationStatus(status) if status else None,
        documents_total=record["documents_total"],
        documents_signed=record["documents_signed"],
        documents_failed=record["documents_failed"],
        details=record["details"],
        http_status=record["http_status"],
        problem=record["problem"],
    )
