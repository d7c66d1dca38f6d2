"""The table `upstream_calls`: the sign calls that documents of operations were in."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call that `digests` documents of an operation were in. `outcome` is `signed`, or the name of an error."""

    operation_id: int
    at: datetime
    digests: int
    milliseconds: int
    outcome: str
    cause: str


class CallTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, calls: Sequence[KeptCall]) -> None:
        """Writes these calls. The commit does not wait for the disk. Raises DatabaseUnavailable."""
        columns = [list(column) for column in zip(*map(astuple, calls), strict=True)]
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["keep_calls"], *columns)
