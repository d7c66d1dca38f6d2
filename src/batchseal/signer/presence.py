"""`Presence`: this instance among those that share its database. It shows that it is there, and renews what it holds.

One look at the database every RENEW_SECONDS does all of this, so that no request pays for it. What is held is known in memory
until the lease runs out, by a clock that no setting of the time moves.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any
from uuid import UUID

import structlog

from batchseal import __version__
from batchseal.errors import BatchsealError, DatabaseUnavailable
from batchseal.settings.load import Settings
from batchseal.signer.lanes import MARGIN_SECONDS, Clock, Lanes, now_seconds
from batchseal.store.address import address_of
from batchseal.store.instances import LEASE_SECONDS, RENEW_SECONDS, InstanceTable
from batchseal.store.notices import Notices
from batchseal.store.store import Store
from batchseal.store.turns import Turns
from batchseal.upstream.gate import GateOf

# After a look that failed. The leases have to be renewed soon once the database is back.
AGAIN_SECONDS = 0.5
# How long a signer that stops tries to give everything back. What is not given back runs out by itself.
LEAVE_SECONDS = 2.0
# How long a duty may make no progress before it is left to another instance.
STUCK_SECONDS = 60.0

# What one instance does for all: drop old rows and partitions, export the audit trail.
UPKEEP = "upkeep"
# What one instance sends for all: the events of client services that have a webhook.
WEBHOOKS = "webhooks"

log = structlog.get_logger("instances")


def payloads_duty(shared: str) -> str:
    """What one instance does for all that read this payload store: purge, sweep, chain the entries of the audit trail."""
    return f"payloads {shared}"


class Presence:
    """Who else is there, and which duties are ours.

    `address` is where this instance listens, `stored_in` names its payload store, and so does `shared` if others read it too.
    Without `has_lanes` nobody else makes calls of the same credentials: so it is with the embedded database.
    """

    def __init__(
        self,
        table: InstanceTable,
        turns: Turns,
        *,
        address: str,
        version: str,
        stored_in: str,
        shared: str | None = None,
        has_lanes: bool = True,
        notices: Notices | None = None,
        clock: Clock = now_seconds,
    ) -> None:
        self._table = table
        self._turns = turns
        self._row = address, version, stored_in
        self._shared = shared
        self._names: Collection[str] = [UPKEEP, WEBHOOKS, *([payloads_duty(shared)] if shared else [])]
        self._clock = clock
        self._notices = notices
        self._others = 0
        self._duties: dict[str, float] = {}  # until when each is ours
        # When each of those that can get stuck could last be done.
        self._done = {name: clock() for name in self._names if name != WEBHOOKS}
        self.lanes = Lanes(turns, shared, self.others, clock=clock) if has_lanes else None

    @classmethod
    async def begin(cls, settings: Settings, store: Store, stored_in: str) -> "Presence":
        """That of the instance which the settings describe. `stored_in` names its payload store. Raises DatabaseUnavailable."""
        instance, notices = UUID(settings.instance), None
        if store.shared is not None and store.database.KEEPS_SESSIONS:
            own = await Store.connect(address_of(settings), instance=instance, pool_size=1)
            notices = Notices(own.database)
        presence = cls(
            InstanceTable(store.database, instance),
            Turns(store.database, instance),
            address=settings.listens,
            version=__version__,
            stored_in=stored_in,
            shared=store.shared,
            has_lanes=settings.is_shared,
            notices=notices,
        )
        await presence.arrive()
        return presence

    def works(self, left: Callable[[], None]) -> list[Coroutine[Any, Any, None]]:
        """What must run until the signer stops. `left` is called when another instance has left an operation to this one."""
        works = [self.run()]
        if self.lanes is not None:
            works.append(self.lanes.run())
        if self._notices is not None:
            works.append(self._notices.run(left))
        return works

    @property
    def gate_of(self) -> GateOf | None:
        """The gates of the lanes, for the upstream."""
        return self.lanes.gate if self.lanes is not None else None

    def others(self) -> int:
        """How many other instances are there, as far as is known."""
        return self._others

    @property
    def does_upkeep(self) -> bool:
        """Whether it is on this instance to do what one does for all."""
        return self._does(UPKEEP)

    def does_webhooks(self) -> bool:
        """Whether it is on this instance to send the events of all."""
        return self._does(WEBHOOKS)

    @property
    def does_payloads(self) -> bool:
        """Whether it is on this instance to do what one does for all payloads of its store. Never where it reads them alone."""
        return self._shared is not None and self._does(payloads_duty(self._shared))

    def comes_by(self, *, upkeep: bool, payloads: bool) -> None:
        """Says that somebody looks after the duties of both kinds, and which of them can be done just now.

        The lease of a duty that nobody has come by for, or that could not be done for STUCK_SECONDS, is left to others.
        """
        now, can = self._clock(), {UPKEEP: upkeep, **({payloads_duty(self._shared): payloads} if self._shared else {})}
        self._done |= {name: now for name, is_possible in can.items() if is_possible}

    def _wanted(self) -> Collection[str]:
        """The duties to be had. Nobody else would do them where this instance is alone."""
        if not self._others:
            return self._names
        since = self._clock() - STUCK_SECONDS
        return [name for name in self._names if self._done.get(name, self._clock()) >= since]

    def _does(self, duty: str) -> bool:
        return self._clock() < self._duties.get(duty, 0.0) - MARGIN_SECONDS

    async def arrive(self) -> None:
        """Shows this instance for the first time. What the process before this one held is free. Raises DatabaseUnavailable."""
        await self._turns.give_up_lanes()
        await self._table.arrive(*self._row)
        await self.beat()

    async def beat(self) -> None:
        """Shows that this instance is there, and renews what it holds. Raises DatabaseUnavailable."""
        others = await self._table.heartbeat()
        if others is None:
            log.warning("this instance was forgotten while it was away; it begins anew")
            await self._table.arrive(*self._row)
            others = await self._table.heartbeat() or 0
        if others != self._others:
            log.info("other instances use this database", instances=others)
        self._others = others
        until = self._clock() + LEASE_SECONDS
        self._duties = dict.fromkeys(await self._turns.take_duties(self._wanted()), until)
        if self.lanes is not None:
            await self.lanes.renew()

    async def run(self) -> None:
        """Until cancelled. While the database is away, what is held runs out by itself."""
        # The instance has just arrived; to wait before the first beat opens one session of the database fewer at the start.
        await asyncio.sleep(RENEW_SECONDS)
        while True:
            began, pause = self._clock(), RENEW_SECONDS
            try:
                # A statement that hangs must not keep the next one from a database that is back by then.
                async with asyncio.timeout(LEASE_SECONDS - RENEW_SECONDS):
                    await self.beat()
            except (DatabaseUnavailable, TimeoutError) as problem:
                log.info("the database is away", cause=str(problem) or "no answer in time")
                began, pause = self._clock(), AGAIN_SECONDS
            await asyncio.sleep(max(0.0, began + pause - self._clock()))

    async def leave(self, store: Store) -> None:
        """Gives everything back, so that others need not wait for it. Nothing may be under way any more."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await store.take_back_own_leases()
                if self.lanes is not None:
                    await self.lanes.give_up()
                await self._turns.give_up_duties()
                await self._table.depart()
        except (BatchsealError, TimeoutError) as problem:
            log.info("leases are not given back and will run out", cause=str(problem))
