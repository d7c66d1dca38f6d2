"""`TimeStampSizes` keeps how long the tokens of each time stamp authority are, for all instances and over restarts."""

from collections.abc import Collection, Mapping

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES


class TimeStampSizes:
    """Lengths are in bytes. An authority is named by its address. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, authorities: Collection[str]) -> dict[str, int]:
        """The longest token of each authority so far.

        0 if one was asked for in vain, or is being asked for. An authority of which nothing is known is left out.
        """
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["time_stamp_sizes"], list(authorities))
            return {record["authority"]: record["token_bytes"] for record in records}

    async def claim_trial(self, authorities: Collection[str]) -> bool:
        """Whether the caller may ask for a token only to learn its length. This is granted once to all instances together."""
        async with self._database.connection() as connection:
            return bool(await connection.fetch(QUERIES["claim_time_stamp_trial"], list(authorities)))

    async def note(self, sizes: Mapping[str, int]) -> None:
        """Stores the lengths of tokens that are longer than those which are known."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_time_stamp_sizes"], list(sizes), list(sizes.values()))
