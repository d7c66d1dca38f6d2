"""The table `instances`: which instances share the database, since when, and until when each was seen.

Each writes its row every RENEW_SECONDS. Nobody asks another instance for a sign of life: the row is all that they know of each
other.

The row answers one more question: whether an instance may take what another one holds (an operation, a lane, a duty) once the
lease of that has run out. It may only after a whole lease of unbroken contact (`in_contact_since`). Leases run out also while the
database is away, and their holders, who are well, renew them once it is back. Whoever else comes back at the same time has had
the same gap, so it waits for one lease, in which every living holder renews. A new instance waits too: it cannot know whether the
database was away just before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

# How long a lease lasts, and how often its holder renews it.
LEASE_SECONDS, RENEW_SECONDS = 12.0, 4.0
# After a longer gap between two notes, an instance was out of contact with the database.
GAP_SECONDS = 6.0
# An instance that was not seen for so long counts as gone: one that has crashed may come back as it was.
GONE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as its row says it. `is_alive`: it was seen within a lease, and has not stopped.

    `unfinished` counts the operations that it took in and that have not ended, `own` those of them whose payload it alone reads.
    """

    id: UUID
    address: str
    version: str
    store: str
    started_at: datetime
    seen_at: datetime
    seconds_ago: float
    left_at: datetime | None
    unfinished: int
    own: int

    @property
    def is_alive(self) -> bool:
        return self.left_at is None and self.seconds_ago < LEASE_SECONDS


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Operations whose payload lies in a store (`Payloads.name`) that no instance uses any more."""

    store: str
    operations: int
    unfinished: int


class InstanceTable:
    """The rows, as one instance uses them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance

    async def arrive(self, address: str, version: str, store: str) -> None:
        """Notes that this instance has started. `store` is where it stores payloads (`Payloads.name`)."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["arrive"], self._instance, address, version, store)

    async def heartbeat(self) -> int | None:
        """Notes that this instance is there. Returns how many others are, or None if it has no row any more: it was forgotten."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["heartbeat"], self._instance, GAP_SECONDS, LEASE_SECONDS)
        return int(record["others"]) if record["noted"] else None

    async def depart(self) -> None:
        """Notes that this instance has stopped in good order."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["depart"], self._instance)

    async def left_behind(self, shared: str | None) -> list[LeftBehind]:
        """What lies in payload stores that no instance uses any more. `shared` names that of this one if others read it too."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["left_behind"], self._instance, shared, GONE_SECONDS)
        return [LeftBehind(**record) for record in records]

    async def exists(self) -> bool:
        """Whether there is such a table. There is none in the database of an earlier release."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["has_instances"]))

    async def all(self) -> list[Instance]:
        """All instances that were ever here and were not forgotten, the one that started first comes first."""
        async with self._database.connection() as connection:
            return [_instance(record) for record in await connection.fetch(QUERIES["instances"])]


def _instance(record: Mapping[str, Any]) -> Instance:
    return Instance(
        id=record["instance"],
        **{name: record[name] for name in Instance.__slots__ if name != "id"},
    )
