"""Runs work in threads, ends tasks, and marks failures of futures as seen."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


def in_pool(pool: Executor | None, work: Callable[[], T]) -> asyncio.Future[T]:
    """Runs `work` in a thread of `pool` (None: the default one of the event loop).

    Cancelling the future does not stop the thread. Shield it if you close what the thread uses.
    """
    return asyncio.get_running_loop().run_in_executor(pool, work)


def retrieve_failure(ended: asyncio.Future[Any]) -> None:
    """A callback for futures that perhaps nobody awaits: asyncio then does not log their failure as never retrieved."""
    if not ended.cancelled():
        ended.exception()


async def end_tasks(tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
    """Lets the tasks go on for `seconds`, then cancels them. Returns when all have ended; their failures are dropped."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    left = list(tasks)  # tasks may take themselves out of the collection when they end
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
