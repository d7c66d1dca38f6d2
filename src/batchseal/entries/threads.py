"""The threads of one folder: everything that touches its mounts runs in them, so that a mount that hangs holds up nobody else."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from batchseal.system.futures import in_pool

# One looks, and the others read, write and wait for the disk.
THREADS = 6

T = TypeVar("T")


class Threads:
    """They begin when they are needed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "folder")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of blocking work. Where this is cancelled, the work is waited for, since what it uses is closed after it."""
        working = in_pool(self._pool, work)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait((working,))
            raise

    def close(self) -> None:
        """Ends the threads that have nothing to do."""
        self._pool.shutdown(wait=False, cancel_futures=True)
