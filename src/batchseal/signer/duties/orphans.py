"""Removes what lies in a payload store of several instances and belongs to no operation. One instance at a time does it for all.

`payloads/orphans.py` says when something may be removed.
"""

import time
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import structlog

from batchseal.errors import ConfigurationError, PayloadUnavailable
from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import records_of
from batchseal.settings.load import Settings
from batchseal.store.database import Database
from batchseal.store.identity import DatabaseIdentity
from batchseal.system.futures import in_pool

if TYPE_CHECKING:
    from batchseal.payloads.orphans import Orphans

EVERY_SECONDS = 600.0
HOUR, DAY = 3600.0, 86_400.0

log = structlog.get_logger("orphans")


class OrphanSweep:
    """Does nothing, and loads nothing, where the payload store is one of this instance alone."""

    def __init__(
        self, database: Database, payloads: Payloads, settings: Settings, pool: Executor | None = None
    ) -> None:
        self._identity = DatabaseIdentity(database)
        self._payloads = payloads
        self._settings = settings
        self._pool = pool
        self._orphans: Orphans | None = None
        self._next = time.monotonic() + EVERY_SECONDS
        self._stopped = ""  # why the last sweep was stopped
        self._kept = ""  # why nothing is purged
        self._is_claimed = payloads.place is None

    async def claim(self) -> None:
        """At the start: writes the marker. Raises ConfigurationError where the store belongs to another database.

        A store that is away now is no reason not to start. No sweep trusts its rows before it has looked at the marker, and
        nothing is stored where it names another database (`payloads/marker.py`).
        """
        if (place := self._payloads.place) is None or self._is_claimed:
            return
        from batchseal.payloads.orphans import claim

        state = await self._identity.state()
        place.keep_to(state.database)
        try:
            await in_pool(self._pool, partial(claim, place, state))
            self._is_claimed = True
        except PayloadUnavailable as problem:
            log.warning("the payload store is away, and is looked at again in a minute", cause=problem.cause)

    async def claim_later(self) -> None:
        """Once the store is there that was away at the start. Until then it has no marker of ours, and takes nothing."""
        if self._is_claimed:
            return
        try:
            await self.claim()
        except ConfigurationError as problem:
            self._note(problem.cause)
        else:
            self._note("")

    async def sweep_if_due(self) -> None:
        if time.monotonic() >= self._next:
            await self.sweep()

    async def sweep(self) -> None:
        self._next = time.monotonic() + EVERY_SECONDS
        if self._payloads.place is not None:
            await self._made().sweep(self.live, self._identity)

    def _made(self) -> "Orphans":
        from batchseal.payloads.orphans import OrphanPolicy, Orphans

        if self._orphans is None:
            assert self._payloads.place is not None
            policy = OrphanPolicy(
                aside_seconds=self._settings.payload_orphan_hours * HOUR,
                delete_seconds=self._settings.payload_aside_days * DAY,
            )
            self._orphans = Orphans(self._payloads.place, policy, self._note, self._pool)
        return self._orphans

    def _note(self, stopped: str) -> None:
        self._stopped = stopped

    async def keeps(self) -> str:
        """Why nothing may be purged just now that instances share; empty where it may.

        A copy of the database, beside the one that it was made of, would delete what that one still needs. Raises
        DatabaseUnavailable.
        """
        if (place := self._payloads.place) is None:
            return ""
        from batchseal.payloads.orphans import other_time

        try:
            cause = await in_pool(self._pool, partial(other_time, place, await self._identity.state()))
        except PayloadUnavailable as problem:
            return problem.cause
        if cause and cause != self._kept:
            log.error("payloads that have had their time are not purged; batchseal check says more", cause=cause)
        self._kept = cause
        return cause

    async def live(self) -> AsyncGenerator[list[PayloadRecord], None]:
        """What rows of any instance name."""
        async with aclosing(self._identity.live_payloads()) as parts:
            async for rows in parts:
                yield [record for columns in rows for record in records_of(columns)]

    @property
    def said(self) -> str:
        """What an operator should look at; empty where there is nothing."""
        if self._stopped:
            return f"the sweep was stopped: {self._stopped}"
        return f"payloads are not purged: {self._kept}" if self._kept else ""
