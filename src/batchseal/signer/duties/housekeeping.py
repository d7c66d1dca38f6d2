"""`Housekeeper`: keeps the admission ledger true, chains the audit trail, and purges what has had its time."""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.admission.admission import stored_bytes
from batchseal.admission.ledger import Ledger
from batchseal.audit.writer import AuditWriter
from batchseal.errors import BatchsealError
from batchseal.payloads.sweep import abandoned
from batchseal.settings.load import Settings
from batchseal.signer.duties.clock import judge, uptime
from batchseal.store.upkeep import Upkeep
from batchseal.system.crash_sites import crash_site
from batchseal.system.futures import in_pool

LOOK_SECONDS, ROUND_SECONDS = 1.0, 60.0
HOUR, DAY = 3600, 86_400

log = structlog.get_logger("housekeeping")


@dataclass(frozen=True, slots=True)
class Retention:
    """In seconds."""

    fetched: float
    unfetched: float
    documents: float
    references: float
    audit: float

    @classmethod
    def of(cls, settings: Settings) -> "Retention":
        return cls(
            settings.payload_hours_fetched * HOUR,
            settings.payload_days_unfetched * DAY,
            settings.document_days * DAY,
            settings.reference_days * DAY,
            settings.audit_days * DAY,
        )


class Housekeeper:
    """One in each instance, in its signer process. What it does is visible in the log; unfinished operations it never touches."""

    def __init__(
        self,
        upkeep: Upkeep,
        audit: AuditWriter,
        ledger: Ledger,
        folder: Path,
        pool: Executor,
        retention: Retention,
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        self._upkeep = upkeep
        self._audit = audit
        self._ledger = ledger
        self._folder = folder
        self._pool = pool
        self._retention = retention
        self._round_seconds = round_seconds

    async def run(self) -> None:
        """Until cancelled."""
        next_round = 0.0
        while True:
            try:
                await self.count_queue()
                await self._audit.chain()
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + self._round_seconds
                    await self.round()
            except BatchsealError as problem:
                log.info("housekeeping goes on later", cause=problem.cause)
            except Exception:
                log.exception("housekeeping stumbled and goes on")
            await asyncio.sleep(LOOK_SECONDS)

    async def round(self) -> None:
        """Payloads, then document rows, references and audit entries."""
        await self.count_stored()
        if await self.suspended():
            return
        while due := await self._upkeep.purgeable(self._retention.fetched, self._retention.unfetched):
            await self.purge(due, "they have had their time")
        for month in await self._upkeep.document_months(self._retention.documents):
            if await self._upkeep.drop_documents(month):
                log.info("document rows dropped", month=f"{month:%Y-%m}")
        if freed := await self._upkeep.free_references(self._retention.references):
            log.info("external references freed", references=freed)
        await self._audit.export_and_drop(self._retention.audit)

    async def suspended(self) -> bool:
        """Whether the database's clock jumped lately."""
        clock, (boot_id, seconds) = await self._upkeep.clock(), uptime()
        verdict = judge(clock, boot_id, seconds, self._retention.fetched)
        if verdict.jump_seconds:
            log.warning(
                "the database's clock jumped: purging is suspended",
                seconds=round(verdict.jump_seconds),
                until=str(verdict.purge_not_before),
            )
        await self._upkeep.note_clock(boot_id, seconds, clock.now, verdict.purge_not_before)
        return verdict.purge_not_before is not None

    async def make_room(self, needed_bytes: int) -> int:
        """For want of space fetched payloads go before their time, oldest first. How many bytes went."""
        freed = 0
        for operation, payload_id in (await self._upkeep.purgeable_for_room()).items():
            if freed >= needed_bytes:
                break
            freed += await self.purge({operation: payload_id}, "room is needed")
        return freed

    async def purge(self, due: dict[int, UUID], why: str) -> int:
        """The row says so first: a crash in between leaves a file that the sweep knows nobody needs."""
        purged = await self._upkeep.mark_purged(list(due))
        paths = [self._folder / f"{payload_id}.spill" for payload_id in purged.values()]
        freed = await in_pool(self._pool, lambda: remove(paths))
        crash_site("purge-removed")
        with self._ledger.booked() as booked:
            booked.stored_bytes -= freed
        log.info("payloads purged", why=why, operations=sorted(purged), freed_bytes=freed)
        return freed

    async def count_queue(self) -> None:
        queued = await self._upkeep.unfinished_documents()
        with self._ledger.booked() as booked:
            booked.queued_documents = queued

    async def count_stored(self) -> None:
        """What the finished uploads take; those under way are in the ledger's slots."""
        stored = await in_pool(self._pool, lambda: stored_bytes(list(abandoned(self._folder).values())))
        with self._ledger.booked() as booked:
            booked.stored_bytes = stored


def remove(paths: Iterable[Path]) -> int:
    """Bytes that went."""
    freed = 0
    for path in paths:
        freed += stored_bytes([path])
        path.unlink(missing_ok=True)
    return freed
