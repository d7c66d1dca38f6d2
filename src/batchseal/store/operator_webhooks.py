"""Webhooks as operators see them, see `operator.py`: what waits and what was given up, and how it is sent again.

An event that was delivered is of no interest here; `batchseal webhooks list` shows it.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from batchseal.errors import DatabaseUnavailable
from batchseal.store.columns import is_storable
from batchseal.store.operator_actions import checked
from batchseal.store.operator_connection import ACTION_SECONDS
from batchseal.store.operator_cursors import MAX_ID, decode_cursor, encode_cursor
from batchseal.store.operator_figures import OperatorFigures
from batchseal.store.operator_rows import Page, Who
from batchseal.store.queries import QUERIES
from batchseal.store.webhooks import EventKind, EventState

EVENTS_A_PAGE = 50
# A page looks at so many events, and so many are counted.
LOOKED_AT, COUNTED = 10_000, 50_000


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event in the list. `http_status` and `problem` are of the last try; 0: there was no answer, or no try.

    `about` names the credential of an event that is about no operation.
    """

    number: int
    id: UUID
    client_service: str
    kind: EventKind
    state: EventState
    occurred_at: datetime
    next_try_at: datetime
    ended_at: datetime | None
    tries: int
    http_status: int
    problem: str
    operation_id: int | None
    external_reference: str | None
    about: str


@dataclass(frozen=True, slots=True)
class WebhookLine:
    """A client service that has a webhook (`is_configured`), or events of one. `off_since`: its receiver has answered 410."""

    client_service: str
    is_configured: bool
    off_since: datetime | None
    waiting: int
    given_up: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant: of one client service, in one state; what is empty or None does not limit them."""

    client_service: str = ""
    state: EventState | None = None


class OperatorWebhooks(OperatorFigures):
    """The list of events, and the action."""

    async def webhooks(self) -> list[WebhookLine]:
        """The client services that have a webhook, or events that were not delivered. Counts the newest COUNTED of these."""
        async with self._reading() as connection:
            return [WebhookLine(**record) for record in await connection.fetch(QUERIES["operator_webhooks"], COUNTED)]

    async def events(
        self, wanted: EventFilter, cursor: str | None = None, limit: int = EVENTS_A_PAGE
    ) -> Page[EventLine]:
        """A page of events that wait or were given up, the newest first."""
        if not is_storable(wanted.client_service):
            return Page()
        before = decode_cursor(cursor, (int,))[0] if cursor is not None else MAX_ID
        state = None if wanted.state is None else int(wanted.state)
        async with self._reading() as connection:
            asked = before, LOOKED_AT, wanted.client_service, state, limit + 1
            records = await connection.fetch(QUERIES["operator_events_to_send"], *asked)
            edge = None
            if len(records) <= limit:
                edge = await connection.fetchrow(QUERIES["operator_events_edge"], before, LOOKED_AT - 1)
        last = records[limit - 1] if len(records) > limit else edge
        lines = tuple(_event_line(record) for record in records[:limit])
        following = encode_cursor(last["number"]) if last is not None else None
        return Page(lines, following, edge["occurred_at"] if edge is not None else None)

    async def redeliver(self, who: Who, ids: Collection[UUID] | None, client_service: str = "") -> int:
        """Sends events once more, with all their tries; without ids all of a client service that were given up.

        Returns how many. A webhook that is switched off gets none.
        """
        given = None if ids is None else list(ids)
        asked = given, client_service, *checked(who)
        try:
            async with self._database.transaction() as connection:
                await connection.execute(f"SET LOCAL statement_timeout = {int(ACTION_SECONDS * 1000)}")
                sent: int = await connection.fetchval("SELECT operator_redeliver($1, $2, $3, $4)", *asked)
                return sent
        except asyncpg.QueryCanceledError:
            raise DatabaseUnavailable("the database did not answer in time; nothing was sent again") from None


def _event_line(record: Mapping[str, Any]) -> EventLine:
    plain = {
        name: record[name]
        for name in EventLine.__slots__
        if name not in ("kind", "state", "about")
    }  # fmt: skip
    details = json.loads(record["details"]) if record["details"] else {}
    return EventLine(
        **plain,
        kind=EventKind(record["kind"]),
        state=EventState(record["state"]),
        about=str(details.get("credentialId", "")),
    )
