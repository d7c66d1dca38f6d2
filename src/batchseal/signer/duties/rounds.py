"""Calls the duties: the short ones every second, the others every minute.

Where several instances share the database, one of them does what concerns the shared tables, and one what concerns a payload
store that they share. Each does the rest for itself: it counts what it has, and purges and sweeps its own folder.
"""

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import structlog

from batchseal.admission.admission import Admission
from batchseal.audit.head import HeadStamping, Stamp
from batchseal.audit.known import KnownFacts
from batchseal.audit.verification import DailyVerification
from batchseal.audit.writer import AuditWriter
from batchseal.errors import BatchsealError, PayloadUnavailable
from batchseal.payloads.interface import Payloads
from batchseal.processes.link import Handler
from batchseal.settings.load import Settings
from batchseal.signer.duties.clock import judge, uptime
from batchseal.signer.duties.counting import Counting
from batchseal.signer.duties.expiry import Expiry
from batchseal.signer.duties.figures import Figures, describe
from batchseal.signer.duties.orphans import OrphanSweep
from batchseal.signer.duties.purging import Purging
from batchseal.signer.duties.sampling import Sampling
from batchseal.signer.duties.sweeping import Sweeping
from batchseal.signer.presence import Presence
from batchseal.store.store import Store
from batchseal.store.trail import AuditTrail
from batchseal.store.upkeep import Upkeep

LOOK_SECONDS, ROUND_SECONDS = 1.0, 60.0
HOUR, DAY = 3600, 86_400

log = structlog.get_logger("duties")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in seconds."""

    fetched: float  # payloads, after their result was fetched
    unfetched: float  # payloads that nobody fetches
    documents: float  # document rows, after the end of their month
    references: float
    audit: float  # audit entries, after the end of their month
    texts: float  # descriptions of operations and names of documents, after the end of the operation

    @classmethod
    def of(cls, settings: Settings) -> "Retention":
        return cls(
            settings.payload_hours_fetched * HOUR,
            settings.payload_days_unfetched * DAY,
            settings.document_days * DAY,
            settings.reference_days * DAY,
            settings.audit_days * DAY,
            settings.text_days * DAY,
        )


class Shared(Protocol):
    """What is on this instance of all that one does for all (`signer/presence.py`)."""

    @property
    def does_upkeep(self) -> bool: ...

    @property
    def does_payloads(self) -> bool: ...


class Alone:
    """For an instance that shares nothing: it does all for the tables, and has no payloads but its own."""

    does_upkeep = True
    does_payloads = False


class Rounds:
    """One for each instance. What it does is visible in the log."""

    def __init__(
        self,
        upkeep: Upkeep,
        counting: Counting,
        sweeping: Sweeping,
        purging: Purging,
        audit: AuditWriter,
        retention: Retention,
        *,
        round_seconds: float = ROUND_SECONDS,
        shared: Shared | None = None,
        sampling: Sampling | None = None,
        figures: Figures | None = None,
        stamping: HeadStamping | None = None,
        verification: DailyVerification | None = None,
    ) -> None:
        self._sampling = sampling
        self._figures = figures
        self._stamping = stamping
        self._verification = verification
        self._upkeep = upkeep
        self._counting = counting
        self.sweeping = sweeping
        self.purging = purging
        self._expiry = Expiry(upkeep)
        self._audit = audit
        self._retention = retention
        self._round_seconds = round_seconds
        self._shared = shared or Alone()

    def handlers(self) -> dict[str, Handler]:
        """What workers may call over the link."""
        return {"make_room": self.purging.make_room, "payloads": self.sweeping.said}

    async def run(self) -> None:
        """Until cancelled."""
        next_round = 0.0
        while True:
            try:
                await self._counting.count_queue()
                await self._audit.chain(shared=self._shared.does_payloads, notes=self._shared.does_upkeep)
                if self._sampling is not None:
                    await self._sampling.sample_if_due(for_all=self._shared.does_upkeep)
                if self._figures is not None:
                    await self._figures.take_if_due()
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + self._round_seconds
                    await self.round()
                    await self.sweeping.sweep_if_due(for_all=self._shared.does_payloads)
            except BatchsealError as problem:
                log.info("a duty is done later", cause=problem.cause)
            except Exception:
                log.exception("a duty failed and is done again later")
            await asyncio.sleep(LOOK_SECONDS)

    async def round(self) -> None:
        """Payloads first, then document rows, signatures, texts, references and audit entries."""
        await self._unless_away(self._counting.count_stored())
        await self._counting.count_rows_if_due()
        await self._unless_away(self.purging.purge_asked())
        if self._shared.does_payloads:
            await self._unless_away(self.purging.purge_asked(shared=True))
        if await self.suspended():
            return
        keep = self._retention
        await self._unless_away(self.purging.purge_due(keep.fetched, keep.unfetched))
        if self._shared.does_payloads:
            await self._unless_away(self.purging.purge_due(keep.fetched, keep.unfetched, shared=True))
        if self._shared.does_upkeep:
            await self._expire()

    async def _unless_away(self, duty: Awaitable[None]) -> None:
        """Does what needs the payload store. While that is away, the rest of the round is done all the same.

        An instance whose volume is not mounted may be the one that looks after the tables for all.
        """
        try:
            await duty
        except PayloadUnavailable as problem:
            log.info("a duty is done later", cause=problem.cause)

    async def _expire(self) -> None:
        keep = self._retention
        # The dump of a backup holds all tables. A drop would wait for it, and whoever uses the table would wait behind the drop.
        may_drop = not await self._upkeep.is_being_backed_up()
        if may_drop:
            await self._expiry.drop_documents(keep.documents)
            await self._expiry.drop_signatures()
        await self._expiry.remove_texts(keep.texts)
        await self._expiry.free_references(keep.references)
        if self._stamping is not None:
            await self._stamping.stamp_if_due()
        if self._verification is not None:
            await self._verification.go_on_if_due()
        if may_drop:
            await self._audit.export_and_drop(keep.audit)
        await self._expiry.drop_gone_instances()

    async def suspended(self) -> bool:
        """Whether the database's clock jumped lately, so that nobody knows how old anything is."""
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


def rounds_of(
    settings: Settings,
    store: Store,
    payloads: Payloads,
    admission: Admission,
    pool: Executor,
    presence: Presence,
    sampling: Sampling | None = None,
    stamp: Stamp | None = None,
    known: KnownFacts | None = None,
) -> Rounds:
    """The duties of the instance that the settings describe. `stamp` gets a time stamp, where an authority is configured.

    `known`: what needs no payload to be read for the audit trail.
    """
    ledger = admission.ledger
    describe(settings)
    instance = UUID(settings.instance)
    upkeep = Upkeep(store.database, instance, store.shared)
    trail = AuditTrail(store.database, instance, store.shared)
    orphans = OrphanSweep(store.database, payloads, settings)
    return Rounds(
        upkeep,
        Counting(upkeep, payloads, ledger, pool, presence.others),
        Sweeping(store, payloads, instance, orphans),
        Purging(upkeep, payloads, ledger, pool, orphans.keeps),
        AuditWriter(trail, payloads, settings.audit_path, pool, known),
        Retention.of(settings),
        shared=presence,
        figures=Figures(upkeep, ledger, admission.budgets, presence.others),
        stamping=HeadStamping(trail, stamp) if stamp is not None else None,
        verification=DailyVerification(trail),
        sampling=sampling,
    )
