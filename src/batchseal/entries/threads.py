"""The threads of one folder: everything that touches its mounts runs in them, so that a mount that hangs holds up nobody else."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from batchseal.system.futures import in_pool

# One looks, and the others read, write and wait for the disk.
THREADS = 6

T = TypeVar("T")


class Threads:
    """They begin when they are needed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "folder")
        self._under_way: dict[asyncio.Future[Any], float] = {}  # since when (monotonic)

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest work has been under way, or has waited for the others; 0 without any."""
        return time.monotonic() - min(self._under_way.values(), default=time.monotonic())

    async def run(self, work: Callable[[], T]) -> T:
        """The result of blocking work. Where this is cancelled, the work is waited for, since what it uses is closed after it."""
        working = in_pool(self._pool, work)
        self._under_way[working] = time.monotonic()
        working.add_done_callback(self._under_way.pop)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait((working,))
            raise

    def close(self) -> None:
        """Ends the threads that have nothing to do."""
        self._pool.shutdown(wait=False, cancel_futures=True)
