"""Batches, limits and retries the sign calls of one account with one credential.

    submitted ──► ready ──► in a call ──► verified ──► delivered
                    ▲           │ failed, and tries are left
                    └── pause ◄─┘

A call carries as many digests as the upstream allows, whichever operations they belong to: fifty operations of one document need
few calls. Digests are taken by rank. A rank is the time of arrival, plus a little for each digest of the order. So a small order
overtakes a large one, but a large order is not overtaken by everything that arrives later.

A call that failed as a whole is repeated unchanged, under the same key. A call that was refused is split until the digest that
caused the refusal stands alone.

Calls start only while the gate is open (`gate.py`): where several instances share a database, one of them at a time makes the
calls of a credential. What waits at a closed gate shares calls once it opens.

Promises that each digest of an order is delivered exactly once, with a verified signature or with an error. Leaves the call and
the verification to `sign_call`, a function that it is given. The caller may give a digest with budget left to a later order.
"""

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import structlog

from batchseal.errors import (
    CallRejected,
    CallTooLarge,
    ItemRejected,
    SignatureMissing,
    TurnOver,
    UpstreamAuthExpired,
    UpstreamError,
    UpstreamPermanent,
    UpstreamRateLimited,
    UpstreamUnavailable,
)
from batchseal.system.backoff import Backoff
from batchseal.upstream.gate import OPEN, Gate
from batchseal.upstream.grants import call_key
from batchseal.upstream.interface import SignedPart
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace

log = structlog.get_logger("upstream")

SMALL_ORDER = 32  # an order of at most this many digests is small
RANK_SECONDS_PER_DIGEST = 0.002
TRIES_AT_ONCE = 3  # the calls that a digest is sent in for one order; the rest of its budget is for a later order
# While a call is under way, a batch that is not full waits for more items. It stops waiting when no item has arrived for a
# twenty-fourth of the time that a call takes, or after a quarter of that time for each call under way; but not before the least
# times, in which a fast upstream has answered: there, what has come meanwhile shares the next call, since a call costs more of
# the processor than of time. While no call is under way, nothing waits.
LEAST_QUIET_SECONDS, MAX_QUIET_SECONDS, QUIET_SHARE = 0.01, 0.04, 1 / 24
LEAST_GATHER_SECONDS, MAX_GATHER_SECONDS, GATHER_SHARE = 0.02, 0.15, 1 / 4
MAX_REFUSED_CALLS = 32  # stop bisecting after this many refused calls without one success

# Signs digests with one authorize and one sign call. Returns for each its verified signature, or None if there is none.
SignCall = Callable[[Sequence[bytes], str], Awaitable[Sequence[bytes | None]]]


@dataclass(eq=False, slots=True)
class Order:
    """The digests of one `Upstream.sign`, and where their results go."""

    request_key: str
    budget: list[int]
    """For each digest, in how many more calls it may be sent. Each call lowers the numbers of its digests."""
    parts: asyncio.Queue[SignedPart] = field(default_factory=asyncio.Queue)
    """The results, as they come."""
    withdrawn: bool = False


@dataclass(eq=False, slots=True)
class Item:
    """One digest of an order. `position` is its place in the order."""

    order: Order
    position: int
    digest: bytes
    rank: float
    tries: int = 0

    @property
    def tries_left(self) -> int:
        return min(self.order.budget[self.position], TRIES_AT_ONCE - self.tries)


@dataclass(eq=False, slots=True)
class Bisection:
    """The search for the digests that caused the refusal of a call; its parts share it."""

    refused_calls: int = 0
    succeeded: bool = False
    """Whether the upstream has answered a part with signatures."""


@dataclass(eq=False, slots=True)
class Batch:
    """Items for one call, or items that wait for another try."""

    items: list[Item]
    due: float
    """When they may be sent, by the time of the event loop."""
    own_call: bool
    """True: they are sent as one call, with no other items. False: each of them shares a call with any other items."""
    bisection: Bisection | None = None


class Lane:
    """The sign calls of one key. `sign_call` makes one call; `limit` is the largest number of digests in a call."""

    def __init__(self, sign_call: SignCall, limit: int, pace: UpstreamPace = DEFAULT_PACE, gate: Gate = OPEN) -> None:
        self._sign_call = sign_call
        self._gate = gate
        self._pace = pace
        self.limit = limit
        self._loop = asyncio.get_running_loop()
        self._ready: list[tuple[float, int, Item]] = []  # a heap by rank, then by order of arrival
        self._ready_since = self._arrived_at = 0.0
        self._retries: list[Batch] = []
        self._numbers = count()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._held_until = 0.0  # the end of a pause that the upstream asked for
        self._call_seconds, self._answered = 0.2, 0

    @property
    def call_seconds(self) -> float:
        """How long a call takes: a moving average over the calls that were answered."""
        return self._call_seconds

    @property
    def idle(self) -> bool:
        return not self._ready and not self._retries and not self._calls

    @property
    def waiting(self) -> int:
        """The number of digests that are not in a call now."""
        return len(self._ready) + sum(len(batch.items) for batch in self._retries)

    def submit(self, order: Order, digests: Sequence[bytes]) -> None:
        """Takes in an order. Its results go to `order.parts`."""
        rank = self._loop.time() + RANK_SECONDS_PER_DIGEST * len(digests)
        self._make_ready(Item(order, position, digest, rank) for position, digest in enumerate(digests))
        # Calls start on the next turn of the event loop, so that orders that arrive together share a call.
        self._wake_in(0.0)

    def withdraw(self, order: Order) -> None:
        """Drops the items that are not in a call. Items that are in a call are not sent again."""
        order.withdrawn = True
        self._ready = [entry for entry in self._ready if entry[2].order is not order]
        heapq.heapify(self._ready)
        for batch in self._retries:
            batch.items = [item for item in batch.items if item.order is not order]
        self._retries = [batch for batch in self._retries if batch.items]

    async def close(self) -> None:
        """Cancels the calls under way, and drops all items without a result."""
        self._ready.clear()
        self._retries.clear()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _make_ready(self, items: Iterable[Item]) -> None:
        self._arrived_at = self._loop.time()
        if not self._ready:
            self._ready_since = self._arrived_at
        for item in items:
            heapq.heappush(self._ready, (item.rank, next(self._numbers), item))

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._start_calls)

    def _start_calls(self) -> None:
        self._timer = None
        while (wake_at := self._next_start()) is not None:
            if not self._gate.is_open:
                self._gate.ask(self._gate_opened)
                return
            now = self._loop.time()
            if wake_at > now:
                self._wake_in(wake_at - now)
                return
            batch = self._take_batch(now)
            if batch is None:
                return
            call = self._loop.create_task(self._call(batch))
            self._calls.add(call)
            self._gate.call_begins()
            call.add_done_callback(self._call_ended)

    def _gate_opened(self) -> None:
        self._wake_in(0.0)

    def _next_start(self) -> float | None:
        """When the next call may start, by the time of the loop. None if nothing is to be sent, or no further call is allowed."""
        starts = [batch.due for batch in self._retries]
        if self._ready:
            start = self._ready_since
            if self._calls and len(self._ready) < self.limit:
                gather = len(self._calls) * min(MAX_GATHER_SECONDS, self._call_seconds * GATHER_SHARE)
                quiet = min(MAX_QUIET_SECONDS, self._call_seconds * QUIET_SHARE)
                quiet_at = self._arrived_at + max(LEAST_QUIET_SECONDS, quiet)
                start = min(start + max(LEAST_GATHER_SECONDS, gather), quiet_at)
            starts.append(start)
        small = bool(self._ready) and len(self._ready[0][2].order.budget) <= SMALL_ORDER
        free = len(self._calls) < self._pace.calls or (small and len(self._calls) == self._pace.calls)
        return max(self._held_until, min(starts)) if starts and free else None

    def _take_batch(self, now: float) -> Batch | None:
        """The items of the next call.

        While as many calls as allowed are under way, only ready items are taken, since the next is of a small order.
        """
        for batch in [batch for batch in self._retries if batch.due <= now]:
            if not batch.own_call:
                self._retries.remove(batch)
                self._make_ready(batch.items)
            elif len(self._calls) < self._pace.calls:
                self._retries.remove(batch)
                return batch
        if not self._ready:
            return None
        items = [heapq.heappop(self._ready)[2] for _ in range(min(self.limit, len(self._ready)))]
        return Batch(items, now, own_call=False)

    def _call_ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._gate.call_ended()
        self._start_calls()

    async def _call(self, batch: Batch) -> None:
        """Makes one call and handles its result. Equal digests are sent once: a grant may cover each digest only once."""
        digests = list(dict.fromkeys(item.digest for item in batch.items))
        started = self._loop.time()
        problem: UpstreamError
        values: dict[bytes, bytes | None] = {}
        try:
            key = call_key(batch.items[0].order.request_key, digests)
            values = dict(zip(digests, await self._sign_call(digests, key), strict=True))
            problem = SignatureMissing()
        except UpstreamError as error:
            problem = error
        except Exception:  # an error in our own code must not leave an operation waiting for ever
            log.exception("sign call failed unexpectedly")
            problem = UpstreamPermanent("the sign call failed unexpectedly: see the log of the service")
        if values:
            self._answered += 1
            share = max(0.2, 1 / self._answered)  # the first answers weigh more than the initial guess
            self._call_seconds += share * (self._loop.time() - started - self._call_seconds)
        # These are no tries: the upstream never looked at the digests.
        if problem.asked and not isinstance(problem, UpstreamUnavailable | CallTooLarge):
            for item in batch.items:
                item.tries += 1
                item.order.budget[item.position] -= 1
        batch.items = [item for item in batch.items if not item.order.withdrawn]
        if values:
            self._settle_answer(batch, values, problem)
        elif isinstance(problem, TurnOver):
            # It is made again as it was, once the gate is open.
            if batch.items:
                self._retries.append(Batch(batch.items, self._loop.time(), batch.own_call, batch.bisection))
        else:
            log.warning("a sign call failed", digests=len(digests), cause=problem.cause)
            self._settle_failure(batch, problem)

    def _settle_answer(self, batch: Batch, values: dict[bytes, bytes | None], problem: UpstreamError) -> None:
        """Delivers the verified signatures. The other digests are tried again, in a call with any other items."""
        if batch.bisection:
            batch.bisection.succeeded = True
        deliver([(item, value) for item in batch.items if (value := values[item.digest]) is not None])
        left = [item for item in batch.items if values[item.digest] is None]
        self._retry(left, problem, own_call=False, bisection=None)

    def _settle_failure(self, batch: Batch, problem: UpstreamError) -> None:
        """Decides by the error whether the items are sent again, and how; else delivers the error."""
        size = len(batch.items)
        if isinstance(problem, UpstreamRateLimited):
            repeating = self._pace.repeating
            pause = min(pause_seconds(1, problem, repeating), repeating.longest_seconds)
            self._held_until = self._loop.time() + pause
        if isinstance(problem, CallTooLarge) and size > 1:
            self.limit = min(self.limit, (size + 1) // 2)
            self._make_ready(batch.items)
        elif isinstance(problem, CallRejected):
            self._bisect(batch, problem)
        elif problem.try_again and not isinstance(problem, UpstreamUnavailable):
            self._retry(batch.items, problem, own_call=True, bisection=batch.bisection)
        else:
            deliver([(item, problem) for item in batch.items])

    def _retry(self, items: list[Item], problem: UpstreamError, *, own_call: bool, bisection: Bisection | None) -> None:
        """Tries the items again after a pause. Delivers the error if an item has no tries left, or if the pause is too long."""
        repeating = self._pace.repeating
        longest = repeating.longest_seconds
        pause = pause_seconds(max((item.tries for item in items), default=1), problem, repeating)
        again = [item for item in items if item.tries_left > 0 and pause <= longest]
        if again:
            self._retries.append(Batch(again, self._loop.time() + pause, own_call, bisection))
        deliver([(item, problem) for item in items if not (item.tries_left > 0 and pause <= longest)])

    def _bisect(self, batch: Batch, problem: CallRejected) -> None:
        """Splits a refused call into so many parts that each digest stands alone before its tries are used up."""
        bisection, now = batch.bisection or Bisection(), self._loop.time()
        bisection.refused_calls += 1
        left = min(item.order.budget[item.position] for item in batch.items)
        if len(batch.items) == 1:
            deliver([(batch.items[0], ItemRejected(problem.cause))])
        elif left < 1 or (bisection.refused_calls > MAX_REFUSED_CALLS and not bisection.succeeded):
            deliver([(item, problem) for item in batch.items])
        else:
            parts = min(len(batch.items), max(2, round(len(batch.items) ** (1 / left) + 0.49)))
            for number in range(parts):
                self._retries.append(Batch(batch.items[number::parts], now, True, bisection))


def deliver(results: Iterable[tuple[Item, bytes | UpstreamError]]) -> None:
    """Gives each order its results, as one part."""
    parts: dict[Order, SignedPart] = {}
    for item, value in results:
        parts.setdefault(item.order, []).append((item.position, value))
    for order, part in parts.items():
        order.parts.put_nowait(part)


def pause_seconds(tries: int, problem: UpstreamError, repeating: Backoff) -> float:
    """The pause before the next try. It grows with the tries, has jitter, and is never shorter than the upstream asks for."""
    if isinstance(problem, UpstreamAuthExpired) and tries == 1:
        return 0.0  # all that is needed is a fresh token, which is fetched anyway
    return max(random.uniform(0.5, 1.0) * repeating.pause_seconds(tries), problem.retry_after_seconds or 0.0)
