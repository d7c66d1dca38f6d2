"""`AuditTrail` reads and writes the tables of the audit trail: the pending entries, the chain and its anchors.

The statement that changes an operation also writes a pending entry, in the same transaction. A moment later the entry is moved
into the chain: it gets a position and a link, which is a digest over the link before it and the entry.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from batchseal.errors import LeaseLost
from batchseal.store import migrations
from batchseal.store.columns import month_of
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import AuditEntry, PayloadColumns, payload_columns

ENTRIES_AT_ONCE = 500
# So many entries of a month are in memory at once while it is exported.
EXPORTED_AT_ONCE = 5_000
CHAIN_LOCK = 0x6261_7463_6873_6503
# Stands for the link before the first entry.
NO_LINK = bytes(32)
# The events that something was used for (audit/chain.py).
FINISHED, RECORDED = 2, 6

entry_fields = attrgetter(*AuditEntry.__slots__[: AuditEntry.__slots__.index("link")])

MakeLink = Callable[[bytes, AuditEntry], bytes]


@dataclass(frozen=True, slots=True)
class Used:
    """What the end of an operation adds to the consumption of the month in which the operation was registered."""

    month: date
    signatures: int
    failures: int
    time_stamps: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that is not in the chain yet."""

    id: int
    at: datetime
    operation_id: int
    event: int
    signed: int
    failed: int
    client_service: str
    digest: bytes
    payloads: PayloadColumns
    signed_ordinals: tuple[int, ...]  # the signed documents, if the operation was finished
    actor: str = ""
    origin: str = ""
    detail: str = ""
    used: Used | None = None


def pending_entry(record: Mapping[str, Any]) -> PendingEntry:
    """The entry in a database record of the query `audit_waiting`."""
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
        actor=record["actor"],
        origin=record["origin"],
        detail=record["detail"],
        used=_used(record),
    )


def _used(record: Mapping[str, Any]) -> Used | None:
    """An entry of an earlier release says only how many documents were signed and failed in all. It counts as a first end."""
    if record["event"] == FINISHED:
        signed, failed = record["signed_more"], record["failed_more"]
        return Used(
            month_of(record["created_at"]),
            record["signed"] if signed is None else signed,
            record["failed"] if failed is None else failed,
            record["time_stamps"] or 0,
            record["signed_bytes"] or 0,
        )
    if record["event"] == RECORDED and record["digest"]:
        return Used(month_of(record["created_at"]), 0, 0, 1, 0)
    return None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last link of a month whose entries were exported to `file`. The chain goes on from here after they were dropped."""

    month: date
    last_position: int
    entries: int
    last_link: bytes
    file: str


@dataclass(frozen=True, slots=True)
class HeadStamp:
    """A time stamp over the last link that the chain had then: a token (RFC 3161, DER) about the link of entry `position`."""

    position: int
    link: bytes
    at: datetime
    token: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """A verification of the chain: the entry at which it ended, how many were looked at, and the first problem, if there was one.

    `at` and `intact_at` (when the chain was last found intact) are those of the database. A problem stays until the chain is
    found intact or somebody acknowledges it, and so do `position` and `link` of the last intact verification. Up to the entry
    `accepted` problems were acknowledged. `began_after` is said where one is noted: it began behind this entry.
    """

    position: int
    link: bytes
    entries: int
    problem: str = ""
    at: datetime = datetime.min
    intact_at: datetime | None = None
    accepted: int = 0
    began_after: int = 0


class AuditTrail:
    """The audit trail in the database, as one instance uses it. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, instance: UUID, shared: str | None = None) -> None:
        """`shared` names the payload store of this instance if others read it too."""
        self._database = database
        self._instance = instance
        self._shared = shared
        self._months: set[date] = set()

    async def pending(self, after: int = 0, *, shared: bool = False) -> list[PendingEntry]:
        """The oldest pending entries whose id is larger than `after`, at most ENTRIES_AT_ONCE.

        With `shared`, they are those of the payload store that several instances read, else those of this one's own folder.
        """
        query, whose = ("audit_waiting_in_store", self._shared) if shared else ("audit_waiting", self._instance)
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES[query], whose, after, ENTRIES_AT_ONCE)
        return [pending_entry(record) for record in records]

    async def pending_notes(self, after: int = 0) -> list[PendingEntry]:
        """The same of entries that are about no operation."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["audit_waiting_notes"], after, ENTRIES_AT_ONCE)
        return [pending_entry(record) for record in records]

    async def chain(self, entries: Sequence[tuple[PendingEntry, bytes, bytes]], make_link: MakeLink) -> int:
        """Moves pending entries to the end of the chain, and returns their number.

        Each entry comes with its digest and the fingerprint of its credential. `make_link` computes a link from the link before
        it and the entry. A lock lets only one instance do this at a time. An entry that is no longer pending is left out.
        """
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", CHAIN_LOCK)
            taken = {r["id"] for r in await connection.fetch(QUERIES["audit_take"], [w.id for w, _, _ in entries])}
            last = await connection.fetchrow(QUERIES["audit_last"])
            now = await connection.fetchval("SELECT now()")
            position, link, newest = (last["position"], last["link"], last["month"]) if last else (0, NO_LINK, date.min)
            # The month never decreases along the chain, even if the clock is set back. So the entries of a month are one
            # unbroken part of the chain, which can be dropped, and the month of the last entry is the newest.
            month = max(month_of(now), newest)
            if month not in self._months:
                await migrations.make_partitions(connection, month)
            rows, actors, used = [], [], []
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
                    pending.actor,
                    pending.origin,
                    pending.detail,
                )
                link = make_link(link, entry)
                rows.append((*entry_fields(entry), link))
                if pending.actor or pending.origin or pending.detail:
                    actors.append((position, month, pending.actor, pending.origin, pending.detail))
                if (one := pending.used) is not None:
                    counted = one.signatures, one.failures, one.time_stamps, one.content_bytes
                    used.append((pending.client_service, one.month, *counted))
            # What was used is counted once: in the transaction in which its entry is no longer pending.
            for query, lines in (("audit_append", rows), ("audit_append_actors", actors), ("count_consumption", used)):
                if lines:
                    await connection.execute(QUERIES[query], *(list(column) for column in zip(*lines, strict=True)))
        self._months.add(month)
        return len(rows)

    async def read(self, after: int = 0) -> AsyncGenerator[AuditEntry, None]:
        """The entries in the order of the chain, from the one behind position `after`."""
        while True:
            async with self._database.connection() as connection:
                records = await connection.fetch(QUERIES["audit_read"], after, ENTRIES_AT_ONCE)
            for record in records:
                yield AuditEntry(**record)
            if len(records) < ENTRIES_AT_ONCE:
                return
            after = records[-1]["position"]

    async def read_month(self, month: date, at_once: int = 0) -> AsyncGenerator[list[AuditEntry], None]:
        """All entries of a month that is over, in the order of the chain, in parts. No transaction is held between two parts.

        Raises LeaseLost at the end where some of them are missing: another instance has dropped the month meanwhile.
        """
        position = count = 0
        while True:
            async with self._database.connection() as connection:
                records = await connection.fetch(
                    QUERIES["audit_read_month"], month, position, at_once or EXPORTED_AT_ONCE
                )
            if not records:
                break
            position, count = records[-1]["position"], count + len(records)
            yield [AuditEntry(**record) for record in records]
        async with self._database.connection() as connection:
            if await connection.fetchval(QUERIES["audit_count_month"], month) != count:
                raise LeaseLost(f"the audit entries of {month:%Y-%m} were dropped while they were read")

    async def head(self) -> tuple[int, bytes]:
        """Position and link of the last entry; position 0 while there is none."""
        async with self._database.connection() as connection:
            last = await connection.fetchrow(QUERIES["audit_last"])
        return (last["position"], last["link"]) if last else (0, NO_LINK)

    async def time_stamps(self, after: int = 0, until: int | None = None) -> list[HeadStamp]:
        """The time stamps over entries behind position `after`, up to `until`, in the order of the chain."""
        async with self._database.connection() as connection:
            return [
                HeadStamp(**record) for record in await connection.fetch(QUERIES["audit_time_stamps"], after, until)
            ]

    async def last_time_stamp(self) -> HeadStamp | None:
        """The newest time stamp, if there is one."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["audit_last_time_stamp"])
        return HeadStamp(**record) if record else None

    async def keep_time_stamp(self, stamp: HeadStamp) -> None:
        """Stores a time stamp. Does nothing if its entry has one already."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["audit_time_stamp"], *astuple(stamp))

    async def verified(self) -> Verified | None:
        """The last verification, if there was one."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["audit_verified"])
        return Verified(**record) if record else None

    async def note_verified(self, verified: Verified) -> None:
        """Notes a verification that the service has made by itself."""
        values = verified.position, verified.link, verified.entries, verified.problem, verified.began_after
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_audit_verified"], *values)

    async def knows_time_stamps(self) -> bool:
        """Whether the database is new enough to have them."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["has_audit_time_stamps"]))

    async def anchors(self) -> list[Anchor]:
        """All anchors, the oldest month first."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["audit_anchors"])
        return [Anchor(**{name: record[name] for name in Anchor.__slots__}) for record in records]

    async def anchor(self, anchor: Anchor) -> None:
        """Stores an anchor. Does nothing if its month has one already."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["audit_anchor"], *astuple(anchor))

    async def months(self, seconds: float) -> list[date]:
        """The months that ended at least `seconds` ago and still have a partition, the oldest first."""
        async with self._database.connection() as connection:
            return [record["month"] for record in await connection.fetch(QUERIES["audit_months"], seconds)]

    async def drop(self, month: date) -> bool:
        """Drops the partition of a month. False, and nothing dropped, if no anchor matches the entries that it has now."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["drop_audit"], month))
