"""Work in threads, and failures of what nobody waits for."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


def in_pool(pool: Executor | None, work: Callable[[], T]) -> asyncio.Future[T]:
    """Cancelled, it is done at once while its thread goes on: shielded where the thread uses what is closed afterwards."""
    return asyncio.get_running_loop().run_in_executor(pool, work)


def retrieve_failure(ended: asyncio.Future[Any]) -> None:
    """So that a failure that nobody waited for is not reported as lost."""
    if not ended.cancelled():
        ended.exception()
