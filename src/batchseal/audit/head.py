"""Time stamps over the head of the audit chain, so that not even the owner of the database can write it anew unnoticed.

Once a day, where an authority is configured, the last link of the chain gets a time stamp (RFC 3161). The link is a SHA-256
digest over the link before it and the entry, so the token is about the entry and all before it: whoever changes one of them
later would need a token of the authority with an earlier time. The token is kept in the database, stands in exports, and is
written to the log, which should go where that owner cannot change it.
"""

import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog

from batchseal.audit.tokens import time_of
from batchseal.errors import TimestampFailed
from batchseal.store.trail import AuditTrail, HeadStamp
from batchseal.system.telemetry.events import Category, security_event
from batchseal.system.telemetry.meter import METER

DAY_SECONDS = 86_400.0
# After a failure, and to see whether a stamp of before the start is a day old by now.
LOOK_SECONDS = 600.0

# Gets a verified time stamp for each digest, or the error that prevented it (`upstream/interface.py`).
Stamp = Callable[[Sequence[bytes]], Awaitable[list[bytes | TimestampFailed]]]

log = structlog.get_logger("audit")


class HeadStamping:
    """One instance at a time does this for all: it is part of the duty of keeping the tables."""

    def __init__(self, trail: AuditTrail, stamp: Stamp, *, every_seconds: float = DAY_SECONDS) -> None:
        self._trail = trail
        self._stamp = stamp
        self._every_seconds = every_seconds
        self._next = 0.0

    async def stamp_if_due(self) -> None:
        """Raises DatabaseUnavailable. An authority that fails is asked again later."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + min(LOOK_SECONDS, self._every_seconds)
        last = await self._trail.last_time_stamp()
        if last is not None:
            METER.set("batchseal_audit_time_stamp_timestamp_seconds", value=last.at.timestamp())
            if (datetime.now(UTC) - last.at).total_seconds() < self._every_seconds:
                return
        await self._stamp_head(last)

    async def _stamp_head(self, last: HeadStamp | None) -> None:
        position, link = await self._trail.head()
        if position == 0 or (last is not None and last.position == position):
            return  # there is nothing that the stamp before this one does not cover
        (answer,) = await self._stamp([link])
        if isinstance(answer, TimestampFailed):
            log.warning("the head of the audit chain has no time stamp yet", position=position, cause=answer.cause)
            return
        at = time_of(answer)
        await self._trail.keep_time_stamp(HeadStamp(position, link, at, answer))
        METER.set("batchseal_audit_time_stamp_timestamp_seconds", value=at.timestamp())
        security_event(
            "the head of the audit chain was time-stamped",
            Category.DATABASE,
            "audit-time-stamp",
            time=at.isoformat(),
            position=position,
            link=link.hex(),
            token=base64.b64encode(answer).decode(),
        )
