"""The rows that a backup is made of, and what becomes of them after a restore.

While a backup is made, its maker holds a lock, so that no payload is purged that is still to be copied. The payloads that are
copied are those of one snapshot, which the dump of the database reads too.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from batchseal.errors import DatabaseUnavailable
from batchseal.store.database import Connection, Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import PayloadColumns, payload_columns
from batchseal.store.store import Store
from batchseal.store.upkeep import BACKUP_LOCK, MARKING_LOCK

LISTED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """What a backup holds: operations, how many of them are unfinished, and the largest id."""

    operations: int
    unfinished: int
    last_id: int


class Snapshot:
    """One state of the database. It holds as long as its block."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        """For a program that is to read the same state (`pg_dump --snapshot`)."""

    async def counts(self) -> Counts:
        record = await self._connection.fetchrow(QUERIES["backup_counts"])
        return Counts(record["operations"], record["unfinished"], record["last_id"])

    async def stores(self) -> set[str | None]:
        """The kinds of payload stores that hold payloads (`operations.payload_store`); None is the folder of an instance."""
        return {record["payload_store"] for record in await self._connection.fetch(QUERIES["stores_of_payloads"])}

    async def payloads(self) -> AsyncIterator[tuple[int, PayloadColumns]]:
        """Id and payloads of each operation that has its payload."""
        async for record in self._connection.cursor(QUERIES["payloads_to_copy"], prefetch=LISTED_AT_ONCE):
            yield record["id"], payload_columns(record)


@asynccontextmanager
async def without_purging(database: Database) -> AsyncIterator[None]:
    """No payload is purged during the block. It takes a connection.

    Raises DatabaseUnavailable, at the end of the block too, if the connection was lost that holds the lock.
    """
    async with database.connection() as connection:
        await connection.execute(QUERIES["begin_backup"], BACKUP_LOCK)
        await connection.execute(QUERIES["wait_for_marking"], MARKING_LOCK)
        await connection.execute(QUERIES["marking_has_ended"], MARKING_LOCK)
        try:
            yield
            if connection.is_closed():
                raise DatabaseUnavailable(
                    "the database went away while payloads were copied, so some of them may have been purged meanwhile;"
                    " make the backup again"
                )
        finally:
            if not connection.is_closed():
                await connection.execute(QUERIES["end_backup"], BACKUP_LOCK)


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Snapshot]:
    """The state of the database now. Raises DatabaseUnavailable."""
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield Snapshot(connection, await connection.fetchval(QUERIES["export_snapshot"]))


class HeldOperations:
    """Operations that were unfinished in a backup, and wait after its restore for an operator's decision.

    What was signed after the backup cannot be known: whoever lets them be signed may have documents signed a second time that the
    service before the restore had signed. `OperatorActions` has both decisions: `resume` and `cancel`.
    """

    def __init__(self, store: Store) -> None:
        self._database = store.database

    async def hold(self) -> int:
        """After a restore: holds what is unfinished, and returns how many operations that are."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["hold_unfinished"]))

    async def mark_lost(self, operation_ids: Collection[int]) -> int:
        """Marks results as gone whose payload the backup does not hold. Returns how many there were."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["mark_not_backed_up"], list(operation_ids)))
