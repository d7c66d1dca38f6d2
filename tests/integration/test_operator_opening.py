"""What the operator's page opens, and what is left of it where the opening fails."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import asyncpg
import pytest
from harness.waiting import eventually

from batchseal.errors import ConfigurationError
from batchseal.operator.interface import Memory, Worker
from batchseal.operator.opening import open_pages
from batchseal.settings.load import Settings


class NoWork:
    """A worker that has memory for the page, and nothing else."""

    def standing_memory(self) -> Memory:
        return self

    def hold(self, memory_bytes: int) -> bool:
        return True


WORKER = cast(Worker, NoWork())
# Without the server's own processes, such as those of autovacuum, which come and go, and are nobody's.
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"
)


async def test_an_opening_that_fails_leaves_no_connection(
    database_url: str, sees_all_rows: asyncpg.Connection, tmp_path: Path
) -> None:
    before = await sees_all_rows.fetchval(SESSIONS)
    settings = Settings(database_url=database_url, temp_folder=tmp_path, operator_user_header="X-User")
    for wrong in ("admins", "admins=king"):
        with pytest.raises(ConfigurationError, match="--operator-roles"):
            await open_pages(replace(settings, operator_roles=wrong), WORKER)

    async def are_closed() -> bool:
        return bool(await sees_all_rows.fetchval(SESSIONS) == before)

    await eventually(are_closed)
    _, close = await open_pages(replace(settings, operator_roles="admins=admin"), WORKER)
    assert await sees_all_rows.fetchval(SESSIONS) > before
    await close()
    await eventually(are_closed)
