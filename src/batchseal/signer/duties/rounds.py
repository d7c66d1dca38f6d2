"""Calls the duties: the short ones every second, the others every minute.

Where several instances share the database, one of them does what concerns the shared tables, and one what concerns a payload
store that they share. Each does the rest for itself: it counts what it has, and purges and sweeps its own folder.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import structlog

from batchseal.admission.admission import Admission
from batchseal.audit.head import HeadStamping, Stamp
from batchseal.audit.known import KnownFacts
from batchseal.audit.verification import DailyVerification
from batchseal.audit.writer import AuditWriter, Whose
from batchseal.errors import BatchsealError, DatabaseUnavailable
from batchseal.payloads.interface import Payloads
from batchseal.payloads.operation import Memory
from batchseal.processes.link import Handler
from batchseal.settings.load import Settings
from batchseal.signer.duties.clock import judge, uptime
from batchseal.signer.duties.counting import Counting
from batchseal.signer.duties.expiry import Expiry
from batchseal.signer.duties.figures import Figures, describe
from batchseal.signer.duties.orphans import OrphanSweep
from batchseal.signer.duties.patience import PATIENCE_SECONDS, Patience
from batchseal.signer.duties.purging import Purging
from batchseal.signer.duties.sampling import Sampling
from batchseal.signer.duties.sweeping import Sweeping
from batchseal.signer.presence import Presence
from batchseal.store.store import Store
from batchseal.store.trail import AuditTrail
from batchseal.store.upkeep import Upkeep
from batchseal.system.shared_pool import SharedPool

LOOK_SECONDS, ROUND_SECONDS = 1.0, 60.0
# Each duty has one at most. They begin when they are needed.
DUTY_THREADS = 16

Duty = Callable[[], Coroutine[Any, Any, Any]]
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

    def comes_by(self, *, upkeep: bool, payloads: bool) -> None:
        """Says that somebody looks after both, and which of them can be done just now."""
        ...


class Alone:
    """For an instance that shares nothing: it does all for the tables, and has no payloads but its own."""

    does_upkeep = True
    does_payloads = False

    def comes_by(self, *, upkeep: bool, payloads: bool) -> None:
        """Nobody else could do what is stuck here."""


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
        patience_seconds: float = PATIENCE_SECONDS,
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
        # What needs the payload store, and what does not. A file call that hangs keeps none of the others.
        self._of_payloads, self._of_tables = Patience(patience_seconds), Patience(patience_seconds)

    def handlers(self) -> dict[str, Handler]:
        """What workers may call over the link."""

        async def make_room(needed_bytes: int, client_service: str = "") -> int:
            work = partial(self.purging.make_room, needed_bytes, client_service)
            return await self._of_payloads.wait_for("make_room", work)

        return {"make_room": make_room, "payloads": self.sweeping.said}

    async def run(self) -> None:
        """Until cancelled."""
        next_round = 0.0
        try:
            while True:
                try:
                    await self.look()
                    if time.monotonic() >= next_round:
                        next_round = time.monotonic() + self._round_seconds
                        await self.round()
                        sweep = partial(self.sweeping.sweep_if_due, for_all=self._shared.does_payloads)
                        await self._do(self._of_payloads, "sweep", sweep)
                except BatchsealError as problem:
                    log.info("duties are done later", cause=problem.cause)
                except Exception:
                    log.exception("duties failed and are done again later")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._of_payloads.close()
            await self._of_tables.close()

    async def _do(self, patience: Patience, name: str, duty: Duty) -> None:
        """Does a duty. Whatever keeps it from its end keeps no other one, unless the database is away, which all need.

        An instance whose volume is not mounted, or hangs, may be the one that looks after the tables for all.
        """
        try:
            await patience.wait_for(name, duty)
        except DatabaseUnavailable:
            raise
        except BatchsealError as problem:
            log.info("a duty is done later", duty=name, cause=problem.cause)
        except Exception:
            log.exception("a duty failed and is done again later", duty=name)

    async def look(self) -> None:
        """What is done every second."""
        tables, payloads, shared = self._of_tables, self._of_payloads, self._shared
        shared.comes_by(upkeep=not tables.is_out, payloads=not payloads.is_out)
        await self._do(tables, "count_queue", self._counting.count_queue)
        await self._do(payloads, "chain", partial(self._audit.chain, Whose.OWN))
        if shared.does_payloads:
            await self._do(payloads, "chain, shared", partial(self._audit.chain, Whose.SHARED))
        if shared.does_upkeep:
            await self._do(tables, "chain, notes", partial(self._audit.chain, Whose.NOTES))
        if self._sampling is not None:
            sample = partial(self._sampling.sample_if_due, for_all=shared.does_upkeep)
            await self._do(tables, "sample", sample)
        if self._figures is not None:
            await self._do(tables, "figures", self._figures.take_if_due)

    async def round(self) -> None:
        """Payloads first, then document rows, signatures, texts, references and audit entries."""
        keep, payloads, purging = self._retention, self._of_payloads, self.purging
        await self._do(payloads, "count_stored", self._counting.count_stored)
        await self._do(self._of_tables, "count_rows", self._counting.count_rows_if_due)
        await self._do(payloads, "purge_asked", purging.purge_asked)
        if self._shared.does_payloads:
            await self._do(payloads, "purge_asked, shared", partial(purging.purge_asked, shared=True))
        if await self.suspended():
            return
        purge_due = partial(purging.purge_due, keep.fetched, keep.unfetched)
        await self._do(payloads, "purge_due", purge_due)
        if self._shared.does_payloads:
            await self._do(payloads, "purge_due, shared", partial(purge_due, shared=True))
        if self._shared.does_upkeep:
            await self._expire()

    async def _expire(self) -> None:
        keep, expiry = self._retention, self._expiry
        # The dump of a backup holds all tables. A drop would wait for it, and whoever uses the table would wait behind the drop.
        may_drop = not await self._upkeep.is_being_backed_up()
        duties: dict[str, Duty] = {}
        if may_drop:
            duties["drop_documents"] = partial(expiry.drop_documents, keep.documents)
            duties["drop_signatures"] = expiry.drop_signatures
        duties["remove_texts"] = partial(expiry.remove_texts, keep.texts)
        duties["free_references"] = partial(expiry.free_references, keep.references)
        if self._stamping is not None:
            duties["stamp"] = self._stamping.stamp_if_due
        if self._verification is not None:
            duties["verify"] = self._verification.go_on_if_due
        if may_drop:
            duties["export"] = partial(self._audit.export_and_drop, keep.audit)
        duties["drop_gone_instances"] = expiry.drop_gone_instances
        for name, duty in duties.items():
            await self._do(self._of_tables, name, duty)

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
    presence: Presence,
    sampling: Sampling | None = None,
    stamp: Stamp | None = None,
    memory: Memory = nullcontext,
    known: KnownFacts | None = None,
) -> Rounds:
    """The duties of the instance that the settings describe. `stamp` gets a time stamp, where an authority is configured.

    `memory` books what reading a payload takes; `known` is what needs no payload to be read for the audit trail.
    """
    ledger = admission.ledger
    # Threads of their own: one that a volume keeps for ever is not missed where documents are signed.
    pool = SharedPool(DUTY_THREADS, spare=0, name="duties")
    describe(settings)
    instance = UUID(settings.instance)
    upkeep = Upkeep(store.database, instance, store.shared)
    trail = AuditTrail(store.database, instance, store.shared)
    orphans = OrphanSweep(store.database, payloads, settings, pool)
    return Rounds(
        upkeep,
        Counting(upkeep, payloads, ledger, pool, presence.others),
        Sweeping(store, payloads, instance, orphans),
        Purging(upkeep, payloads, ledger, pool, orphans.keeps),
        AuditWriter(trail, payloads, settings.audit_path, pool, memory, known),
        Retention.of(settings),
        shared=presence,
        figures=Figures(upkeep, ledger, admission.budgets, presence.others),
        stamping=HeadStamping(trail, stamp) if stamp is not None else None,
        verification=DailyVerification(trail),
        sampling=sampling,
    )
