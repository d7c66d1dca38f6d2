"""`Fellows`: what a process knows of the other instances on its database, from their rows in `instances`. It only reads."""

from dataclasses import dataclass
from uuid import UUID

from batchseal.store.database import Database
from batchseal.store.instances import LEASE_SECONDS
from batchseal.store.queries import QUERIES


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instance listens (host:port), and how long ago it was seen."""

    text: str
    seconds_ago: float

    @property
    def is_there(self) -> bool:
        return self.seconds_ago < LEASE_SECONDS


class Fellows:
    """The others, as `instance` sees them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance

    async def alive(self) -> int:
        """How many others are there."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(QUERIES["others_alive"], self._instance, LEASE_SECONDS))

    async def address(self, instance: UUID) -> Address | None:
        """Where an instance listens; None if it never was here, or was forgotten."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["instance_address"], instance)
            return Address(record["address"], record["seconds_ago"]) if record else None
