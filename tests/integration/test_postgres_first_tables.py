"""The tables of a new embedded database are made before it is copied to the disk."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from batchseal.errors import DatabaseUnavailable
from batchseal.postgres import EmbeddedPostgres
from batchseal.postgres.memory import MEMORY, memory_prefix
from batchseal.processes.first_schema import FirstSchema
from batchseal.store.migrations import migration_files
from batchseal.system.waits import Patience


class Fails(FirstSchema):
    async def make_tables(self, owner_dsn: str) -> None:
        raise DatabaseUnavailable("no tables")


class Noted(FirstSchema):
    """Notes where the server was on which the tables were made."""

    dsn = ""
    ended = 0

    async def make_tables(self, owner_dsn: str) -> None:
        self.dsn = owner_dsn
        await super().make_tables(owner_dsn)

    async def end(self) -> None:
        await super().end()
        self.ended += 1


class Slow(FirstSchema):
    """Moves the clock of the event loop by 400 seconds, once while the files are made and once while the tables are."""

    def pass_time(self) -> None:
        loop = asyncio.get_running_loop()
        clock = loop.time
        loop.time = lambda: clock() + 400  # type: ignore[method-assign]

    async def begin(self) -> None:
        await super().begin()
        self.pass_time()

    async def make_tables(self, owner_dsn: str) -> None:
        self.pass_time()
        await super().make_tables(owner_dsn)


async def applied(server: EmbeddedPostgres) -> list[int] | None:
    """The migrations that the database knows. None: it has no tables of ours."""
    connection = await asyncpg.connect(server.owner_dsn)
    try:
        if not await connection.fetchval("SELECT to_regclass('batchseal.migrations')"):
            return None
        return [row["number"] for row in await connection.fetch("SELECT number FROM batchseal.migrations ORDER BY 1")]
    finally:
        await connection.close()


async def test_the_tables_are_there_at_the_first_start_and_no_recovery_makes_them(service_folder: Path) -> None:
    tables, began = Noted(), datetime.now(UTC)
    server = EmbeddedPostgres(service_folder, tables=tables)
    await server.start()
    assert "%2Fdev%2Fshm" in tables.dsn
    assert tables.ended == 1
    assert await applied(server) == [number for number, _, _ in migration_files()]
    connection = await asyncpg.connect(server.dsn)  # as the service's role
    assert await connection.fetchval("SELECT count(*) FROM batchseal.operations") == 0
    # A recovery would begin here: behind all that made the tables.
    since = await connection.fetchval(
        "SELECT pg_current_wal_lsn() - '0/0' - (redo_lsn - '0/0') FROM pg_control_checkpoint()"
    )
    assert since < 100_000, since
    days = [f"batchseal.signatures_{moment:%Y_%m_%d}" for moment in (began, datetime.now(UTC))]  # over a midnight, two
    exists = [await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", day) for day in days]
    assert True in exists
    await connection.close()
    await server.stop()
    assert not list(MEMORY.glob(memory_prefix(service_folder) + "*"))


async def test_where_they_cannot_be_made_the_database_starts_without(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder, tables=Fails())
    await server.start()
    assert await applied(server) is None
    await server.stop()


async def test_each_part_of_a_new_database_has_the_whole_time_of_an_attempt(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder, patience=Patience(600, attempts=1), tables=Slow())
    await server.start()
    assert await applied(server) == [number for number, _, _ in migration_files()]
    await server.stop()


async def test_an_existing_database_is_left_as_it_is(service_folder: Path) -> None:
    first = EmbeddedPostgres(service_folder)
    await first.start()
    await first.stop()
    tables = Noted()
    second = EmbeddedPostgres(service_folder, tables=tables)
    await second.start()
    assert (tables.dsn, tables.ended) == ("", 0)
    assert await applied(second) is None
    await second.stop()


@pytest.mark.parametrize("dsn", ["postgresql://nobody@/nothing?host=/nowhere", ""])
async def test_a_process_that_fails_is_reported_and_ends(dsn: str) -> None:
    tables = FirstSchema()
    await tables.begin()
    with pytest.raises(DatabaseUnavailable, match="tables"):
        await tables.make_tables(dsn)
    await tables.end()


async def test_a_process_that_is_not_needed_any_more_ends() -> None:
    tables = FirstSchema()
    await tables.begin()
    assert tables.is_running
    await tables.end()
    assert not tables.is_running
