"""Removes what lies in a store of several instances and belongs to no operation: in two periods, and never what may be another's.

    no row names it ──(aside_seconds)──► marked ──(delete_seconds)──► deleted
                                           │
                                           └── a row names it again, as after the mistake of a restore was undone: the mark goes

A marked payload stays where it is and can be read. All times are those of the store's own clock.

Nobody can ask another instance whether it is about to register what it has just stored, and a database that was restored knows
nothing of what was stored since. So a sweep first looks whether it may trust its rows:

1. The store's marker names this database. It is written once. An instance whose database is another one refuses to start, and
   takes no uploads where that turns out later (`marker.py`).
2. The database is where it was at the sweep before: the same cluster (`system_identifier`), on the same timeline, which a restore
   to a point in time and the promotion of a standby change, and not at an earlier sweep, as after its files were put back.
3. There are few orphans. What crashes leave is little; many mean that rows are missing.

Where one of these is not so, nothing changes until an operator has looked (`batchseal check`).
"""

from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from batchseal.errors import ConfigurationError, PayloadUnavailable
from batchseal.payloads.interface import Live, Place, unnamed
from batchseal.payloads.marker import MARKER, Marker, read_marker
from batchseal.store.identity import DatabaseState
from batchseal.system.futures import in_pool

HOUR, DAY = 3600.0, 86_400.0

log = structlog.get_logger("payloads")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanPolicy:
    """How long orphans stay, and how many there may be before a sweep doubts its rows: the larger of the two limits."""

    aside_seconds: float = DAY
    delete_seconds: float = 7 * DAY
    most_payloads: int = 100
    most_percent: float = 1.0

    def most(self, payloads: int) -> float:
        return max(self.most_payloads, payloads * self.most_percent / 100)


class LastSweep(msgspec.Struct, frozen=True):
    """The content of `sweep.json`."""

    system_identifier: int
    timeline: int
    sweeps: int


LAST_SWEEP = "sweep.json"
DEFAULT_POLICY = OrphanPolicy()


def claim(place: Place, state: DatabaseState, *, anew: bool = False) -> None:
    """Writes the marker where there is none. Blocking; raises PayloadUnavailable.

    Raises ConfigurationError where another database has the place: each would delete what the other one has stored. Raises it as
    well, unless that is to be so (`anew`), where the marker is gone of a database that has stored payloads before (perhaps the
    volume is not mounted), and where payloads lie without a marker: they are another's.
    """
    database = state.database
    if owner_of(place) is None:
        if state.sweeps and not anew:
            raise ConfigurationError(
                "--payload-store: this database has used a payload store before, and its marker is not here; perhaps the volume"
                " is not mounted, or the address is another one. If this is to be its store from now on: batchseal check --fix"
            )
        place.prepare()
        if not anew and place.payloads():
            raise ConfigurationError(
                f"--payload-store: payloads lie there, and {MARKER} is gone, which says whose they are. If they are those of this"
                " database: batchseal check --fix"
            )
        place.write(MARKER, msgspec.json.encode(Marker(database)))
    # It is read again: of two that write at once, the store keeps one.
    found = owner_of(place)
    if found is None:
        raise PayloadUnavailable("the payload store has not kept the marker of this database")
    if found != database:
        raise ConfigurationError(
            f"--payload-store: the place belongs to the database {found}, and this one is {database}; give each database a"
            " prefix or a folder of its own"
        )


def owner_of(place: Place) -> UUID | None:
    """The database whose payloads these are; None where there is no marker. Blocking; raises PayloadUnavailable."""
    return read_marker(place.read(MARKER))


def other_time(place: Place, state: DatabaseState) -> str:
    """Why the rows may be those of another time, or of a copy of the database; empty where they are not.

    Such rows may name payloads as finished with that another database still needs. A standby that was promoted is none of these:
    what its rows say is so. Blocking; raises PayloadUnavailable.
    """
    found = owner_of(place)
    if found is None:
        return f"the payload store has no {MARKER} any more"
    if found != state.database:
        return f"the payload store belongs to the database {found}, and this one is {state.database}"
    if (last := _last_sweep(place)) is None:
        return ""
    if last.system_identifier != state.system_identifier:
        return "the database stands in another cluster than at the last sweep: it was restored or moved"
    if last.sweeps > state.sweeps:
        return f"the database knows of {state.sweeps} sweeps, and there were {last.sweeps}: it was restored"
    return ""


def doubts(place: Place, state: DatabaseState) -> str:
    """Why it is not certain that every payload that is needed has a row; empty where it is.

    Blocking; raises PayloadUnavailable.
    """
    if cause := other_time(place, state):
        return cause
    last = _last_sweep(place)
    if last is not None and last.timeline != state.timeline:
        return f"the database is on timeline {state.timeline} and was on {last.timeline}: restored, or a standby was promoted"
    return ""


def _last_sweep(place: Place) -> LastSweep | None:
    """None where there was none yet. Raises PayloadUnavailable where it cannot be read."""
    if (content := place.read(LAST_SWEEP)) is None:
        return None
    try:
        return msgspec.json.decode(content, type=LastSweep)
    except msgspec.MsgspecError:
        raise PayloadUnavailable(f"{LAST_SWEEP} of the payload store is not what was written there") from None


def accept(place: Place, state: DatabaseState) -> None:
    """Has the next sweep trust the database as it is now. For an operator who has looked. Blocking; raises PayloadUnavailable."""
    place.write(LAST_SWEEP, msgspec.json.encode(LastSweep(state.system_identifier, state.timeline, state.sweeps)))


class SweptDatabase(Protocol):
    """The database whose rows say what is needed (`store/identity.py`)."""

    async def state(self) -> DatabaseState: ...

    async def begin_sweep(self) -> DatabaseState:
        """Counts one more sweep, and says how the database is then."""
        ...


class Orphans:
    """One for each instance; one instance at a time calls `sweep`.

    `alarm` is given why a sweep was stopped, "" where it was not. `pool` runs what blocks.
    """

    def __init__(
        self,
        place: Place,
        policy: OrphanPolicy = DEFAULT_POLICY,
        alarm: Callable[[str], None] = lambda cause: None,
        pool: Executor | None = None,
    ) -> None:
        self._place = place
        self._policy = policy
        self._alarm = alarm
        self._pool = pool

    async def sweep(self, live: Live, database: SweptDatabase) -> list[UUID]:
        """Returns what was deleted. `live` gives the payloads that rows of any instance name; it is asked after the store.

        A sweep that is stopped is not counted. Otherwise a database that was restored would come to know of as many sweeps as
        there were, and be trusted. What the store does not do is left to the next sweep.
        """
        try:
            if cause := await in_pool(self._pool, partial(doubts, self._place, await database.state())):
                self._stop(cause)
                return []
            return await self._sweep(live, await database.begin_sweep())
        except PayloadUnavailable as problem:
            log.warning("payloads that nobody needs are looked for later", cause=problem.cause)
            return []

    async def _sweep(self, live: Live, state: DatabaseState) -> list[UUID]:
        place, policy = self._place, self._policy
        now, payloads, marks = await in_pool(self._pool, lambda: (place.now(), place.payloads(), place.marks()))
        written = place.written_here()
        old = (
            payload_id
            for payload_id, stored_at in payloads.items()
            if payload_id not in written and (now - stored_at).total_seconds() >= policy.aside_seconds
        )
        orphans = await unnamed(old, live)
        if len(orphans) > policy.most(len(payloads)):
            self._stop(f"{len(orphans)} of {len(payloads)} payloads have no row, which is more than crashes leave")
            return []
        due = {
            payload_id
            for payload_id in orphans
            if (now - marks.get(payload_id, now)).total_seconds() >= policy.delete_seconds
        }
        await in_pool(self._pool, partial(place.mark, orphans - marks.keys()))
        if due:
            # A row may have come meanwhile: a registration whose answer was lost, or a standby that caught up.
            due = await unnamed(due, live)
            for payload_id in sorted(due):
                log.info("removing an orphaned payload", payload=str(payload_id), stored_at=str(payloads[payload_id]))
            await in_pool(self._pool, partial(place.remove, due))
        unfinished = await in_pool(self._pool, partial(self._end, marks.keys() - orphans, now, state))
        self._alarm("")
        return [*sorted(due), *unfinished]

    def _end(self, needless: Collection[UUID], now: datetime, state: DatabaseState) -> list[UUID]:
        self._place.unmark(needless)
        unfinished = self._place.remove_unfinished(now - timedelta(seconds=self._policy.aside_seconds))
        if unfinished:
            log.info("removed what uploads have left unfinished", uploads=len(unfinished))
        accept(self._place, state)
        return unfinished

    def _stop(self, cause: str) -> None:
        self._alarm(cause)
        log.error("payloads that nobody needs are not removed; batchseal check says more", cause=cause)
