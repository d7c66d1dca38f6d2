"""`Notices`: hears at once that another instance has left an operation to whoever should sign it (NOTIFY in `give_back`).

It only saves time: whoever hears nothing looks at the database every few tenths of a second. So it is no matter that a notice is
lost with its connection, or that a pooler which gives each transaction another connection lets none through.
"""

import asyncio
from collections.abc import Callable

from batchseal.errors import DatabaseUnavailable
from batchseal.store.database import Database

# The channel that the query `give_back` names.
CHANNEL = "batchseal_left"
AGAIN_SECONDS = 5.0


class Notices:
    """Keeps one connection of `database` for itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, heard: Callable[[], None]) -> None:
        """Calls `heard` with each notice, until cancelled."""
        try:
            while True:
                try:
                    await self._listen(heard)
                except DatabaseUnavailable:
                    pass  # whoever works with the database says so
                await asyncio.sleep(AGAIN_SECONDS)
        finally:
            await self._database.close()

    async def _listen(self, heard: Callable[[], None]) -> None:
        """Returns when the connection has ended."""
        ended = asyncio.Event()
        async with self._database.connection() as session:
            session.add_termination_listener(lambda _: ended.set())
            await session.add_listener(CHANNEL, lambda *_: heard())
            heard()
            await ended.wait()
