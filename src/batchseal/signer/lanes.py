"""`Lanes`: through which instance the sign calls of a credential go.

One instance at a time has the lane of a credential (table `credential_lanes`), and makes all its calls: so calls are few, and the
limits of the signing service, its pauses and the breaker are known in one place. Operations move to the holder of the lane; their
digests never do. Whoever has claimed an operation of another one's lane gives it back, and the holder claims it. Where only this
instance can read the payload, the lane comes to the operation: it is asked for, and its holder gives it up after its turn.

Whether a call may be sent is a comparison in memory (`Turn.is_open`). The lane is renewed beside that every few seconds
(`Presence`), so no request pays for it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from batchseal.errors import DatabaseUnavailable
from batchseal.store.instances import LEASE_SECONDS, RENEW_SECONDS
from batchseal.store.turns import LaneRow, Turns

# A call that is sent so shortly before the end might arrive after it.
MARGIN_SECONDS = 2.0
# How often an instance that waits for a lane asks for it, and how long such a question counts.
LOOK_SECONDS, WANTED_SECONDS = 0.2, 1.0
# For so long its holder may keep a lane that another one waits for, while it has something to send.
TURN_SECONDS = 1.0
# How long it is taken for granted that another instance has a lane, without looking again.
OTHERS_SECONDS = 1.0

log = structlog.get_logger("lanes")


Clock = Callable[[], float]


def now_seconds() -> float:
    """The time since the start of the machine. It goes on while the machine is suspended, as the leases in the database do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Turn:
    """The lane of one credential as this instance sees it: the `Gate` of its sign calls."""

    def __init__(self, credential: str, clock: Clock, when_asked: Callable[[], None]) -> None:
        self.credential = credential
        self._clock = clock
        self._when_asked = when_asked
        self.fence = 0
        self.since = 0.0
        self.until = 0.0  # the lane is held until then at least, by `clock`
        self.calls = 0  # under way
        self.is_ending = False  # another instance waits for the lane, so no further call is sent
        self.not_before = 0.0  # it is not asked for again before that
        self.taking = asyncio.Lock()
        self.others_store = ""  # where its present holder stores payloads, if that is another instance ...
        self.others_until = 0.0  # ... and how long that is taken for granted
        self.waiting: list[Callable[[], None]] = []  # told when the gate opens

    @property
    def is_held(self) -> bool:
        return self._clock() < self.until - MARGIN_SECONDS

    @property
    def is_open(self) -> bool:
        return not self.is_ending and self.is_held

    def ask(self, opened: Callable[[], None]) -> None:
        if opened not in self.waiting:
            self.waiting.append(opened)
        self._when_asked()

    def call_begins(self) -> None:
        self.calls += 1

    def call_ended(self) -> None:
        self.calls -= 1
        if self.is_ending and not self.calls:
            self._when_asked()

    def seen(self, row: LaneRow, asked_at: float, lasts_seconds: float) -> None:
        """What the database says of the lane, asked at `asked_at`. A lane that was just taken or renewed lasts from then on."""
        if row.mine:
            if row.fence != self.fence:
                self.fence, self.since, self.is_ending = row.fence, asked_at, False
            self.until = asked_at + lasts_seconds
            self.others_until = 0.0
        else:
            self.lost()
            self.others_store, self.others_until = row.store or "", asked_at + OTHERS_SECONDS

    def lost(self) -> None:
        self.until, self.is_ending = 0.0, False

    def tell(self) -> None:
        """Tells those who wait, if the gate is open by now."""
        if self.is_open:
            waiting, self.waiting = self.waiting, []
            for opened in waiting:
                opened()


class Lanes:
    """The lanes of all credentials, as this instance takes them, keeps them and gives them up.

    `shared` names the payload store of this instance, if others read it too. `others` says how many other instances there are.
    """

    def __init__(
        self, turns: Turns, shared: str | None, others: Callable[[], int], *, clock: Clock = now_seconds
    ) -> None:
        self._turns = turns
        self._shared = shared
        self._others = others
        self._clock = clock
        self._of: dict[str, Turn] = {}
        self._asked = asyncio.Event()
        # Whether this instance leaves its lanes to others, since it cannot read the payloads just now.
        self.leaves: Callable[[], bool] = lambda: False

    def gate(self, credential: str) -> Turn:
        """The gate of a credential, by its ID."""
        turn = self._of.get(credential)
        if turn is None:
            turn = self._of[credential] = Turn(credential, self._clock, self._asked.set)
        return turn

    async def is_here(self, credential: str) -> bool:
        """Whether to work here on an operation whose payload others can read too. If not, the holder of the lane claims it.

        A holder that cannot read the payload is no reason to leave it: then the lane must come here. Raises DatabaseUnavailable.
        """
        turn = self.gate(credential)
        if not turn.is_held and self._clock() >= turn.others_until:
            await self._take(turn, want=False)
        return turn.is_held or not self._is_elsewhere(turn)

    def elsewhere(self) -> set[str]:
        """The credentials whose lane is known to be with another instance which reads the same payloads."""
        return {turn.credential for turn in self._of.values() if self._is_elsewhere(turn)}

    def _is_elsewhere(self, turn: Turn) -> bool:
        return self._clock() < turn.others_until and turn.others_store == self._shared

    async def renew(self) -> None:
        """Extends the lanes that this instance has. What another one has taken is lost. Raises DatabaseUnavailable."""
        mine = {turn.credential: turn.fence for turn in self._of.values() if turn.until}
        if not mine:
            return
        asked_at = self._clock()
        kept = await self._turns.renew_lanes(mine)
        for credential, fence in mine.items():
            turn = self._of[credential]
            if turn.fence != fence or not turn.until:
                continue  # it was taken anew, or given up, while this answer was on its way
            if credential in kept:
                turn.until = max(turn.until, asked_at + LEASE_SECONDS)
                turn.tell()
            else:
                log.warning("the calls of a credential go through another instance now", credential=credential)
                turn.lost()

    async def run(self) -> None:
        """Takes the lanes that calls wait for, and gives up those that other instances wait for. Until cancelled."""
        while True:
            self._asked.clear()
            try:
                async with asyncio.timeout(LEASE_SECONDS - RENEW_SECONDS):
                    await self.look()
            except (DatabaseUnavailable, TimeoutError) as problem:
                log.debug("lanes are looked at later", cause=str(problem))
                await asyncio.sleep(LOOK_SECONDS)
            waits = any(turn.waiting and not turn.is_open for turn in self._of.values())
            await self._pause(LOOK_SECONDS if waits or (self._others() and self._of) else RENEW_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    async def look(self) -> None:
        """One look at all lanes. Raises DatabaseUnavailable."""
        if self._others() and self._of:
            await self._look_at_others()
            if self.leaves():
                for turn in self._of.values():
                    turn.is_ending = turn.is_ending or (turn.is_held and not turn.waiting and not turn.calls)
        await self._give_up_ended()
        for turn in list(self._of.values()):
            turn.tell()
            if turn.waiting and not turn.is_held and self._clock() >= turn.not_before:
                await self._take(turn, want=True)

    async def _look_at_others(self) -> None:
        asked_at = self._clock()
        rows = {row.credential: row for row in await self._turns.lanes(WANTED_SECONDS)}
        for turn in self._of.values():
            row = rows.get(turn.credential)
            if row is None:
                turn.others_until = 0.0
            elif not row.mine:
                turn.seen(row, asked_at, 0.0)
            elif row.wanted and turn.is_held and (not turn.calls or asked_at - turn.since >= TURN_SECONDS):
                turn.is_ending = True

    async def _give_up_ended(self) -> None:
        for turn in [turn for turn in self._of.values() if turn.is_ending and not turn.calls]:
            # One row for each statement. One that locks several could wait for a renewal of all lanes that waits for it, and the
            # database would end one of the two with an error.
            await self._turns.give_up_lanes([turn.credential])
            turn.lost()
            turn.not_before = self._clock() + 2 * LOOK_SECONDS

    async def _take(self, turn: Turn, *, want: bool) -> None:
        async with turn.taking:
            if not turn.is_held:
                asked_at = self._clock()
                turn.seen(await self._turns.take_lane(turn.credential, want=want), asked_at, LEASE_SECONDS)
                # Not in `seen`: a look at all lanes, which is as frequent, would put off the question for ever.
                turn.not_before = max(turn.not_before, asked_at + LOOK_SECONDS)
                turn.tell()

    async def give_up(self) -> None:
        """Gives up all lanes, when no call is under way any more. Raises DatabaseUnavailable."""
        for turn in self._of.values():
            turn.lost()
        await self._turns.give_up_lanes()
