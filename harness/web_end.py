"""Ends a web server of aiohttp that runs in the event loop of a test, such that no socket of it outlives it."""

import asyncio
from contextlib import suppress

from aiohttp import web

# asyncio takes so many turns of its loop from accepting a connection to telling the server of it.
TURNS_TO_ACCEPT = 3


async def stop_accepting(server: asyncio.Server) -> None:
    """asyncio leaves a connection open that was accepted before its server is closed and is made known to it afterwards. So
    nothing more is accepted, and what was accepted becomes known, before the server is closed.
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(TURNS_TO_ACCEPT):
        await asyncio.sleep(0)


async def stop_listening(site: web.BaseSite) -> None:
    await stop_accepting(getattr(site, "_server"))  # noqa: B009 - aiohttp shows it nowhere
    await site.stop()


async def end(runner: web.AppRunner) -> None:
    """Stops listening, ends what runs, and closes every connection, also one that was accepted only just now."""
    for site in list(runner.sites):
        await stop_listening(site)
    connections = runner.server.connections if runner.server else []
    transports = [connection.transport for connection in connections]
    await runner.cleanup()
    # Closing TLS waits for the peer's answer, and the event loop may end before it comes: the socket would stay open.
    for transport in filter(None, transports):
        with suppress(AttributeError):  # in Python 3.11, one that is closed already has nothing left to abort
            transport.abort()
    await asyncio.sleep(0)
