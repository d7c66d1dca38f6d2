"""Webhook events that operators send again, where the database is slow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from batchseal.errors import DatabaseUnavailable
from batchseal.settings.load import Settings
from batchseal.store.operator import OperatorStore, Who


class SlowDatabase:
    """A database that ends each statement because it took too long."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SlowDatabase"]:
        yield self

    async def execute(self, statement: str) -> None:
        assert statement.startswith("SET LOCAL statement_timeout")

    async def fetchval(self, statement: str, *values: object) -> int:
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")


async def test_events_that_cannot_be_sent_again_in_time_are_no_fault_of_the_service() -> None:
    database: Any = SlowDatabase()
    store = OperatorStore(database, Settings())
    with pytest.raises(DatabaseUnavailable, match="nothing was sent again"):
        await store.redeliver(Who("ana", "192.0.2.7"), None, "erp")
