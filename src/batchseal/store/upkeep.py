"""`Upkeep`: what housekeeping reads and writes. All times are the database's."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from batchseal.operation import OperationStatus
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import PayloadColumns, Statistics, payload_columns
from batchseal.system.crash_sites import crash_site


@dataclass(frozen=True, slots=True)
class Clock:
    """The database's time, and what an instance noted of it last (None where it never did)."""

    now: datetime
    boot_id: str | None
    uptime_seconds: float | None
    seen_at: datetime | None
    purge_not_before: datetime | None


class Upkeep:
    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance

    async def unfinished_documents(self) -> int:
        """How many documents of the instance wait to be signed."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(QUERIES["unfinished_documents"], self._instance))

    async def purgeable(self, fetched_seconds: float, unfetched_seconds: float) -> dict[int, PayloadColumns]:
        """Payloads of the instance that have had their time, by operation; 500 at most, oldest first."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["purgeable"], self._instance, fetched_seconds, unfetched_seconds)
            return {record["id"]: payload_columns(record) for record in records}

    async def purgeable_for_room(self) -> dict[int, PayloadColumns]:
        """Fetched payloads of the instance, oldest first."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["purgeable_for_room"], self._instance)
            return {record["id"]: payload_columns(record) for record in records}

    async def mark_purged(self, operation_ids: list[int]) -> dict[int, PayloadColumns]:
        """Says so of finished operations, before their files go; returns those it holds for."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["mark_purged"], operation_ids)
        crash_site("purge-marked")
        return {record["id"]: payload_columns(record) for record in records}

    async def free_references(self, seconds: float) -> int:
        async with self._database.connection() as connection:
            done: str = await connection.execute(QUERIES["free_references"], seconds)
            return int(done.rsplit(maxsplit=1)[-1])

    async def document_months(self, seconds: float) -> list[date]:
        """Months that ended that long ago and have a partition."""
        async with self._database.connection() as connection:
            return [record["month"] for record in await connection.fetch(QUERIES["document_months"], seconds)]

    async def drop_documents(self, month: date) -> bool:
        """False while an operation of the month is unfinished or has its payload."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["drop_documents"], month))

    async def signature_days(self) -> list[date]:
        """Days that are over and have a partition of signatures."""
        async with self._database.connection() as connection:
            return [record["day"] for record in await connection.fetch(QUERIES["signature_days"])]

    async def drop_signatures(self, day: date) -> bool:
        """False while an operation of the day is unfinished or has its payload."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["drop_signatures"], day))

    async def clock(self) -> Clock:
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
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_clock"], self._instance, boot_id, uptime_seconds, now, not_before)

    async def statistics(self) -> Statistics:
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
