"""The sign calls of one account with one credential: filled from all operations, limited in number, tried again.

    submitted ──► ready ──► in a call ──► verified ──► delivered
                    ▲           │ failed, and tries are left
                    └── pause ◄─┘

A call takes items by rank, up to what the upstream allows, whichever operation they belong to: fifty operations of one
document cost few calls. A rank is the time of arrival plus a little for each document of the order: a small order passes a
large one, and is not passed by all that come after. A call that failed as a whole goes out again as it was, under the same
key; a call that was refused is cut into parts until the digest that earned it stands alone.
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
    UpstreamAuthExpired,
    UpstreamError,
    UpstreamPermanent,
    UpstreamRateLimited,
    UpstreamUnavailable,
)
from batchseal.system.backoff import Backoff
from batchseal.upstream.grants import call_key
from batchseal.upstream.interface import SignedPart

log = structlog.get_logger("upstream")

MAX_CALLS = 4  # at once, and one more for a small order
SMALL_ORDER = 32  # digests
RANK_SECONDS_PER_DIGEST = 0.002
TRIES_AT_ONCE = 3  # of an item in one order; the rest of its budget is for a later one
REPEATING = Backoff(0.25, 20.0, growth=3.0)
# While a call is under way, a batch that is not full waits for more items. It stops waiting when none has come for a
# twenty-fourth of what a call takes, or after a quarter of that time for each call under way. While no call is under way,
# nothing waits.
MAX_QUIET_SECONDS, QUIET_SHARE = 0.04, 1 / 24
MAX_GATHER_SECONDS, GATHER_SHARE = 0.15, 1 / 4
MAX_HUNT_CALLS = 32  # in vain for the one bad digest, before all of them are taken for bad

# Signs digests in one authorize and one sign call: for each its verified signature, or None where there is none.
SignCall = Callable[[Sequence[bytes], str], Awaitable[Sequence[bytes | None]]]


@dataclass(eq=False, slots=True)
class Order:
    """One `sign`: where its results go. `budget` is how many calls each digest may still be in; it is counted down."""

    request_key: str
    budget: list[int]
    parts: asyncio.Queue[SignedPart] = field(default_factory=asyncio.Queue)
    withdrawn: bool = False


@dataclass(eq=False, slots=True)
class Item:
    """A digest on its way."""

    order: Order
    position: int
    digest: bytes
    rank: float
    tries: int = 0

    @property
    def tries_left(self) -> int:
        return min(self.order.budget[self.position], TRIES_AT_ONCE - self.tries)


@dataclass(eq=False, slots=True)
class Hunt:
    """The search for a digest that a call was refused for."""

    calls: int = 0
    good: bool = False  # one of its calls was answered


@dataclass(eq=False, slots=True)
class Batch:
    """Items that wait for another try. `together`: as one call, with no others. `due` is loop time."""

    items: list[Item]
    due: float
    together: bool
    hunt: Hunt | None = None


class Lane:
    """`limit` is the most digests in a call; `sign_call` does the work of one."""

    def __init__(self, sign_call: SignCall, limit: int) -> None:
        self._sign_call = sign_call
        self.limit = limit
        self._loop = asyncio.get_running_loop()
        self._ready: list[tuple[float, int, Item]] = []  # a heap
        self._ready_since = self._arrived_at = 0.0
        self._again: list[Batch] = []
        self._numbers = count()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._held_until = 0.0  # the upstream asked for a pause
        self._call_seconds, self._answered = 0.2, 0  # moving mean over the calls that were answered

    @property
    def idle(self) -> bool:
        return not self._ready and not self._again and not self._calls

    @property
    def waiting(self) -> int:
        return len(self._ready) + sum(len(batch.items) for batch in self._again)

    def submit(self, order: Order, digests: Sequence[bytes]) -> None:
        rank = self._loop.time() + RANK_SECONDS_PER_DIGEST * len(digests)
        self._make_ready(Item(order, position, digest, rank) for position, digest in enumerate(digests))
        # On the next turn of the loop, so that orders of the same moment share a call.
        self._wake_in(0.0)

    def withdraw(self, order: Order) -> None:
        """Drops what was not sent yet; what is in a call ends there."""
        order.withdrawn = True
        self._ready = [entry for entry in self._ready if entry[2].order is not order]
        heapq.heapify(self._ready)
        for batch in self._again:
            batch.items = [item for item in batch.items if item.order is not order]
        self._again = [batch for batch in self._again if batch.items]

    async def close(self) -> None:
        self._ready.clear()
        self._again.clear()
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
        self._timer = self._loop.call_later(seconds, self._pump)

    def _pump(self) -> None:
        self._timer = None
        while (wake_at := self._next_start()) is not None:
            now = self._loop.time()
            if wake_at > now:
                self._wake_in(wake_at - now)
                return
            batch = self._take(now)
            if batch is None:
                return
            call = self._loop.create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._ended)

    def _next_start(self) -> float | None:
        """When the next call may start (loop time); None while there is nothing to send, or no call free."""
        starts = [batch.due for batch in self._again]
        if self._ready:
            start = self._ready_since
            if self._calls and len(self._ready) < self.limit:
                start += len(self._calls) * min(MAX_GATHER_SECONDS, self._call_seconds * GATHER_SHARE)
                start = min(start, self._arrived_at + min(MAX_QUIET_SECONDS, self._call_seconds * QUIET_SHARE))
            starts.append(start)
        small = bool(self._ready) and len(self._ready[0][2].order.budget) <= SMALL_ORDER
        free = len(self._calls) < MAX_CALLS or (small and len(self._calls) == MAX_CALLS)
        return max(self._held_until, min(starts)) if starts and free else None

    def _take(self, now: float) -> Batch | None:
        """The next call's batch. With all usual calls under way only a small order is served."""
        for batch in [batch for batch in self._again if batch.due <= now]:
            if not batch.together:
                self._again.remove(batch)
                self._make_ready(batch.items)
            elif len(self._calls) < MAX_CALLS:
                self._again.remove(batch)
                return batch
        if not self._ready:
            return None
        items = [heapq.heappop(self._ready)[2] for _ in range(min(self.limit, len(self._ready)))]
        return Batch(items, now, together=False)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._pump()

    async def _call(self, batch: Batch) -> None:
        """One call and what becomes of its items. Equal digests are sent once: a grant may be good for each only once."""
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
        except Exception as error:  # a defect of ours must not leave an operation waiting for ever
            log.exception("sign call failed unexpectedly")
            problem = UpstreamPermanent(f"the sign call failed unexpectedly ({type(error).__name__})")
        if values:
            self._answered += 1
            share = max(0.2, 1 / self._answered)  # the first ones say more than the guess before them
            self._call_seconds += share * (self._loop.time() - started - self._call_seconds)
        if problem.asked and not isinstance(problem, UpstreamUnavailable | CallTooLarge):  # those were never looked at
            for item in batch.items:
                item.tries += 1
                item.order.budget[item.position] -= 1
        batch.items = [item for item in batch.items if not item.order.withdrawn]
        if values:
            self._settle_answer(batch, values, problem)
        else:
            log.warning("a sign call failed", digests=len(digests), cause=problem.cause)
            self._settle_failure(batch, problem)

    def _settle_answer(self, batch: Batch, values: dict[bytes, bytes | None], problem: UpstreamError) -> None:
        """What verified is delivered, the rest comes again with others."""
        if batch.hunt:
            batch.hunt.good = True
        deliver([(item, value) for item in batch.items if (value := values[item.digest]) is not None])
        left = [item for item in batch.items if values[item.digest] is None]
        self._repeat(left, problem, together=False, hunt=None)

    def _settle_failure(self, batch: Batch, problem: UpstreamError) -> None:
        size = len(batch.items)
        if isinstance(problem, UpstreamRateLimited):
            self._held_until = self._loop.time() + min(pause_seconds(1, problem), REPEATING.longest_seconds)
        if isinstance(problem, CallTooLarge) and size > 1:
            self.limit = min(self.limit, (size + 1) // 2)
            self._make_ready(batch.items)
        elif isinstance(problem, CallRejected):
            self._hunt(batch, problem)
        elif problem.try_again and not isinstance(problem, UpstreamUnavailable):
            self._repeat(batch.items, problem, together=True, hunt=batch.hunt)
        else:
            deliver([(item, problem) for item in batch.items])

    def _repeat(self, items: list[Item], problem: UpstreamError, *, together: bool, hunt: Hunt | None) -> None:
        """Once more after a pause, where tries are left and the pause is not too long to be waited for here."""
        pause = pause_seconds(max((item.tries for item in items), default=1), problem)
        again = [item for item in items if item.tries_left > 0 and pause <= REPEATING.longest_seconds]
        if again:
            self._again.append(Batch(again, self._loop.time() + pause, together, hunt))
        deliver([(item, problem) for item in items if not (item.tries_left > 0 and pause <= REPEATING.longest_seconds)])

    def _hunt(self, batch: Batch, problem: CallRejected) -> None:
        """Parts of a refused call, so many that each digest stands alone before its tries are used up."""
        hunt, now = batch.hunt or Hunt(), self._loop.time()
        hunt.calls += 1
        left = min(item.order.budget[item.position] for item in batch.items)
        if len(batch.items) == 1:
            deliver([(batch.items[0], ItemRejected(problem.cause))])
        elif left < 1 or (hunt.calls > MAX_HUNT_CALLS and not hunt.good):
            deliver([(item, problem) for item in batch.items])
        else:
            parts = min(len(batch.items), max(2, round(len(batch.items) ** (1 / left) + 0.49)))
            for number in range(parts):
                self._again.append(Batch(batch.items[number::parts], now, True, hunt))


def deliver(results: Iterable[tuple[Item, bytes | UpstreamError]]) -> None:
    parts: dict[Order, SignedPart] = {}
    for item, value in results:
        parts.setdefault(item.order, []).append((item.position, value))
    for order, part in parts.items():
        order.parts.put_nowait(part)


def pause_seconds(tries: int, problem: UpstreamError) -> float:
    """Before the next try: growing, with jitter, never shorter than the upstream asks for."""
    if isinstance(problem, UpstreamAuthExpired) and tries == 1:
        return 0.0  # a fresh token is all it takes
    return max(random.uniform(0.5, 1.0) * REPEATING.pause_seconds(tries), problem.retry_after_seconds or 0.0)
