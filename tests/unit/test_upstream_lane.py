"""How a lane fills, limits and repeats calls. A coroutine of the test takes the place of the real sign call."""

import asyncio
import time
from typing import Any

import pytest
from harness.waiting import eventually, turns

from batchseal.errors import (
    CallRejected,
    CallTooLarge,
    ItemRejected,
    OutcomeUnknown,
    UpstreamPermanent,
    UpstreamTransient,
)
from batchseal.system.backoff import Backoff
from batchseal.upstream.lane import TRIES_AT_ONCE, Lane, Order
from batchseal.upstream.pace import UpstreamPace


class Calls:
    """A sign call that takes `seconds`, and returns each digest as its own signature.

    The first calls end as `failures` says: an exception is raised, None is a success.
    """

    def __init__(self, seconds=0.0, failures=()):
        self.seconds, self.failures = seconds, list(failures)
        self.made, self.at_once, self.most_at_once = [], 0, 0

    async def __call__(self, digests, request_key):
        self.made.append(list(digests))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        return digests


PACE = UpstreamPace(repeating=Backoff(0.01, 20.0, 3.0))


def digests_of(count, seed=0):
    return [b"%d/%d" % (seed, number) for number in range(count)]


async def run(lane, digests, tries=5):
    order, results = Order("key", [tries] * len(digests)), dict[int, Any]()
    lane.submit(order, digests)
    while len(results) < len(digests):
        for position, value in await order.parts.get():
            assert position not in results
            results[position] = value
    return [results[position] for position in range(len(digests))]


async def test_calls_are_full_and_limited_in_number():
    calls = Calls(0.01)
    assert await run(Lane(calls, 10, PACE), digests_of(205)) == digests_of(205)
    assert [len(call) for call in calls.made] == [10] * 20 + [5] and calls.most_at_once == PACE.calls


async def test_orders_of_the_same_moment_share_a_call():
    calls = Calls()
    lane = Lane(calls, 100, PACE)
    results = await asyncio.gather(*(run(lane, digests_of(1, seed)) for seed in range(50)))
    assert results == [digests_of(1, seed) for seed in range(50)] and len(calls.made) == 1


async def test_small_orders_within_50_ms_travel_together():
    tries = []
    for _ in range(10):  # the machine may be busy during some of them
        calls = Calls(0.2)
        lane = Lane(calls, 100, PACE)

        async def later(number, lane=lane):
            await asyncio.sleep(number * 0.001)
            return await run(lane, digests_of(1, number))

        started = time.monotonic()
        await asyncio.gather(*map(later, range(50)))
        tries.append((len(calls.made), time.monotonic() - started))
        if tries[-1][0] <= 4 and tries[-1][1] < 0.5:
            return
    raise AssertionError(f"calls and seconds: {tries}")


async def test_what_comes_while_a_fast_upstream_answers_shares_the_next_call():
    answering = asyncio.Event()

    class Answering(Calls):
        async def __call__(self, digests, request_key):
            self.made.append(list(digests))
            if len(self.made) == 2:
                await answering.wait()
            return digests

    calls = Answering()
    lane = Lane(calls, 100, PACE)
    for seed in range(100, 110):
        calls.made.clear()
        await run(lane, digests_of(1, seed))  # it is known now that a call takes no time
    runs = []
    for seed in range(9):
        runs.append(asyncio.ensure_future(run(lane, digests_of(1, seed))))
        await eventually(lambda: len(calls.made) == 2)
    answering.set()
    await asyncio.gather(*runs)
    assert calls.made[1:] == [digests_of(1, 0), [digest for seed in range(1, 9) for digest in digests_of(1, seed)]]


async def test_how_long_calls_take_is_learned_from_those_that_were_answered():
    calls = Calls(0, [UpstreamTransient("away")])
    lane, order = Lane(calls, 100, PACE), Order("key", [1])
    lane.submit(order, digests_of(1))
    await order.parts.get()
    assert lane.call_seconds == 0.2
    calls.seconds = 0.4
    await run(lane, digests_of(1))
    assert lane.call_seconds >= 0.4


async def test_an_idle_lane_does_not_wait():
    calls = Calls()
    lane = Lane(calls, 100, PACE)
    await run(lane, digests_of(1))
    best = 1e9
    for number in range(20):
        started = time.monotonic()
        await run(lane, digests_of(1, number))
        best = min(best, time.monotonic() - started)
    assert best < 0.005


async def test_equal_digests_are_sent_once():
    calls = Calls()
    assert await run(Lane(calls, 10, PACE), [b"same"] * 7 + [b"other"]) == [b"same"] * 7 + [b"other"]
    assert calls.made == [[b"same", b"other"]]


async def test_what_failed_in_several_calls_goes_on_together():
    calls = Calls(0.005, [UpstreamTransient("away")] * 3)
    assert await run(Lane(calls, 4, PACE), digests_of(12)) == digests_of(12)
    assert sum(map(len, calls.made)) == 24 and len(calls.made) == 6


async def test_tries_are_counted_by_document():
    calls = Calls(0, [UpstreamTransient("away")] * 100)
    results = await run(Lane(calls, 10, PACE), digests_of(3), tries=2)
    assert all(isinstance(value, UpstreamTransient) for value in results) and len(calls.made) == 2


async def test_a_call_that_found_no_connection_is_no_try():
    calls = Calls(0, [UpstreamTransient("refused", asked=False)] * 7)
    assert await run(Lane(calls, 10, PACE), digests_of(3), tries=1) == digests_of(3)
    assert len(calls.made) == 8


async def test_a_large_budget_is_not_used_up_at_once():
    calls, order = Calls(0, [UpstreamTransient("away")] * 100), Order("key", [5])
    Lane(calls, 10, PACE).submit(order, digests_of(1))
    await order.parts.get()
    assert order.budget == [2] and len(calls.made) == TRIES_AT_ONCE


@pytest.mark.parametrize("bad", [[3], [0, 9], [7, 8, 90, 91, 92]])
async def test_one_digest_that_is_refused_condemns_no_other(bad):
    wanted = digests_of(100)

    class Refusing(Calls):
        async def __call__(self, digests, request_key):
            self.made.append(digests)
            await turns(1)
            if any(wanted[number] in digests for number in bad):
                raise CallRejected("no")
            return digests

    calls = Refusing()
    results = await run(Lane(calls, 100, PACE), wanted)
    assert [n for n, value in enumerate(results) if isinstance(value, ItemRejected)] == bad
    assert sum(isinstance(value, bytes) for value in results) == 100 - len(bad)
    assert len(calls.made) <= 40 and max(sum(w in made for made in calls.made) for w in wanted) <= 5


async def test_a_refusal_of_every_call_is_not_searched_for_long():
    calls = Calls(0, [CallRejected("never")] * 10_000)
    results = await run(Lane(calls, 1000, PACE), digests_of(1000))
    assert all(isinstance(value, UpstreamPermanent | ItemRejected) for value in results)
    assert len(calls.made) < 250


async def test_calls_shrink_until_they_are_taken():
    class Small(Calls):
        async def __call__(self, digests, request_key):
            self.made.append(digests)
            if len(digests) > 100:
                raise CallTooLarge("413")
            return digests

    calls = Small()
    lane = Lane(calls, 1000, PACE)
    assert await run(lane, digests_of(1000), tries=1) == digests_of(1000)
    assert lane.limit <= 100


async def test_a_small_order_passes_a_large_one():
    calls, ended = Calls(0.02), []
    lane = Lane(calls, 10, PACE)

    async def timed(name, digests):
        await run(lane, digests)
        ended.append(name)

    large = asyncio.create_task(timed("large", digests_of(400)))
    await eventually(lambda: calls.made)
    await timed("small", [b"small"])
    assert ended == ["small"] and [b"small"] in [call[:1] for call in calls.made[:12]]
    await large


async def test_a_failed_call_is_repeated_as_it_was_under_the_same_key():
    keys = []

    class Keyed(Calls):
        async def __call__(self, digests, request_key):
            keys.append((request_key, tuple(digests)))
            return await super().__call__(digests, request_key)

    await run(Lane(Keyed(0, [OutcomeUnknown("reset"), None, OutcomeUnknown("reset")]), 5, PACE), digests_of(15))
    assert len(keys) == 5 and len(set(keys)) == 3 and len({key for key, _ in keys}) == 3


async def test_a_refusal_is_not_repeated_and_harms_no_other_call():
    calls = Calls(0, [None, UpstreamPermanent("no")])
    results = await run(Lane(calls, 5, PACE), digests_of(15))
    assert [isinstance(value, UpstreamPermanent) for value in results] == [False] * 5 + [True] * 5 + [False] * 5


async def test_a_defect_ends_the_documents_of_its_call():
    calls = Calls(0, [ZeroDivisionError()])
    results = await run(Lane(calls, 5, PACE), digests_of(5))
    assert all(isinstance(value, UpstreamPermanent) and "unexpectedly" in value.cause for value in results)


async def test_a_withdrawn_order_is_not_sent():
    calls, order = Calls(0.01), Order("key", [5] * 100)
    lane = Lane(calls, 1, PACE)
    lane.submit(order, digests_of(100))
    await order.parts.get()
    lane.withdraw(order)
    await eventually(lambda: lane.idle)
    assert len(calls.made) <= 2 * PACE.calls


async def test_closing_ends_calls_under_way():
    calls, order = Calls(3600), Order("key", [5] * 10)
    lane = Lane(calls, 1, PACE)
    lane.submit(order, digests_of(10))
    await eventually(lambda: len(calls.made) == PACE.calls + 1)
    await asyncio.wait_for(lane.close(), 120)
    await turns()
    assert len(calls.made) == PACE.calls + 1 and lane.idle
