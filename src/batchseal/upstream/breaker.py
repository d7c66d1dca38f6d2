"""Spares an upstream that is down, and the documents' tries: after a few failures in a row no call is made until it answers.

        closed ── FAILURES in a row ──► open ── a probe is answered ──► closed
                                        │  ▲
                                        └──┘ a probe fails: twice the pause

A probe signs nothing, so that no document pays for finding out.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from batchseal.errors import OutcomeUnknown, UpstreamError, UpstreamTransient, UpstreamUnavailable
from batchseal.system.backoff import Backoff

log = structlog.get_logger("upstream")

FAILURES = 3
PROBING = Backoff(0.5, 30.0)
HOLD_SECONDS = 5.0  # how long a call waits for a closed breaker


class Breaker:
    """One for each upstream; `probe` raises UpstreamError where it does not answer."""

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self._probe = probe
        self._failures = 0
        self._probes = 0  # since a call last succeeded
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self.opened = 0  # times

    @property
    def is_open(self) -> bool:
        return not self._closed.is_set()

    @property
    def pause_seconds(self) -> float:
        """Before the next probe."""
        return PROBING.pause_seconds(self._probes + 1)

    async def enter(self) -> None:
        """Before a call. Raises UpstreamUnavailable where the breaker stays open."""
        if self.is_open:
            try:
                async with asyncio.timeout(HOLD_SECONDS):
                    await self._closed.wait()
            except TimeoutError:
                raise UpstreamUnavailable(
                    "the signing service is down", retry_after_seconds=self.pause_seconds
                ) from None

    def record(self, problem: UpstreamError | None) -> None:
        """What a call came to. Whatever the upstream said in answer, it is there."""
        if isinstance(problem, UpstreamUnavailable):
            return
        if not isinstance(problem, UpstreamTransient | OutcomeUnknown):
            self._failures = 0
            if problem is None and not self.is_open:
                self._probes = 0
            return
        self._failures += 1
        if self._failures >= FAILURES and not self.is_open:
            log.warning("the signing service is down, it is probed until it answers", cause=problem.cause)
            self.opened += 1
            self._closed.clear()
            self._probing = asyncio.create_task(self._wait_for_answer())

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _wait_for_answer(self) -> None:
        while True:
            await asyncio.sleep(self.pause_seconds * random.uniform(0.8, 1.2))
            # Kept until a call succeeds: an upstream that answers probes and fails calls is asked ever less often.
            self._probes += 1
            try:
                await self._probe()
            except (UpstreamTransient, OutcomeUnknown):
                continue
            except UpstreamError:
                pass
            self._failures = 0
            self._closed.set()
            log.info("the signing service answers again")
            return
