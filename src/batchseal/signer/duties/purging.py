"""Purges the payloads of finished operations, after their time or when room is needed."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from batchseal.admission.ledger import Ledger
from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import records_of
from batchseal.store.rows import PayloadColumns
from batchseal.store.upkeep import Upkeep
from batchseal.system.crash_sites import crash_site
from batchseal.system.futures import in_pool
from batchseal.system.telemetry.events import Category, security_event


async def nothing_forbids() -> str:
    return ""


class Purging:
    """`keeps` says why nothing may be purged just now of what instances share (`orphans`); empty where it may."""

    def __init__(
        self,
        upkeep: Upkeep,
        payloads: Payloads,
        ledger: Ledger,
        pool: Executor,
        keeps: Callable[[], Awaitable[str]] = nothing_forbids,
    ) -> None:
        self._upkeep = upkeep
        self._payloads = payloads
        self._ledger = ledger
        self._pool = pool
        self._keeps = keeps

    async def purge_due(self, fetched_seconds: float, unfetched_seconds: float, *, shared: bool = False) -> None:
        """Payloads that were fetched, or finished and never fetched, so long ago.

        With `shared`, those of the payload store that several instances read, else those in the folder of this one. Nothing is
        purged while a backup is made, which still has to read it.
        """
        while not await self._upkeep.is_being_backed_up():
            due = await self._upkeep.purgeable(fetched_seconds, unfetched_seconds, shared=shared)
            if not due or await self._keeps():
                return
            await self.purge(due, "they have had their time")

    async def purge_asked(self, *, shared: bool = False) -> None:
        """Payloads that an operator wants purged. `shared` as above. What keeps payloads that have had their time keeps these."""
        while not await self._upkeep.is_being_backed_up():
            due = await self._upkeep.purge_asked(shared=shared)
            if not due or await self._keeps():
                return
            await self.purge(due, "an operator asked for it")

    async def make_room(self, needed_bytes: int, client_service: str = "") -> int:
        """Purges fetched payloads before their time, first those of the client service that needs room, the oldest first.

        Before that the store gives up what it could have again from elsewhere. Nothing is purged where that would not make room.
        Returns how many bytes that freed.
        """
        freed = await in_pool(self._pool, lambda: self._payloads.make_room(needed_bytes))
        if freed:
            with self._ledger.booked() as booked:
                booked.stored_bytes -= freed
        if not self._payloads.delete_makes_room or await self._upkeep.is_being_backed_up():
            return freed
        for operation, payloads in (await self._upkeep.purgeable_for_room(client_service)).items():
            if freed >= needed_bytes or await self._keeps():
                break
            freed += await self.purge({operation: payloads}, "room is needed")
        return freed

    async def purge(self, due: dict[int, PayloadColumns], why: str) -> int:
        """Returns the bytes that are free now: none if a backup has begun meanwhile.

        The row says "purged" before anything is deleted: after a crash in between, the sweep finds a payload that no row needs.
        """
        if not (purged := await self._upkeep.mark_purged(list(due), unless_backed_up=True)):
            return 0
        by_client: dict[str, list[PayloadRecord]] = {}
        for client_service, columns in purged.values():
            by_client.setdefault(client_service, []).extend(records_of(columns))
        freed = 0
        for client_service, records in by_client.items():
            freed += await self._delete(client_service, records)
        crash_site("purge-removed")
        done = sorted(purged)
        security_event("payloads purged", Category.DATABASE, "purge", why=why, operations=done, freed_bytes=freed)
        return freed

    async def _delete(self, client_service: str, records: list[PayloadRecord]) -> int:
        freed = await in_pool(self._pool, lambda: self._payloads.delete(records))
        with self._ledger.booked(client_service) as booked:
            booked.stored_bytes -= freed
            booked.own.stored_bytes -= freed
        return freed
