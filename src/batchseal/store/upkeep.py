"""`Upkeep` holds the queries of housekeeping: what may be purged or dropped, and figures. All times are the database's."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from batchseal.operation import OperationStatus
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import PayloadColumns, Statistics, payload_columns
from batchseal.system.crash_sites import crash_site

# The keys of the advisory locks that are held while a backup is made, and while payloads are marked as purged. They may be any
# fixed numbers. Whoever marks takes the second lock before looking at the first one, and whoever makes a backup waits for the
# second one after taking the first. So of two that begin at once, one sees the other.
BACKUP_LOCK, MARKING_LOCK = 0x6261_7463_6873_6504, 0x6261_7463_6873_6505

# So many operations are looked at in one statement that frees external references.
REFERENCES_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of the database, and what an instance noted when it last looked at it. The notes are None if it never did."""

    now: datetime
    boot_id: str | None
    uptime_seconds: float | None
    seen_at: datetime | None
    purge_not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits at an instance: documents to be signed, held operations, entries of the audit trail that are not chained.

    `verified_at`: when the chain was last found intact, in Unix time; 0: never. `is_broken`: it was found broken since then.
    `unverified`: entries of the chain that have come since it was found intact.
    """

    documents: int
    oldest_seconds: float
    held: int
    unchained: int
    verified_at: float
    is_broken: bool
    unverified: int


class Upkeep:
    """The queries of housekeeping, as one instance uses them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, instance: UUID, shared: str | None = None) -> None:
        """`shared` names the payload store of this instance if others read it too."""
        self._database = database
        self._instance = instance
        self._shared = shared

    async def unfinished_documents(self) -> dict[str, int]:
        """How many documents of this instance wait to be signed, by client service."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["unfinished_documents"], self._instance)
            return {record["client_service"]: record["documents"] for record in records}

    async def unfinished_documents_of_all(self) -> tuple[dict[str, int], int]:
        """The same over all instances, and how many of them wait at this one."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["unfinished_documents_of_all"], self._instance)
        return {r["client_service"]: r["documents"] for r in records}, sum(r["own"] for r in records)

    async def stored_bytes(self) -> dict[str, int]:
        """What the payloads of this instance take that were not purged, by client service, as far as their rows say it."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["stored_bytes"], self._instance)
            return {record["client_service"]: record["bytes"] for record in records}

    async def document_rows(self) -> dict[str, int]:
        """How many documents of all instances have a row, by client service. Reads all operations of the months that are kept."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["document_rows"])
            return {record["client_service"]: record["documents"] for record in records}

    async def purgeable(
        self, fetched_seconds: float, unfetched_seconds: float, *, shared: bool = False
    ) -> dict[int, PayloadColumns]:
        """Payloads that may be purged, by the id of their operation. At most 500, those that ended first.

        Their result was fetched `fetched_seconds` ago, or the operation ended `unfetched_seconds` ago. With `shared`, they are
        those of the payload store that several instances read, else those in the folder of this one.
        """
        query, whose = ("purgeable_in_store", self._shared) if shared else ("purgeable", self._instance)
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES[query], whose, fetched_seconds, unfetched_seconds)
            return {record["id"]: payload_columns(record) for record in records}

    async def purge_asked(self, *, shared: bool = False) -> dict[int, PayloadColumns]:
        """Payloads that an operator wants purged, at most 500. `shared` as above."""
        query, whose = ("purge_asked_in_store", self._shared) if shared else ("purge_asked", self._instance)
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES[query], whose)
            return {record["id"]: payload_columns(record) for record in records}

    async def purgeable_for_room(self, client_service: str) -> dict[int, PayloadColumns]:
        """Payloads of this instance whose result was fetched, at most 500: those of the client service, then those of others.

        Of both, those that were fetched first come first. For when the client service needs room.
        """
        async with self._database.connection() as connection:
            records = await connection.fetch(
                QUERIES["purgeable_for_room"], self._instance, client_service, self._shared
            )
            return {record["id"]: payload_columns(record) for record in records}

    async def waiting(self) -> Waiting:
        """What waits at this instance."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["waiting"], self._instance)
        return Waiting(**record)

    async def is_being_backed_up(self) -> bool:
        """Whether somebody makes a backup of the database and the payloads just now (`store/backups.py`)."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["is_being_backed_up"], BACKUP_LOCK))

    async def mark_purged(
        self, operation_ids: list[int], *, unless_backed_up: bool = False
    ) -> dict[int, tuple[str, PayloadColumns]]:
        """Marks finished operations as purged. To be called before their payloads are deleted.

        Returns the client service and the payloads of those that were marked, by operation. Unfinished ones are left as they are.
        With `unless_backed_up`, none is marked while a backup is made. One that begins meanwhile waits until these are marked, so
        its snapshot knows that they are purged.
        """
        async with self._database.transaction() as connection:
            if unless_backed_up:
                await connection.execute(QUERIES["begin_marking"], MARKING_LOCK)
                if await connection.fetchval(QUERIES["is_being_backed_up"], BACKUP_LOCK):
                    return {}
            records = await connection.fetch(QUERIES["mark_purged"], operation_ids)
        crash_site("purge-marked")
        return {record["id"]: (record["client_service"], payload_columns(record)) for record in records}

    async def free_references(
        self, seconds: float, after: int = 0, at_most: int = REFERENCES_AT_ONCE
    ) -> tuple[int, int | None]:
        """Frees the external references of purged operations that ended at least `seconds` ago, among the next ones behind an id.

        Looks at so many operations at most. Returns how many it freed, and the id of the last one that it looked at;
        None where there was no further one.
        """
        async with self._database.connection() as connection:
            done = await connection.fetchrow(QUERIES["free_references"], seconds, after, at_most)
        assert done is not None
        return done["freed"], done["last"]

    async def remove_old_texts(self, seconds: float) -> int:
        """Removes the texts of up to 500 purged operations that ended at least `seconds` ago. Returns how many."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["remove_old_texts"], seconds))

    async def document_months(self, seconds: float) -> list[date]:
        """The months that ended at least `seconds` ago and still have a partition of documents."""
        async with self._database.connection() as connection:
            return [record["month"] for record in await connection.fetch(QUERIES["document_months"], seconds)]

    async def drop_documents(self, month: date) -> bool:
        """Drops the documents of a month. False, and nothing dropped, while an operation of the month has its payload."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["drop_documents"], month))

    async def signature_days(self) -> list[date]:
        """The days that have been over for an hour and still have a partition of signatures."""
        async with self._database.connection() as connection:
            return [record["day"] for record in await connection.fetch(QUERIES["signature_days"])]

    async def drop_signatures(self, day: date) -> bool:
        """Drops the signatures of a day. False, and nothing dropped, while an operation of the day has its payload."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["drop_signatures"], day))

    async def drop_gone_instances(self, seconds: float) -> int:
        """Removes the rows of instances not seen for `seconds` that have left nothing to read or to chain. Returns how many."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["drop_gone_instances"], seconds))

    async def clock(self) -> Clock:
        """The time of the database, and the last notes of this instance."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["clock"], self._instance)
            return Clock(
                record["now"],
                record["boot_id"],
                record["uptime_seconds"],
                record["seen_at"],
                record["purge_not_before"],
            )

    async def note_clock(self, boot_id: str, uptime_seconds: float, now: datetime, not_before: datetime | None) -> None:
        """Replaces the notes of this instance. With `not_before`, nothing is purged before that time."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_clock"], self._instance, boot_id, uptime_seconds, now, not_before)

    async def statistics(self) -> Statistics:
        """Figures over the operations of all instances."""
        async with self._database.connection() as connection:
            counts = await connection.fetch(QUERIES["counts_by_status"])
            unfinished = await connection.fetchrow(QUERIES["unfinished"])
        assert unfinished is not None
        return Statistics(
            operations={OperationStatus(count["status"]): count["operations"] for count in counts},
            documents={OperationStatus(count["status"]): count["documents"] for count in counts},
            unfinished=unfinished["operations"],
            oldest_unfinished_seconds=unfinished["oldest_seconds"],
            database_bytes=unfinished["database_bytes"],
        )
