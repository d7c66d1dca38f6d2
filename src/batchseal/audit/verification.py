"""The daily verification of the chain, so that somebody notices a change before an auditor does.

It goes in parts, one in each round of the duties, so that other duties do not wait for it. It begins after the last export.
Where more than MOST_ENTRIES follow that, it begins so many before the end, but never behind the entry up to which the chain was
last found intact: so each entry is looked at once at least, and the newest ones again and again. What the last verification has
seen is compared: where an entry had another link then, or the chain was longer, somebody has written it anew. A chain that was
found broken stays an alarm, and is compared with what was last intact, until it is found intact again or somebody has
acknowledged it.
"""

import sys
import time
from contextlib import aclosing
from datetime import UTC, datetime

import structlog

from batchseal.audit.chain import Verifier
from batchseal.store.trail import AuditTrail, Verified
from batchseal.system.telemetry.events import Category, security_event

DAY_SECONDS = 86_400.0
LOOK_SECONDS = 600.0
# A part takes about a second of a core. It is larger where a verification would have more parts than PARTS, half a day's rounds.
ENTRIES_AT_ONCE, MOST_ENTRIES, PARTS = 20_000, 2_000_000, 720
MOST_PROBLEMS = 20

log = structlog.get_logger("audit")


class DailyVerification:
    """One instance at a time does this for all: it is part of the duty of keeping the tables."""

    def __init__(
        self,
        trail: AuditTrail,
        *,
        every_seconds: float = DAY_SECONDS,
        entries_at_once: int = ENTRIES_AT_ONCE,
        most_entries: int = MOST_ENTRIES,
        parts: int = PARTS,
    ) -> None:
        self._parts = parts
        self._trail = trail
        self._every_seconds = every_seconds
        self._entries_at_once = entries_at_once
        self._most_entries = most_entries
        self._part = entries_at_once
        self._next = 0.0
        self._running: Verifier | None = None
        self._last: Verified | None = None

    async def go_on_if_due(self) -> None:
        """Takes the next part, if a verification is under way or due. Raises DatabaseUnavailable."""
        if self._running is None:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + min(LOOK_SECONDS, self._every_seconds)
            self._last = await self._trail.verified()
            if self._last is not None and (datetime.now(UTC) - self._last.at).total_seconds() < self._every_seconds:
                return
            self._running = await begin(self._trail, self._last, self._most_entries)
            head, _ = await self._trail.head()
            self._part = max(self._entries_at_once, (head - self._running.position) // self._parts)
        verifier = self._running
        if (exported := await end_of_exports(self._trail)) and exported[0] > verifier.position:
            verifier.position, verifier.link = exported  # they may be dropped meanwhile
            verifier.began_after = verifier.position
        taken = 0
        async with aclosing(self._trail.read(verifier.position)) as entries:
            async for entry in entries:
                verifier.take(entry)
                taken += 1
                if taken == self._part:
                    return
        self._running = None
        await self._end(verifier)

    async def _end(self, verifier: Verifier) -> None:
        problems = problems_of(verifier, self._last)
        await self._trail.note_verified(verified(verifier, problems))
        tell(problems, verifier.entries)


async def checked(trail: AuditTrail) -> tuple[Verifier, list[str]]:
    """What a check of the whole chain behind the last export has seen, however long that takes, and what is wrong.

    If entries are exported meanwhile, they may be dropped before they are read. So a check that finds something begins anew then.
    """
    while True:
        exported, last = await end_of_exports(trail), await trail.verified()
        verifier = await begin(trail, last, most_entries=sys.maxsize)
        await verifier.take_all(trail.read(verifier.position))
        problems = problems_of(verifier, last)
        if not problems or await end_of_exports(trail) == exported:
            return verifier, problems


async def begin(trail: AuditTrail, last: Verified | None, most_entries: int = MOST_ENTRIES) -> Verifier:
    """A verifier that begins after the last export, or so many entries before the end of the chain.

    What follows the entry up to which it was `last` found intact is never left out. Without a last one nothing is.
    """
    position, link = await end_of_exports(trail) or (0, b"")
    head, _ = await trail.head()
    verifier = Verifier(position, link) if link else Verifier()
    known = last.position if last is not None else 0
    start = min(head - most_entries, known)
    if last is not None and start > position:
        if start == known and last.link:
            verifier = Verifier(known, last.link)
        else:
            async with aclosing(trail.read(start - 1)) as entries:
                first = await anext(entries)
            verifier = Verifier(first.position, first.link)
    if last is not None:
        verifier.comparing(last.position, last.link).accepted = last.accepted
    return verifier


def verified(verifier: Verifier, problems: list[str]) -> Verified:
    """What is noted of a verification."""
    first = problems[0] if problems else ""
    return Verified(verifier.position, verifier.link, verifier.entries, first, began_after=verifier.began_after)


async def end_of_exports(trail: AuditTrail) -> tuple[int, bytes] | None:
    """The position and the link of the last entry that was exported."""
    anchors = await trail.anchors()
    return (anchors[-1].last_position, anchors[-1].last_link) if anchors else None


def problems_of(verifier: Verifier, last: Verified | None) -> list[str]:
    """What is wrong. `last` is the verification before."""
    if last is not None and verifier.position < last.position:
        cut = f"the chain ends at entry {verifier.position}, and had {last.position} when it was last verified"
        return [*verifier.problems, cut]
    return verifier.problems


def tell(problems: list[str], entries: int) -> None:
    """Writes the result into the log."""
    if problems:
        log.error("the audit trail is broken", problems=problems[:MOST_PROBLEMS])
    found = "broken" if problems else "intact"
    fields = {"entries": entries, "found": found}
    security_event(
        "the audit chain was verified", Category.DATABASE, "audit-verification", success=not problems, **fields
    )
