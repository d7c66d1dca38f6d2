"""`Turns`: what one instance does at a time, and which one. The lanes of credentials, and the duties that one does for all.

Each is a row with a holder, an end and a fence. The holder renews it every RENEW_SECONDS, and knows by its own clock when it ends
at the latest. Row locks and locks of a session would not do: they end with a connection that breaks, and through a pooler they
belong to nobody.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from batchseal.store.database import Database
from batchseal.store.instances import GAP_SECONDS, LEASE_SECONDS
from batchseal.store.queries import QUERIES


@dataclass(frozen=True, slots=True)
class LaneRow:
    """Whose a lane is. `wanted`: whether another instance has asked for it. `store`: where the holder stores payloads."""

    credential: str
    mine: bool
    fence: int
    wanted: bool
    store: str | None


class Turns:
    """The rows, as one instance takes and gives them up. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance

    async def take_lane(self, credential: str, *, want: bool) -> LaneRow:
        """Takes the lane for LEASE_SECONDS if it is free. Else, with `want`, asks its holder for it. Returns whose it is now."""
        asked = self._instance, credential, LEASE_SECONDS, GAP_SECONDS, want
        async with self._database.connection() as connection:
            return _lane_row(await connection.fetchrow(QUERIES["take_lane"], *asked))

    async def renew_lanes(self, fences: Mapping[str, int]) -> set[str]:
        """Extends lanes, given with their fences, by LEASE_SECONDS. Returns those that this instance still has."""
        asked = self._instance, list(fences), list(fences.values()), LEASE_SECONDS
        async with self._database.connection() as connection:
            return {record["credential"] for record in await connection.fetch(QUERIES["renew_lanes"], *asked)}

    async def lanes(self, wanted_seconds: float) -> list[LaneRow]:
        """All lanes that somebody has. One is wanted if that was noted within `wanted_seconds`."""
        async with self._database.connection() as connection:
            return [_lane_row(r) for r in await connection.fetch(QUERIES["lanes"], self._instance, wanted_seconds)]

    async def give_up_lanes(self, credentials: Collection[str] | None = None) -> None:
        """Gives up these lanes of this instance, or all."""
        names = None if credentials is None else list(credentials)
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["give_up_lanes"], self._instance, names)

    async def take_duties(self, names: Collection[str]) -> set[str]:
        """Takes or renews duties for LEASE_SECONDS. Returns those of `names` that this instance has now."""
        asked = self._instance, list(names), LEASE_SECONDS, GAP_SECONDS
        async with self._database.connection() as connection:
            return {record["name"] for record in await connection.fetch(QUERIES["take_duties"], *asked)}

    async def give_up_duties(self) -> None:
        """Gives up all duties of this instance."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["give_up_duties"], self._instance)


def _lane_row(record: Mapping[str, Any]) -> LaneRow:
    return LaneRow(record["credential"], record["mine"], record["fence"], bool(record["wanted"]), record["store"])
