"""Gauges that follow from the database and from the ledger. They are taken regularly, so that a scrape asks nobody."""

import time
from collections.abc import Callable

from batchseal import __version__
from batchseal._native import cpu
from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import Budgets
from batchseal.settings.load import Settings
from batchseal.store.upkeep import Upkeep
from batchseal.system.telemetry.meter import METER

# The statement reads the unfinished operations of this instance.
EVERY_SECONDS = 5.0


def describe(settings: Settings) -> None:
    """What runs, and which instance this is."""
    METER.begin()
    kernel = settings.kernel or cpu.choose_instruction_set()
    METER.set("batchseal_build_info", __version__, kernel, value=1)
    METER.set("batchseal_instance_info", settings.instance, settings.listens, value=1)


class Figures:
    """`others` says how many other instances use the database."""

    def __init__(self, upkeep: Upkeep, ledger: Ledger, budgets: Budgets, others: Callable[[], int]) -> None:
        self._upkeep = upkeep
        self._ledger = ledger
        self._budgets = budgets
        self._others = others
        self._next = 0.0

    async def take_if_due(self) -> None:
        """Raises DatabaseUnavailable."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_SECONDS
        METER.set("batchseal_instances", value=1 + self._others())
        self._take_from_ledger()
        waiting = await self._upkeep.waiting()
        METER.set("batchseal_queue_documents", value=waiting.documents)
        METER.set("batchseal_queue_oldest_seconds", value=waiting.oldest_seconds)
        METER.set("batchseal_operations_held", value=waiting.held)
        METER.set("batchseal_audit_unchained_entries", value=waiting.unchained)
        METER.set("batchseal_audit_last_verified_timestamp_seconds", value=waiting.verified_at)
        METER.set("batchseal_audit_unverified_entries", value=waiting.unverified)
        METER.set("batchseal_audit_broken", value=float(waiting.is_broken))

    def _take_from_ledger(self) -> None:
        with self._ledger.booked() as booked:
            stored, reserved, memory = booked.stored_bytes, booked.temp_bytes, booked.memory_bytes
        METER.set("batchseal_payload_bytes", "stored", value=stored)
        METER.set("batchseal_payload_bytes", "reserved", value=reserved)
        METER.set("batchseal_budget_bytes", "memory", value=self._budgets.memory_bytes)
        METER.set("batchseal_budget_bytes", "temporary", value=self._budgets.temp_bytes)
        METER.set("batchseal_budget_used_bytes", "memory", value=memory)
        METER.set("batchseal_budget_used_bytes", "temporary", value=stored + reserved)
