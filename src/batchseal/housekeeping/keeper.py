"""`Housekeeper`: the loop that keeps the admission ledger true."""

import asyncio
import time
from concurrent.futures import Executor
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.admission.admission import stored_bytes
from batchseal.admission.ledger import Ledger
from batchseal.errors import DatabaseUnavailable
from batchseal.spill.sweep import abandoned
from batchseal.store.store import Store

LOOK_SECONDS, RECOUNT_SECONDS = 1.0, 60.0

log = structlog.get_logger("housekeeping")


class Housekeeper:
    def __init__(self, store: Store, ledger: Ledger, folder: Path, pool: Executor, instance: UUID) -> None:
        self._store = store
        self._ledger = ledger
        self._folder = folder
        self._pool = pool
        self._instance = instance

    async def run(self) -> None:
        """Until cancelled."""
        next_recount = 0.0
        while True:
            try:
                await self.count_queue()
                if time.monotonic() >= next_recount:
                    next_recount = time.monotonic() + RECOUNT_SECONDS
                    await self.count_stored()
            except DatabaseUnavailable as problem:
                log.info("housekeeping waits for the database", cause=problem.cause)
            except Exception:
                log.exception("housekeeping stumbled and goes on")
            await asyncio.sleep(LOOK_SECONDS)

    async def count_queue(self) -> None:
        queued = await self._store.unfinished_documents(self._instance)
        with self._ledger.booked() as booked:
            booked.queued_documents = queued

    async def count_stored(self) -> None:
        """What the finished uploads take; those under way are in the ledger's slots."""
        stored = await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: stored_bytes(list(abandoned(self._folder).values()))
        )
        with self._ledger.booked() as booked:
            booked.stored_bytes = stored
