"""The sign calls of one account with one credential: filled from all operations, limited in number, tried again.

    submitted ──► pending ──► in a call ──► verified ──► delivered
                     ▲            │ failed, and tries are left
                     └── pause ◄──┘

A call takes the oldest items that are due, up to what the upstream allows, whichever operation they belong to: what is left
over from several calls travels together, and fifty operations of one document cost few calls.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from batchseal.errors import (
    ItemRejected,
    UpstreamAuthExpired,
    UpstreamError,
    UpstreamPermanent,
    UpstreamRateLimited,
)
from batchseal.upstream.interface import SignedPart

log = structlog.get_logger("upstream")

MAX_CALLS = 4  # at once
FIRST_PAUSE_SECONDS, PAUSE_GROWTH, MAX_PAUSE_SECONDS = 0.25, 3.0, 20.0
# While a call is under way, a batch that is not full waits for company: an eighth of what a call takes, at most this.
MAX_GATHER_SECONDS, GATHER_SHARE = 0.025, 0.125

# Signs digests in one authorize and one sign call: for each its verified signature, or None where there is none.
SignCall = Callable[[Sequence[bytes], str], Awaitable[Sequence[bytes | None]]]


@dataclass(eq=False, slots=True)
class Order:
    """One `sign`: where its results go."""

    request_key: str
    tries: int
    parts: asyncio.Queue[SignedPart] = field(default_factory=asyncio.Queue)


@dataclass(eq=False, slots=True)
class Item:
    """A digest on its way. `due` is loop time."""

    order: Order
    position: int
    digest: bytes
    due: float = 0.0
    tries: int = 0


class Lane:
    """`limit` is the most digests in a call; `sign_call` does the work of one."""

    def __init__(self, sign_call: SignCall, limit: int) -> None:
        self._sign_call = sign_call
        self.limit = limit
        self._loop = asyncio.get_running_loop()
        self._pending: list[Item] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._held_until = 0.0  # the upstream asked for a pause
        self._call_seconds = MAX_GATHER_SECONDS / GATHER_SHARE  # moving mean

    @property
    def idle(self) -> bool:
        return not self._pending and not self._calls

    def submit(self, order: Order, digests: Sequence[bytes]) -> None:
        now = self._loop.time()
        self._pending += [Item(order, position, digest, due=now) for position, digest in enumerate(digests)]
        # On the next turn of the loop, so that orders of the same moment share a call.
        self._wake_in(0.0)

    def withdraw(self, order: Order) -> None:
        """Drops what was not sent yet; what is in a call ends there."""
        self._pending = [item for item in self._pending if item.order is not order]

    async def close(self) -> None:
        self._pending.clear()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._pump)

    def _pump(self) -> None:
        self._timer = None
        while self._pending and len(self._calls) < MAX_CALLS:
            now = self._loop.time()
            due = [item for item in self._pending if item.due <= now]
            wake_at = self._next_start(now, due)
            if wake_at > now:
                self._wake_in(wake_at - now)
                return
            batch = due[: self.limit]
            taken = set(map(id, batch))
            self._pending = [item for item in self._pending if id(item) not in taken]
            call = self._loop.create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._ended)

    def _next_start(self, now: float, due: list[Item]) -> float:
        """When the next call may start (loop time)."""
        if not due:
            return max(self._held_until, min(item.due for item in self._pending))
        gather = 0.0
        if self._calls and len(due) < self.limit:
            gather = min(MAX_GATHER_SECONDS, self._call_seconds * GATHER_SHARE)
        return max(self._held_until, due[0].due + gather)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._pump()

    async def _call(self, batch: list[Item]) -> None:
        """One call and what becomes of its items. Equal digests are sent once: a grant may be good for each only once."""
        digests = list(dict.fromkeys(item.digest for item in batch))
        started = self._loop.time()
        problem: UpstreamError
        values: dict[bytes, bytes | None] = {}
        try:
            values = dict(zip(digests, await self._sign_call(digests, batch[0].order.request_key), strict=True))
            problem = ItemRejected("the signing service's answer holds no signature that verifies for this document")
        except UpstreamError as error:
            problem = error
        except Exception as error:  # a defect of ours must not leave an operation waiting for ever
            log.exception("sign call failed unexpectedly")
            problem = UpstreamPermanent(f"the sign call failed unexpectedly ({type(error).__name__})")
        taken = self._loop.time() - started
        self._call_seconds = 0.8 * self._call_seconds + 0.2 * taken
        self._settle(batch, values, problem)

    def _settle(self, batch: list[Item], values: dict[bytes, bytes | None], problem: UpstreamError) -> None:
        parts: dict[Order, SignedPart] = {}
        again: dict[int, float] = {}  # tries to pause: those that failed together go on together
        for item in batch:
            value = values.get(item.digest)
            item.tries += 1
            if value is not None:
                parts.setdefault(item.order, []).append((item.position, value))
                continue
            pause = again.setdefault(item.tries, pause_seconds(item.tries, problem))
            # A wrong signature among right ones was a slip of this call, not a judgement on the document.
            can_help = problem.try_again or isinstance(problem, ItemRejected)
            if can_help and item.tries < item.order.tries and pause <= MAX_PAUSE_SECONDS:
                item.due = self._loop.time() + pause
                self._pending.append(item)
            else:
                parts.setdefault(item.order, []).append((item.position, problem))
        if len(values) < len(batch) and not values:
            log.warning("a sign call failed", digests=len(batch), cause=problem.cause)
        if isinstance(problem, UpstreamRateLimited):
            self._held_until = self._loop.time() + min(pause_seconds(1, problem), MAX_PAUSE_SECONDS)
        for order, part in parts.items():
            order.parts.put_nowait(part)


def pause_seconds(tries: int, problem: UpstreamError) -> float:
    """Before the next try: growing, with jitter, never shorter than the upstream asks for."""
    if isinstance(problem, UpstreamAuthExpired) and tries == 1:
        return 0.0  # a fresh token is all it takes
    pause = min(FIRST_PAUSE_SECONDS * PAUSE_GROWTH ** (tries - 1), MAX_PAUSE_SECONDS)
    return max(random.uniform(0.5, 1.0) * pause, problem.retry_after_seconds or 0.0)
