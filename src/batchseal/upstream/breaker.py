"""A circuit breaker: after FAILURES failures in a row, no call is made until the signing service answers a probe.

        closed ── FAILURES in a row ──► open ── a probe is answered ──► closed
                                        │  ▲
                                        └──┘ a probe fails: the next pause is twice as long

Promises that documents lose no tries while the service is down: a call that the breaker holds back is not made, and a probe signs
nothing. Leaves it to `lane` to count the tries and to repeat calls.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from batchseal.errors import CallHeldBack, OutcomeUnknown, UpstreamError, UpstreamTransient, UpstreamUnavailable
from batchseal.upstream.pace import DEFAULT_PACE, UpstreamPace

log = structlog.get_logger("upstream")

FAILURES = 3


class Breaker:
    """The breaker of one signing service. `probe` is a call that signs nothing; it raises UpstreamError if it fails."""

    def __init__(self, probe: Callable[[], Awaitable[object]], pace: UpstreamPace = DEFAULT_PACE) -> None:
        self._probe = probe
        self._pace = pace
        self._failures = 0
        self._probes = 0  # made since a call last succeeded
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self.times_opened = 0

    @property
    def is_open(self) -> bool:
        return not self._closed.is_set()

    @property
    def pause_seconds(self) -> float:
        """The pause before the next probe, without its jitter."""
        return self._pace.probing.pause_seconds(self._probes + 1)

    async def enter(self) -> None:
        """Must be awaited before each call. Raises UpstreamUnavailable if the breaker is still open after `hold_seconds`."""
        if self.is_open:
            try:
                async with asyncio.timeout(self._pace.hold_seconds):
                    await self._closed.wait()
            except TimeoutError:
                raise UpstreamUnavailable(
                    "the signing service is down", retry_after_seconds=self.pause_seconds
                ) from None

    def record(self, problem: UpstreamError | None) -> None:
        """Notes how a call ended; `problem` is None for a success.

        Only UpstreamTransient and OutcomeUnknown are failures here. Any other error shows that the service answers.
        """
        if isinstance(problem, CallHeldBack | UpstreamUnavailable):  # no call was made
            return
        if not isinstance(problem, UpstreamTransient | OutcomeUnknown):
            self._failures = 0
            if problem is None and not self.is_open:
                self._probes = 0
            return
        self._failures += 1
        if self._failures >= FAILURES and not self.is_open:
            log.warning("the signing service is down; it is probed until it answers", cause=problem.cause)
            self.times_opened += 1
            self._closed.clear()
            self._probing = asyncio.create_task(self._wait_for_answer())

    async def close(self) -> None:
        """Stops probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _wait_for_answer(self) -> None:
        while True:
            await asyncio.sleep(self.pause_seconds * random.uniform(0.8, 1.2))
            # Only a call that succeeds sets this to 0. So the pauses go on growing if probes succeed while calls fail.
            self._probes += 1
            try:
                await self._probe()
            except (UpstreamTransient, OutcomeUnknown):
                continue
            except UpstreamError:
                pass  # this is an answer as well
            self._failures = 0
            self._closed.set()
            log.info("the signing service answers again")
            return
