"""`FinishedLook` asks which operations are finished: one statement for all who ask while the one before it is under way."""

import asyncio
from collections.abc import Collection

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.system.futures import retrieve_failure


class FinishedLook:
    """The questions of one process. Whoever asks alone waits for nobody."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._under_way: asyncio.Task[set[int]] | None = None
        self._next: tuple[set[int], asyncio.Task[set[int]]] | None = None

    async def is_finished(self, operation_id: int) -> bool:
        """Whether this operation is finished. Raises DatabaseUnavailable."""
        if self._next is None:
            asked = {operation_id}
            answer = asyncio.create_task(self._ask(asked, self._under_way))
            answer.add_done_callback(retrieve_failure)  # perhaps all who asked have gone
            self._next = asked, answer
        asked, answer = self._next
        asked.add(operation_id)
        # One who goes away does not take the answer from the others.
        return operation_id in await asyncio.shield(answer)

    async def _ask(self, asked: Collection[int], before: asyncio.Task[set[int]] | None) -> set[int]:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._under_way, self._next = asyncio.current_task(), None
        async with self._database.connection() as connection:
            return {record["id"] for record in await connection.fetch(QUERIES["finished_among"], list(asked))}
