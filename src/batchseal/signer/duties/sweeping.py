"""Removes payloads that no row names: uploads that a crash cut off."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import records_of
from batchseal.signer.duties.orphans import OrphanSweep
from batchseal.store.store import Store

EVERY_SECONDS = 600.0


class Sweeping:
    """Each instance sweeps what it alone has. What several instances share is swept for all by one of them (`orphans`)."""

    def __init__(self, store: Store, payloads: Payloads, instance: UUID, orphans: OrphanSweep | None = None) -> None:
        self._store = store
        self._payloads = payloads
        self._instance = instance
        self._orphans = orphans
        self._next = 0.0  # monotonic

    async def begin(self) -> None:
        """At the start. Raises ConfigurationError where the payload store belongs to another database."""
        if self._orphans is not None:
            await self._orphans.claim()
        if self._has_own:
            await self.sweep()

    @property
    def _has_own(self) -> bool:
        """Whether there is something that this instance alone has. Of a store that all read it has copies, at most."""
        return self._store.shared is None or self._payloads.place is not None

    async def sweep_if_due(self, *, for_all: bool = False) -> None:
        """`for_all`: this instance is the one that sweeps for all."""
        if self._orphans is not None:
            await self._orphans.claim_later()
        if (self._has_own or for_all) and time.monotonic() >= self._next:
            await self.sweep()
        if for_all and self._orphans is not None:
            await self._orphans.sweep_if_due()

    async def said(self) -> str:
        """What an operator should look at; empty where there is nothing."""
        return self._orphans.said if self._orphans is not None else ""

    async def sweep(self) -> None:
        self._next = time.monotonic() + EVERY_SECONDS
        await self._payloads.sweep(self._live)

    async def _live(self) -> AsyncGenerator[list[PayloadRecord], None]:
        """What this instance must keep: in its folder, and as copies of what lies in a store that others read too."""
        found = [self._store.live_payloads(self._instance)]
        if (shared := self._store.shared) is not None:
            found.append(self._store.live_payloads_in(shared))
        for one in found:
            async with aclosing(one) as parts:
                async for rows in parts:
                    yield [record for columns in rows for record in records_of(columns)]
