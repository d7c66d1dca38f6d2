"""How tests wait: for a condition that can be seen from outside, with a time limit. Nothing else in the tests sleeps.

`tests/style` enforces this. Prefer an event or a future of the test's own double where there is one, since it costs no polling.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

# Nothing but a fault takes so long. A machine that is busy, or whose disk is, stands still for 10 s at a time.
PATIENCE_SECONDS = 120.0


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS, pause: float = 0.05) -> float:
    """Waits until `condition()` is true; returns how many seconds it took. Raises AssertionError after `seconds`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        time.sleep(pause)
    return time.monotonic() - began


async def eventually(
    condition: Callable[[], object | Awaitable[object]], seconds: float = PATIENCE_SECONDS, pause: float = 0.005
) -> float:
    """`until` for the event loop. What `condition()` returns is awaited first if it can be."""
    began = time.monotonic()
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        await asyncio.sleep(pause)


async def turns(count: int = 3) -> None:
    """Lets the event loop run `count` times, so that tasks which were started reach their first wait."""
    for _ in range(count):
        await asyncio.sleep(0)
