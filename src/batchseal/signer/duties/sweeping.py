"""Removes payloads that no row names: uploads that a crash cut off."""

import time
from uuid import UUID

from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import records_of
from batchseal.store.store import Store

EVERY_SECONDS = 600.0


class Sweeping:
    """Where the payload store is one that several instances read, one of them sweeps it for all."""

    def __init__(self, store: Store, payloads: Payloads, instance: UUID) -> None:
        self._store = store
        self._payloads = payloads
        self._instance = instance
        self._next = 0.0  # monotonic

    @property
    def is_own(self) -> bool:
        """Whether the payload store is this instance's alone."""
        return self._store.shared is None

    async def sweep_if_due(self) -> None:
        if time.monotonic() >= self._next:
            await self.sweep()

    async def sweep(self) -> None:
        self._next = time.monotonic() + EVERY_SECONDS
        await self._payloads.sweep(self._live)

    async def _live(self) -> set[PayloadRecord]:
        shared = self._store.shared
        rows = await (self._store.live_payloads_in(shared) if shared else self._store.live_payloads(self._instance))
        return {record for columns in rows for record in records_of(columns)}
