"""Calls of a credential are sent only in this instance's turn: the gate of a lane, and whose turn it is."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import pytest
from harness.waiting import eventually, turns

from batchseal.errors import DatabaseUnavailable, TurnOver
from batchseal.signer.lanes import LOOK_SECONDS, MARGIN_SECONDS, TURN_SECONDS, Lanes
from batchseal.store.instances import LEASE_SECONDS
from batchseal.store.turns import LaneRow
from batchseal.system.backoff import Backoff
from batchseal.upstream.gate import GatedTokens
from batchseal.upstream.lane import Lane, Order
from batchseal.upstream.pace import UpstreamPace
from batchseal.upstream.tokens import CallersToken

PACE = UpstreamPace(repeating=Backoff(0.01, 20.0, 3.0))
MINE, OTHERS = "shared:/mine", "local"


class Door:
    """A gate that a test opens and closes."""

    def __init__(self) -> None:
        self.is_open = False
        self.waiting: list[Callable[[], None]] = []
        self.calls = 0

    def ask(self, opened: Callable[[], None]) -> None:
        self.waiting.append(opened)

    def call_begins(self) -> None:
        self.calls += 1

    def call_ended(self) -> None:
        self.calls -= 1

    def open(self) -> None:
        self.is_open, waiting = True, self.waiting
        self.waiting = []
        for opened in waiting:
            opened()


class Calls:
    """A sign call that returns each digest as its own signature."""

    def __init__(self) -> None:
        self.made: list[list[bytes]] = []

    async def __call__(self, digests: Sequence[bytes], request_key: str) -> Sequence[bytes | None]:
        self.made.append(list(digests))
        return digests


def submitted(lane: Lane, *digests: bytes) -> Order:
    order = Order("key", [5] * len(digests))
    lane.submit(order, digests)
    return order


async def test_what_waits_at_a_closed_gate_shares_a_call_once_it_opens() -> None:
    door, calls = Door(), Calls()
    lane = Lane(calls, 100, PACE, door)
    orders = [submitted(lane, b"%d" % number) for number in range(10)]
    await eventually(lambda: door.waiting)
    await turns()
    assert (calls.made, door.calls, lane.waiting) == ([], 0, 10)
    lane.withdraw(orders[3])
    door.open()
    for number, order in enumerate(orders):
        if number != 3:
            assert await order.parts.get() == [(0, b"%d" % number)]
    assert [sorted(call) for call in calls.made] == [sorted(b"%d" % number for number in range(10) if number != 3)]
    await eventually(lambda: not door.calls)


async def test_a_call_whose_turn_was_over_is_made_again_as_it_was_and_is_no_try() -> None:
    door = Door()

    class Stopped(Calls):
        async def __call__(self, digests: Sequence[bytes], request_key: str) -> Sequence[bytes | None]:
            self.made.append([*digests, request_key.encode()])
            if len(self.made) == 1:
                door.is_open = False
                raise TurnOver("the process was stopped meanwhile")
            return digests

    door.is_open, calls = True, Stopped()
    order = submitted(Lane(calls, 100, PACE, door), b"a", b"b")
    await eventually(lambda: door.waiting)
    assert (len(calls.made), order.budget) == (1, [5, 5])
    door.open()
    assert sorted(await order.parts.get()) == [(0, b"a"), (1, b"b")]
    assert calls.made[0] == calls.made[1]


async def test_the_last_look_at_the_gate_is_behind_all_waiting_for_a_token() -> None:
    door = Door()
    door.is_open = True
    tokens = GatedTokens(CallersToken("t"), door)
    assert await tokens.token() == "t"

    class Slow(CallersToken):
        async def token(self) -> str:
            door.is_open = False  # the process was stopped for longer than its lease
            return await super().token()

    with pytest.raises(TurnOver):
        await GatedTokens(Slow("t"), door).token()
    assert not tokens.reject("t")


class Table:
    """The rows of lanes, which a test changes as other instances would. `away`: the database does not answer."""

    def __init__(self) -> None:
        self.rows: dict[str, LaneRow] = {}
        self.asked: list[tuple[str, bool]] = []
        self.away = False

    async def take_lane(self, credential: str, *, want: bool) -> LaneRow:
        self._answer()
        self.asked.append((credential, want))
        row = self.rows.get(credential)
        if row is None or row.mine:
            row = LaneRow(credential, True, (row.fence if row else 0) + 1, False, MINE)
            self.rows[credential] = row
        return row

    async def renew_lanes(self, fences: Mapping[str, int]) -> set[str]:
        self._answer()
        return {name for name, fence in fences.items() if self.rows[name].mine and self.rows[name].fence == fence}

    async def lanes(self, wanted_seconds: float) -> list[LaneRow]:
        self._answer()
        return list(self.rows.values())

    async def give_up_lanes(self, credentials: Collection[str] | None = None) -> None:
        self._answer()
        for name in list(self.rows) if credentials is None else credentials:
            del self.rows[name]

    def _answer(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")


class Clocked:
    """Lanes over such a table, with a clock that a test moves, and the time at which the gate of "c" was last opened."""

    def __init__(self, shared: str | None = MINE, others: int = 1) -> None:
        self.now = 1000.0
        self.table = Table()
        self.lanes = Lanes(self.table, shared, lambda: others, clock=lambda: self.now)  # type: ignore[arg-type]
        self.opened = 0

    @property
    def gate(self) -> object:
        return self.lanes.gate("c")

    def ask(self) -> None:
        self.lanes.gate("c").ask(self._opened)

    def _opened(self) -> None:
        self.opened += 1

    def taken_by_another(self, store: str) -> None:
        self.table.rows["c"] = LaneRow("c", False, 9, False, store)


async def test_a_lane_is_taken_when_it_is_asked_for_and_lasts_as_long_as_its_lease() -> None:
    one = Clocked()
    assert not one.lanes.gate("c").is_open
    one.ask()
    await one.lanes.look()
    assert (one.opened, one.table.asked) == (1, [("c", True)])
    one.now += LEASE_SECONDS - MARGIN_SECONDS - 0.1
    assert one.lanes.gate("c").is_open
    one.now += 0.2
    assert not one.lanes.gate("c").is_open
    # The database was away for so long. Nobody else has taken it, so the renewal opens the gate again.
    one.ask()
    await one.lanes.renew()
    assert one.lanes.gate("c").is_open
    assert one.opened == 2


async def test_a_lane_that_another_one_has_taken_is_lost() -> None:
    one = Clocked()
    one.ask()
    await one.lanes.look()
    one.taken_by_another(MINE)
    await one.lanes.renew()
    assert not one.lanes.gate("c").is_open
    # What waits here asks for it.
    one.ask()
    await one.lanes.look()
    assert one.table.asked[-1] == ("c", True)


async def test_an_operation_is_left_to_a_holder_that_can_read_it() -> None:
    one = Clocked()
    one.taken_by_another(MINE)
    assert not await one.lanes.is_here("c")
    assert one.table.asked == [("c", False)]  # it is not asked for
    assert one.lanes.elsewhere() == {"c"}
    assert not await one.lanes.is_here("c")
    assert len(one.table.asked) == 1
    # The holder has given it up.
    del one.table.rows["c"]
    await one.lanes.look()
    assert one.lanes.elsewhere() == set()
    assert await one.lanes.is_here("c")


async def test_a_holder_that_cannot_read_it_is_no_reason_to_leave_it() -> None:
    one = Clocked()
    one.taken_by_another(OTHERS)
    assert await one.lanes.is_here("c")
    assert one.lanes.elsewhere() == set()
    assert not one.lanes.gate("c").is_open


async def test_a_lane_that_another_one_wants_is_given_up_between_two_calls() -> None:
    one = Clocked(None)
    one.ask()
    await one.lanes.look()
    gate = one.lanes.gate("c")
    gate.call_begins()
    row = one.table.rows["c"]
    one.table.rows["c"] = LaneRow("c", True, row.fence, True, MINE)
    await one.lanes.look()
    assert gate.is_open  # its turn lasts a moment
    one.now += TURN_SECONDS
    await one.lanes.look()
    assert not gate.is_open
    assert "c" in one.table.rows  # a call is under way
    gate.call_ended()
    await one.lanes.look()
    assert "c" not in one.table.rows
    # Whoever has waited takes it first.
    one.ask()
    await one.lanes.look()
    assert "c" not in one.table.rows
    one.now += 2 * LOOK_SECONDS
    await one.lanes.look()
    assert gate.is_open


async def test_a_lane_without_calls_is_given_up_at_once() -> None:
    one = Clocked(None)
    one.ask()
    await one.lanes.look()
    one.table.rows["c"] = LaneRow("c", True, 1, True, MINE)
    await one.lanes.look()
    assert "c" not in one.table.rows


async def test_a_late_answer_to_a_renewal_does_not_bring_back_a_lane_that_was_given_up() -> None:
    """The database has renewed it before. By the time of the answer another instance may make calls."""
    one = Clocked(None)
    one.ask()
    await one.lanes.look()
    renew_lanes, arrives = one.table.renew_lanes, asyncio.Event()

    async def answered_late(fences: Mapping[str, int]) -> set[str]:
        kept = await renew_lanes(fences)
        await arrives.wait()
        return kept

    one.table.renew_lanes = answered_late  # type: ignore[method-assign]
    renewing = asyncio.create_task(one.lanes.renew())
    await turns()
    one.table.rows["c"] = LaneRow("c", True, 1, True, MINE)
    await one.lanes.look()
    assert "c" not in one.table.rows
    arrives.set()
    await renewing
    assert not one.lanes.gate("c").is_open


async def test_lanes_are_given_up_one_by_one() -> None:
    """A statement that locks several rows could meet a renewal that locks them in another order."""
    one, given_up = Clocked(None), list[list[str]]()
    for name in "cd":
        one.lanes.gate(name).ask(lambda: None)
    await one.lanes.look()
    give_up_lanes = one.table.give_up_lanes

    async def noted(credentials: Collection[str] | None = None) -> None:
        given_up.append(list(credentials or ()))
        await give_up_lanes(credentials)

    one.table.give_up_lanes = noted  # type: ignore[method-assign]
    for name in "cd":
        one.table.rows[name] = LaneRow(name, True, 1, True, MINE)
    await one.lanes.look()
    assert given_up == [["c"], ["d"]]
    assert one.table.rows == {}


async def test_lanes_are_looked_at_again_after_the_database_was_away() -> None:
    one = Clocked()
    one.table.away = True
    one.ask()
    running = asyncio.create_task(one.lanes.run())
    await turns()
    one.table.away = False
    await eventually(lambda: one.opened)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_lane_is_asked_for_again_and_again_while_its_holder_keeps_it() -> None:
    """Looks at all lanes, which are as frequent, do not put the question off."""
    one = Clocked(None)
    one.taken_by_another(MINE)
    one.ask()
    for _ in range(3):
        await one.lanes.look()
        one.now += LOOK_SECONDS
    assert one.table.asked == [("c", True)] * 3
