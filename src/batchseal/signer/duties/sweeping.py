"""Removes payloads that no row names: uploads that a crash cut off."""

import time
from uuid import UUID

from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import records_of
from batchseal.signer.duties.orphans import OrphanSweep
from batchseal.store.store import Store

EVERY_SECONDS = 600.0


class Sweeping:
    """Each instance sweeps what it alone has. `orphans` sweeps what several instances share."""

    def __init__(self, store: Store, payloads: Payloads, instance: UUID, orphans: OrphanSweep | None = None) -> None:
        self._store = store
        self._payloads = payloads
        self._instance = instance
        self._orphans = orphans
        self._next = 0.0  # monotonic

    async def sweep_if_due(self) -> None:
        if time.monotonic() >= self._next:
            await self.sweep()
        if self._orphans is not None:
            await self._orphans.sweep_if_due()

    async def sweep(self) -> None:
        self._next = time.monotonic() + EVERY_SECONDS
        if self._orphans is not None and self._payloads.place is not None:
            await self._payloads.sweep(self._orphans.live)
        else:
            await self._payloads.sweep(self._live)

    async def _live(self) -> set[PayloadRecord]:
        rows = await self._store.live_payloads(self._instance)
        return {record for columns in rows for record in records_of(columns)}
