"""The table `database_identity`: who this database is, and how often it has swept the payload store that its instances share."""

from dataclasses import dataclass
from uuid import UUID

from batchseal.store.database import Database
from batchseal.store.live_payloads import LivePayloads, live_payloads
from batchseal.store.queries import QUERIES


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """`database` was made up when the table was made. `system_identifier` and `timeline` are those of the cluster it stands in.

    `sweeps` counts the sweeps. A database that was restored knows of fewer than there were.
    """

    database: UUID
    system_identifier: int
    timeline: int
    sweeps: int


class DatabaseIdentity:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self) -> DatabaseState:
        return await self._asked("database_state")

    async def state_if_any(self) -> DatabaseState | None:
        """None where the database has no tables of ours yet, or those of an earlier release."""
        async with self._database.connection() as connection:
            if not await connection.fetchval(QUERIES["has_identity"]):
                return None
        return await self.state()

    async def begin_sweep(self) -> DatabaseState:
        """Counts one more sweep, before the store is told of it: after a crash in between the database knows of more."""
        return await self._asked("begin_sweep")

    def live_payloads(self) -> LivePayloads:
        """Every payload that is still needed, of all instances: those of operations that were not purged."""
        return live_payloads(self._database, "live_payloads_of_all")

    async def _asked(self, query: str) -> DatabaseState:
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES[query])
        assert record is not None
        return DatabaseState(record["id"], record["system_identifier"], record["timeline"], record["sweeps"])
