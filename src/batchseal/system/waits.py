"""Limits how long each part of a start may take, and reports on standard error what a long start waits for."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
# A wait that takes longer than this is reported.
SAID_AFTER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a part of a start may take. After `seconds` it is ended and begun again, up to `attempts` times in all."""

    seconds: float
    attempts: int = 3

    @property
    def total_seconds(self) -> float:
        """How long all attempts may take together."""
        return self.seconds * self.attempts


_PRESENT: ContextVar[tuple[asyncio.Timeout, float]] = ContextVar("present attempt")  # its limit, and its time


def say(text: str) -> None:
    """Writes a line for the operator: to standard error, or to where `say_by` has said."""
    _SPEAKERS[-1](text)


def say_by(speaker: Callable[[str], None]) -> None:
    """From now on, `speaker` gets what is said."""
    _SPEAKERS.append(speaker)


def _to_stderr(text: str) -> None:
    with suppress(OSError):  # a full disk, or a reader that has gone
        print(f"batchseal: {text}", file=sys.stderr, flush=True)


_SPEAKERS: list[Callable[[str], None]] = [_to_stderr]


async def in_attempts(
    what: str, attempt: Callable[[], Awaitable[T]], patience: Patience, failure: Callable[[str], Exception]
) -> T:
    """The result of the first `attempt` that is done in time.

    An attempt that takes too long is cancelled, and must then end what it has started. Raises the error that `failure` makes of a
    sentence, after the last attempt has taken too long.
    """
    for number in range(1, patience.attempts + 1):
        try:
            async with said_when_long(what), asyncio.timeout(patience.seconds) as limit:
                _PRESENT.set((limit, patience.seconds))
                return await attempt()
        except TimeoutError:
            if not limit.expired():
                raise
        say(f"{what}: not ready within {patience.seconds:g} s, given up in attempt {number} of {patience.attempts}")
    raise failure(f"{what}: not ready within {patience.seconds:g} s in any of {patience.attempts} attempts")


def still_at_work() -> None:
    """Begins the time of the present attempt anew. For an attempt that knows that it does not hang (`in_attempts`)."""
    limit, seconds = _PRESENT.get()
    limit.reschedule(asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def said_when_long(
    what: str, report: Callable[[str], None] = say, after_seconds: float = SAID_AFTER_SECONDS
) -> AsyncIterator[None]:
    """Reports that the start waits for `what`, if the block takes longer than `after_seconds`.

    It reports again each time the wait has doubled, and when the wait is over. The block must not block the event loop, which
    does the reporting.
    """
    began = time.monotonic()
    telling = asyncio.create_task(_tell(what, report, after_seconds))
    try:
        yield
    finally:
        telling.cancel()
        if (took := time.monotonic() - began) > after_seconds:
            report(f"the start has waited {took:.1f} s for {what}, and goes on")


async def _tell(what: str, report: Callable[[str], None], after_seconds: float) -> None:
    seconds = after_seconds
    await asyncio.sleep(seconds)
    while True:
        report(f"the start has waited {seconds:g} s for {what}")
        await asyncio.sleep(seconds)
        seconds *= 2
