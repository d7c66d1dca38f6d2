"""Keeps the admission ledger true: what is stored and what is queued is counted anew, so that no error of booking stays."""

from concurrent.futures import Executor

from batchseal.admission.ledger import Ledger
from batchseal.payloads.interface import Payloads
from batchseal.store.upkeep import Upkeep
from batchseal.system.futures import in_pool


class Counting:
    def __init__(self, upkeep: Upkeep, payloads: Payloads, ledger: Ledger, pool: Executor) -> None:
        self._upkeep = upkeep
        self._payloads = payloads
        self._ledger = ledger
        self._pool = pool

    async def count_queue(self) -> None:
        """Documents that wait to be signed, of each client service."""
        self._ledger.count_queued(await self._upkeep.unfinished_documents())

    async def count_stored(self) -> None:
        """What the payloads of finished uploads take, in all and of each client service. Those under way book for themselves."""
        by_client = await self._upkeep.stored_bytes()
        self._ledger.count_stored(await in_pool(self._pool, self._payloads.stored_bytes), by_client)
