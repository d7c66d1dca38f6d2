"""`AuditTrail`: entries that wait, the chain, and its anchors."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from batchseal.store import migrations
from batchseal.store.columns import month_of
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import AuditEntry, PayloadColumns, payload_columns

ENTRIES_AT_ONCE = 500
CHAIN_LOCK = 0x6261_7463_6873_6503
# The chain begins with it.
NO_LINK = bytes(32)

entry_fields = attrgetter(*AuditEntry.__slots__)

MakeLink = Callable[[bytes, AuditEntry], bytes]


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that is not chained yet."""

    id: int
    at: datetime
    operation_id: int
    event: int
    signed: int
    failed: int
    client_service: str
    digest: bytes
    payloads: PayloadColumns
    signed_ordinals: tuple[int, ...]  # of a finished operation


def pending_entry(record: Mapping[str, Any]) -> PendingEntry:
    return PendingEntry(
        id=record["id"],
        at=record["at"],
        operation_id=record["operation_id"],
        event=record["event"],
        signed=record["signed"],
        failed=record["failed"],
        client_service=record["client_service"],
        digest=record["digest"],
        payloads=payload_columns(record),
        signed_ordinals=tuple(record["signed_ordinals"] or ()),
    )


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of a month that was exported to `file`."""

    month: date
    last_position: int
    entries: int
    last_link: bytes
    file: str


class AuditTrail:
    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance
        self._months: set[date] = set()

    async def pending(self, after: int = 0) -> list[PendingEntry]:
        """Entries of the instance behind the entry `after`, oldest first."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["audit_waiting"], self._instance, after, ENTRIES_AT_ONCE)
        return [pending_entry(record) for record in records]

    async def chain(self, entries: Sequence[tuple[PendingEntry, bytes, bytes]], make_link: MakeLink) -> int:
        """Appends entries, each with its digest and credential, behind the last one. Instances take turns."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", CHAIN_LOCK)
            taken = {r["id"] for r in await connection.fetch(QUERIES["audit_take"], [w.id for w, _, _ in entries])}
            last = await connection.fetchrow(QUERIES["audit_last"])
            now = await connection.fetchval("SELECT now()")
            position, link = (last["position"], last["link"]) if last else (0, NO_LINK)
            # Months follow the chain's order, even where a clock goes back: a dropped month is a whole stretch.
            newest = await connection.fetchval("SELECT max(month) FROM audit")
            month = max(month_of(now), newest or date.min)
            if month not in self._months:
                await migrations.make_partitions(connection, month)
            rows = []
            for pending, digest, credential in entries:
                if pending.id not in taken:
                    continue
                position += 1
                entry = AuditEntry(
                    position,
                    pending.at,
                    pending.operation_id,
                    month,
                    pending.signed,
                    pending.failed,
                    pending.event,
                    pending.client_service,
                    digest,
                    credential,
                    b"",
                )
                link = make_link(link, entry)
                rows.append((*entry_fields(entry)[:-1], link))
            columns = [list(column) for column in zip(*rows, strict=True)]
            if columns:
                await connection.execute(QUERIES["audit_append"], *columns)
        self._months.add(month)
        return len(rows)

    async def read(self, after: int = 0) -> AsyncIterator[AuditEntry]:
        """In the chain's order."""
        while True:
            async with self._database.connection() as connection:
                records = await connection.fetch(QUERIES["audit_read"], after, ENTRIES_AT_ONCE)
            for record in records:
                yield AuditEntry(**record)
            if len(records) < ENTRIES_AT_ONCE:
                return
            after = records[-1]["position"]

    async def read_month(self, month: date) -> list[AuditEntry]:
        async with self._database.connection() as connection:
            return [AuditEntry(**record) for record in await connection.fetch(QUERIES["audit_read_month"], month)]

    async def anchors(self) -> list[Anchor]:
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["audit_anchors"])
        return [Anchor(**{name: record[name] for name in Anchor.__slots__}) for record in records]

    async def anchor(self, anchor: Anchor) -> None:
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["audit_anchor"], *astuple(anchor))

    async def months(self, seconds: float) -> list[date]:
        """Months that ended that long ago and have a partition, oldest first."""
        async with self._database.connection() as connection:
            return [record["month"] for record in await connection.fetch(QUERIES["audit_months"], seconds)]

    async def drop(self, month: date) -> bool:
        """False where the month is not anchored as it stands."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["drop_audit"], month))
