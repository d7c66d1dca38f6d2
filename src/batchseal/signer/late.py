"""`Late`: operations that were put off while a thread of theirs still waits for the payload store.

A call to a volume that hangs does not return, and nothing ends its thread. The operation is put off without it, so that another
instance which can read the payload takes it over. This process does not begin it again before the thread has ended. The thread
calls no signing service and writes no row, so never are two at work on one operation.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

import structlog

from batchseal.system.futures import end_tasks, retrieve_failure

# How long the payload store may take for one call on an operation, and how many bytes a second it gives at least beyond that.
PATIENCE_SECONDS = 60.0
LEAST_RATE = 1 << 20

log = structlog.get_logger("signer")


def patience_seconds(content_bytes: int, tries: int, base_seconds: float = PATIENCE_SECONDS) -> float:
    """How long to wait for one call. It grows with each try: a store that is only slow comes to the end of one."""
    return (base_seconds + content_bytes / LEAST_RATE) * (tries + 1)


class Late:
    """One for each signer. `when_ended` is called when an operation may be begun again."""

    def __init__(self, when_ended: Callable[[], None] = lambda: None) -> None:
        self.when_ended = when_ended
        self._ending: dict[int, asyncio.Task[None]] = {}

    @property
    def operations(self) -> Collection[int]:
        """The ids of these operations."""
        return self._ending.keys()

    def keep(self, operation_id: int, ending: Coroutine[Any, Any, None]) -> None:
        """`ending` waits for the thread and closes what it used."""
        log.warning("the payload store does not answer, and the operation is put off", operation=operation_id)
        task = self._ending[operation_id] = asyncio.create_task(ending)
        task.add_done_callback(partial(self._ended, operation_id))

    def _ended(self, operation_id: int, task: asyncio.Task[None]) -> None:
        del self._ending[operation_id]
        retrieve_failure(task)
        log.info("the payload store has answered at last", operation=operation_id)
        self.when_ended()

    async def close(self) -> None:
        """Waits no longer for what is late."""
        await end_tasks(self._ending.values(), 0)
