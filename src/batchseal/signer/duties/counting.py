"""Keeps the admission ledger true: what is stored and what is queued is counted anew, so that no error of booking stays."""

import time
from collections.abc import Callable
from concurrent.futures import Executor

from batchseal.admission.ledger import Ledger
from batchseal.payloads.interface import Payloads
from batchseal.store.upkeep import Upkeep
from batchseal.system.futures import in_pool

# Counting rows reads all operations of two or three months.
ROWS_SECONDS = 3600.0


class Counting:
    """`others` says how many other instances use the database."""

    def __init__(
        self,
        upkeep: Upkeep,
        payloads: Payloads,
        ledger: Ledger,
        pool: Executor,
        others: Callable[[], int] = lambda: 0,
    ) -> None:
        self._upkeep = upkeep
        self._payloads = payloads
        self._ledger = ledger
        self._pool = pool
        self._others = others
        self._next_rows = 0.0

    async def count_queue(self) -> None:
        """Documents that wait to be signed. The queue is that of this instance; the share of a client service counts at all."""
        if self._others():
            self._ledger.count_queued(*await self._upkeep.unfinished_documents_of_all())
        else:
            self._ledger.count_queued(await self._upkeep.unfinished_documents())

    async def count_rows_if_due(self) -> None:
        """Documents that have a row in the database, of each client service. Workers add those that come in between."""
        if time.monotonic() >= self._next_rows:
            self._ledger.count_rows(await self._upkeep.document_rows())
            self._next_rows = time.monotonic() + ROWS_SECONDS

    async def count_stored(self) -> None:
        """What the payloads of finished uploads take, in all and of each client service. Those under way book for themselves."""
        by_client = await self._upkeep.stored_bytes()
        self._ledger.count_stored(await in_pool(self._pool, self._payloads.stored_bytes), by_client)
