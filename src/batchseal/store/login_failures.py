"""`LoginFailures` counts failed logins for all instances that share the database.

A row is named by a keyed digest, so that the table does not show who called from where. Every method raises DatabaseUnavailable.
"""

from dataclasses import dataclass
from datetime import datetime

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES


@dataclass(frozen=True, slots=True)
class Counted:
    """A failure that was counted at this time of the database, or (`refused`) was one too many and was not counted.

    `seconds_until_fewer`: after that the oldest one does not count any more.
    """

    at: datetime
    refused: bool
    seconds_until_fewer: float


class LoginFailures:
    """A pair may have `most` failures within `seconds`."""

    def __init__(self, database: Database, *, most: int, seconds: float) -> None:
        self._database = database
        self._most = most
        self._seconds = seconds

    async def count(self, pair: bytes) -> Counted:
        """Counts a failure of this pair. Of any number of simultaneous ones, at whatever instances, only `most` are counted."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["count_login_failure"], pair, self._most, self._seconds)
            return Counted(record["at"], record["refused"], record["seconds_until_fewer"])

    async def take_back(self, pair: bytes, counted: Counted) -> None:
        """Takes a failure back: the guess was right, or nobody could say."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["take_back_login_failure"], pair, counted.at)
