"""A server of asyncio's streams that runs in the event loop of a test, such that no connection of it outlives it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from harness.waiting import turns
from harness.web_end import stop_accepting

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@asynccontextmanager
async def stream_server(serve: Serve, *, path: str = "", **options: Any) -> AsyncIterator[asyncio.Server]:
    """Listens at a free port of loopback, or at a socket of this path. `options` are those of `asyncio.start_server`.

    At the end whoever still serves is cancelled. What is left open would warn when it is collected, in any later test.
    """
    serving = dict[asyncio.Task[object], asyncio.StreamWriter]()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        await serve(reader, writer)

    if path:
        server = await asyncio.start_unix_server(served, path, **options)
    else:
        server = await asyncio.start_server(served, "127.0.0.1", 0, **options)
    try:
        yield server
    finally:
        await stop_accepting(server)
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for writer in serving.values():
            with suppress(AttributeError):  # in Python 3.11, TLS that is closed already has nothing left to abort
                writer.transport.abort()
        await turns()
