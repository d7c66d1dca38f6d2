"""The payloads that rows name, as a sweep asks for them: of one moment, and some at a time. There may be millions."""

from collections.abc import AsyncGenerator
from typing import Any

from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import PayloadColumns, payload_columns

LIVE_AT_ONCE = 5_000

LivePayloads = AsyncGenerator[list[PayloadColumns], None]


async def live_payloads(database: Database, query: str, *values: Any) -> LivePayloads:
    """What one of these queries finds. A transaction is held until the last part, so nobody should wait in between.

    Raises DatabaseUnavailable.
    """
    async with database.transaction() as connection:
        cursor = await connection.cursor(QUERIES[query], *values)
        while records := await cursor.fetch(LIVE_AT_ONCE):
            yield [payload_columns(record) for record in records]
