"""How long a start waits for each of its parts, and what it says meanwhile, as lines on standard error."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
SAID_AFTER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Patience:
    """A part of a start that takes longer than `seconds` is ended and begun anew, up to `attempts` times in all."""

    seconds: float
    attempts: int = 3


def say(text: str) -> None:
    print(f"batchseal: {text}", file=sys.stderr, flush=True)


async def in_attempts(
    what: str, attempt: Callable[[], Awaitable[T]], patience: Patience, failure: Callable[[str], Exception]
) -> T:
    """The result of `attempt`, which is cancelled when its time is over and has to end what it started. Raises `failure` after
    the last attempt that took too long.
    """
    for number in range(1, patience.attempts + 1):
        try:
            async with said_when_long(what), asyncio.timeout(patience.seconds) as limit:
                return await attempt()
        except TimeoutError:
            if not limit.expired():
                raise
        say(f"{what}: not ready within {patience.seconds:g} s, given up in attempt {number} of {patience.attempts}")
    raise failure(f"{what}: not ready within {patience.seconds:g} s in any of {patience.attempts} attempts")


@asynccontextmanager
async def said_when_long(
    what: str, report: Callable[[str], None] = say, after_seconds: float = SAID_AFTER_SECONDS
) -> AsyncIterator[None]:
    """Reports that the start waits for `what` once that has taken `after_seconds`, again each time the wait has doubled, and
    when it is over. Only a wait that leaves the event loop free can be told of.
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
