"""One operation, and failures in groups: see `operator.py`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from batchseal.operation import SignError
from batchseal.store.columns import month_of
from batchseal.store.database import Connection
from batchseal.store.operator_lists import COLUMNS, ID_MARGIN, OperatorLists, shifted
from batchseal.store.operator_rows import Event, FailureGroup, Failures, OperationDetail, UpstreamCall
from batchseal.store.queries import QUERIES

# How many groups, and operations of each, are told.
GROUPS, OPERATIONS_OF_GROUP = 200, 20
FAILURE_DAYS = 7

RECORD_STATES = {None: "none", 1: "to be made", 2: "made", 3: "given up"}
# The names of `audit.chain.Event`, which a layer above this one owns.
EVENTS = {
    1: "REGISTERED",
    2: "FINISHED",
    3: "FETCHED",
    4: "PURGED",
    5: "ERASED",
    6: "RECORDED",
    7: "RECORD_GIVEN_UP",
    8: "RETRIED",
    9: "CANCELLED",
    10: "PURGE_ASKED",
    11: "ACTED",
    12: "RESUMED",
}


class OperatorDetails(OperatorLists):
    """What there is to know of one operation, and of failures."""

    async def operation(self, operation_id: int) -> OperationDetail | None:
        """One operation, None if there is none with this id."""
        if not 0 < operation_id < 1 << 63:
            return None
        async with self._reading() as connection:
            record = await connection.fetchrow(QUERIES["operator_operation"].format(columns=COLUMNS), operation_id)
            if record is None:
                return None
            entries = await connection.fetch(QUERIES["operator_events"], operation_id)
            calls = await connection.fetch(QUERIES["operator_calls"], operation_id)
            failures = await self._groups(connection, operation_id - 1, operation_id, record["created_at"])
        line = self._line(record)
        planned = [
            Event(at, name)
            for at, name in (
                (line.next_try_at, "NEXT_TRY"),
                (line.lease_until, "LEASED"),
                (line.purge_at, "PURGE_DUE"),
            )
            if at is not None
        ]
        return OperationDetail(
            line=line,
            description=record["description"],
            return_signed_content=record["return_signed_content"],
            evidence_record=RECORD_STATES[record["record_state"]],
            payload_id=record["payload_id"],
            payload_store=record["payload_store"] or "",
            signs_with_callers_token=record["token_holder"] is not None,
            fence=record["fence"],
            address=f"{record['host']}:{record['port']}",
            events=(*(_event(entry) for entry in entries), *sorted(planned, key=lambda event: event.at)),
            calls=tuple(UpstreamCall(**call) for call in calls),
            failures=failures,
        )

    async def failures(
        self, since: datetime | None = None, until: datetime | None = None, client_service: str = ""
    ) -> Failures:
        """Failed documents grouped by error and cause: those of operations registered in this time (default: the last 7 days).

        A bounded number of documents is counted, of the newest operations (`Bounds`).
        """
        until = until or datetime.now(UTC)
        since = since or shifted(until, -timedelta(days=FAILURE_DAYS))
        async with self._reading() as connection:
            low, high = await self._ids_of(connection, since, until)
            months = month_of(shifted(since, -ID_MARGIN)), month_of(shifted(until, ID_MARGIN))
            walked = low, high, *months, self._bounds.failures
            records = await connection.fetch(
                QUERIES["operator_failures"], *walked, client_service, since, until, OPERATIONS_OF_GROUP, GROUPS
            )
            edge = None
            if not records or records[0]["looked_at"] == self._bounds.failures:
                edge = await connection.fetchrow(QUERIES["operator_failures_edge"], *walked)
        groups = tuple(_group(record) for record in records)
        return Failures(groups, edge is not None, edge["created_at"] if edge else None)

    async def _groups(
        self, connection: Connection, low: int, high: int, created_at: datetime
    ) -> tuple[FailureGroup, ...]:
        month = month_of(created_at)
        asked = low, high, month, month, self._bounds.failures, "", created_at, created_at, OPERATIONS_OF_GROUP, GROUPS
        return tuple(_group(record) for record in await connection.fetch(QUERIES["operator_failures"], *asked))


def _event(entry: Mapping[str, Any]) -> Event:
    return Event(
        entry["at"],
        EVENTS.get(entry["event"], str(entry["event"])),
        entry["signed"],
        entry["failed"],
        entry["position"],
        entry["actor"],
        entry["origin"],
        entry["detail"],
    )


def _group(record: Mapping[str, Any]) -> FailureGroup:
    error = SignError.read(record["sign_error"], record["cause"])
    services: Sequence[str] = record["client_services"]
    return FailureGroup(
        sign_error=record["sign_error"],
        label=error.label if error is not None else "",
        cause=record["cause"],
        documents=record["documents"],
        operations_count=record["operations_count"],
        first_at=record["first_at"],
        last_at=record["last_at"],
        client_services=tuple(services),
        operations=tuple(record["operations"]),
    )
