"""Runs the copying of a backup or a restore in a thread that an interrupted command can end."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Called by the thread between two blocks. Raises InterruptedError once the command was interrupted.
GoOn = Callable[[], None]


async def in_thread(work: Callable[[GoOn], T]) -> T:
    """Runs `work` in a thread. After a cancellation (Ctrl-C) this raises once the thread has ended, at its next block.

    Python waits for its threads before it ends. One that nobody tells would copy all the rest first.
    """
    stopped = threading.Event()

    def go_on() -> None:
        if stopped.is_set():
            raise InterruptedError("the command was interrupted")

    working = asyncio.ensure_future(asyncio.to_thread(work, go_on))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([working])
        raise
