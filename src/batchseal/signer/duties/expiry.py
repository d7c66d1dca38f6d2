"""Drops what has had its time in the database: documents, signatures, external references, the texts of operations."""

import time

import structlog

from batchseal.store.upkeep import REFERENCES_AT_ONCE, Upkeep

log = structlog.get_logger("expiry")


# Removing texts must not keep the other duties waiting. This much is done in a round, 500 operations at a time.
TEXTS_AT_ONCE = 20
# How long an instance is listed that was not seen any more.
INSTANCE_SECONDS = 7 * 86_400.0
# How often references are freed. That reads all operations, which are kept for good.
REFERENCES_SECONDS = 86_400.0
# When that is tried again after a failure.
AGAIN_SECONDS = 600.0
# So long it goes on in one round. Other duties wait for it.
REFERENCES_ROUND_SECONDS = 10.0


class Expiry:
    """`round_seconds`: how long references are freed in one round, `at_once` operations at a time."""

    def __init__(
        self,
        upkeep: Upkeep,
        *,
        again_seconds: float = AGAIN_SECONDS,
        round_seconds: float = REFERENCES_ROUND_SECONDS,
        at_once: int = REFERENCES_AT_ONCE,
    ) -> None:
        self._round_seconds = round_seconds
        self._at_once = at_once
        self._upkeep = upkeep
        self._again_seconds = again_seconds
        self._next_references = 0.0  # monotonic
        self._references_until = 0  # the operation up to which they were looked at, in a pass that is not at its end

    async def drop_documents(self, seconds: float) -> None:
        """Document rows, by month, that long after the end of their month."""
        for month in await self._upkeep.document_months(seconds):
            if await self._upkeep.drop_documents(month):
                log.info("document rows dropped", month=f"{month:%Y-%m}")

    async def drop_signatures(self) -> None:
        """Signatures, by day, once every payload of the day has gone."""
        for day in await self._upkeep.signature_days():
            if await self._upkeep.drop_signatures(day):
                log.info("signatures dropped", day=f"{day:%Y-%m-%d}")

    async def remove_texts(self, seconds: float) -> None:
        """Descriptions of purged operations and names of their documents, that long after their end. The rows stay."""
        removed = 0
        for _ in range(TEXTS_AT_ONCE):
            if not (some := await self._upkeep.remove_old_texts(seconds)):
                break
            removed += some
        if removed:
            log.info("texts of operations removed", operations=removed)

    async def drop_gone_instances(self) -> None:
        """Rows of instances that have gone for good, as a pod does that was replaced."""
        if gone := await self._upkeep.drop_gone_instances(INSTANCE_SECONDS):
            log.info("rows of instances removed that were not seen any more", instances=gone)

    async def free_references(self, seconds: float) -> None:
        """External references of purged operations, that long after their end. One pass over all operations a day, in slices.

        A pass goes on in the next round where it is not at its end, after a pause where it failed. Raises DatabaseUnavailable.
        """
        began = time.monotonic()
        if began < self._next_references:
            return
        self._next_references = began + self._again_seconds
        freed, is_over = 0, False
        while not is_over:
            some, last = await self._upkeep.free_references(seconds, self._references_until, self._at_once)
            freed += some
            self._references_until = last or 0
            is_over = last is None or time.monotonic() >= began + self._round_seconds
        self._next_references = time.monotonic() + (REFERENCES_SECONDS if last is None else 0.0)
        if freed:
            log.info("external references freed", references=freed)
