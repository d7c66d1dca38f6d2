"""Keeps a duty that does not come to its end from keeping the others.

A call to a volume that hangs does not return, and nothing ends its thread. Whoever waited for it would wait for as long.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import structlog

from batchseal.errors import PayloadUnavailable
from batchseal.system.futures import retrieve_failure

T = TypeVar("T")

PATIENCE_SECONDS = 60.0

log = structlog.get_logger("duties")


class Patience:
    """Waits so many seconds for a duty. One that takes longer goes on alone, and is not begun again before it has ended."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self._seconds = seconds
        self._late: dict[str, asyncio.Task[Any]] = {}

    @property
    def is_out(self) -> bool:
        """Whether a duty takes longer than was waited for it."""
        return bool(self._late)

    async def wait_for(self, name: str, duty: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the duty returns. Raises PayloadUnavailable where it is not at its end, or the last one of this name is not."""
        if name in self._late:
            raise PayloadUnavailable("it has not come to its end since it was begun the last time")
        task = asyncio.create_task(duty())
        try:
            await asyncio.wait([task], timeout=self._seconds)
        except asyncio.CancelledError:
            await end(task)
            raise
        if not task.done():
            self._late[name] = task
            task.add_done_callback(partial(self._ended, name))
            raise PayloadUnavailable(f"it has not come to its end within {self._seconds:g} s, and is left alone")
        return task.result()

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        del self._late[name]
        retrieve_failure(task)
        log.info("a duty that took long has ended", duty=name)

    async def close(self) -> None:
        """Waits no longer for what is late."""
        for task in list(self._late.values()):
            await end(task)


async def end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
