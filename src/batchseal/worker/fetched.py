"""Which results were fetched whole: noted a moment later, together, so that small ones cost the database one commit."""

import asyncio

import structlog

from batchseal.errors import DatabaseUnavailable
from batchseal.store.store import Store

GATHER_SECONDS = 0.1

log = structlog.get_logger("service")


class FetchedNotes:
    """Of one worker. A note that is missed only keeps a payload longer."""

    def __init__(self, store: Store, *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._gather_seconds = gather_seconds
        self._store = store
        self._waiting: dict[str, set[int]] = {}  # operation ids by client service
        self._writing: asyncio.Task[None] | None = None

    def note(self, client_service: str, operation_id: int) -> None:
        self._waiting.setdefault(client_service, set()).add(operation_id)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        """Writes what waits."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._gather_seconds)
            await self._write()

    async def _write(self) -> None:
        while self._waiting:
            client_service, operations = self._waiting.popitem()
            try:
                await self._store.mark_fetched(client_service, operations)
            except DatabaseUnavailable as problem:
                log.info("fetched results were not noted", operations=len(operations), cause=problem.cause)
