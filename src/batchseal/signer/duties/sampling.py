"""Takes samples of figures once a minute, for the plots of the operator's page, and removes old ones."""

import time
from collections.abc import Callable, Mapping

from batchseal.store.samples import Metric, SampleTable

MINUTE = 60.0
# How often old samples, sign calls and consumption are looked for.
DROP_MINUTES = 60

# What an instance has counted since its start, by metric. The numbers only grow.
Tally = Mapping[Metric, float]


class Sampling:
    """What is about the database is sampled by one instance for all; each adds what it counts of its own."""

    def __init__(self, table: SampleTable, tally: Callable[[], Tally], now: Callable[[], float] = time.time) -> None:
        self._table = table
        self._tally = tally
        self._now = now
        self._minute = 0
        self._added: dict[Metric, float] = {}

    async def sample_if_due(self, *, for_all: bool) -> None:
        """Once in each minute of the clock. Raises DatabaseUnavailable; what was counted is added the next time then."""
        minute = int(self._now() // MINUTE)
        if minute == self._minute:
            return
        self._minute = minute
        counted = self._tally()
        more = {
            metric: value - self._added.get(metric, 0.0)
            for metric, value in counted.items()
            if value > self._added.get(metric, 0.0)
        }
        if more:
            await self._table.add(more)
            self._added = dict(counted)
        if for_all:
            await self._table.take()
            if minute % DROP_MINUTES == 0:
                await self._table.drop_old()
