"""The table `time_stamp_requests`: how often all instances together have asked each time stamp authority that has a budget."""

from collections.abc import Callable, Sequence
from uuid import uuid4

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES


class TimeStampBudgets:
    """Counts requests where several instances make them. `others` says how many other instances there are.

    Where there are none, nothing is asked here, and an authority counts in memory.
    """

    def __init__(self, database: Database, others: Callable[[], int]) -> None:
        self._database = database
        self._others = others
        self._known: set[str] = set()  # authorities that have a row

    def is_needed(self) -> bool:
        """Whether others ask the authorities too."""
        return self._others() > 0

    async def take(self, authority: str, requests: int, seconds: float, ages: Sequence[float]) -> float:
        """Notes a request if there were fewer than `requests` in the last `seconds`, and returns 0. Else, how long to wait.

        `ages` tells how many seconds ago this process has sent requests that were not noted yet. Raises DatabaseUnavailable.
        """
        one = uuid4()
        async with self._database.connection() as connection:
            if authority not in self._known:
                await connection.execute(QUERIES["make_time_stamp_budget"], authority)
                self._known.add(authority)
            asked = authority, requests, seconds, list(ages), one
            record = await connection.fetchrow(QUERIES["take_time_stamp"], *asked)
        return 0.0 if record["taken"] else max(0.0, float(record["wait_seconds"]))
