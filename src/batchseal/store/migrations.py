"""Migrations: numbered files that only add, applied in order under an advisory lock, all or none of them.

The release before therefore still runs on a newer schema, so that an upgrade can be taken back. What nobody needs any more is
taken away one release later, by a migration that says so in a line of its own: `-- needs 0007`, the newest migration that a
program must know to work after this one. A program that does not know it is refused.
"""

import re
from datetime import date
from importlib import resources

from batchseal.errors import ConfigurationError
from batchseal.store.database import SCHEMA, Connection, Database
from batchseal.store.queries import QUERIES

# Any fixed number will do; these are ours.
MIGRATION_LOCK = 0x6261_7463_6873_6501

OLDEST_SERVER = (13,)


NEEDS = re.compile(r"^-- needs (\d{4})$", re.MULTILINE)


def migration_files() -> list[tuple[int, str, str]]:
    """Number, name and SQL of each migration, in order."""
    files = []
    for file in resources.files("batchseal.store").joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            files.append((int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(files)


def needed_by(sql: str) -> int:
    """The newest migration that a program must know once this one is applied; 0 where it only adds."""
    match = NEEDS.search(sql)
    return int(match[1]) if match else 0


async def migrate(database: Database, *, recreate: bool = False, role: str | None = None) -> None:
    """Brings the schema up to date, and lets `role` (quoted) use it. Raises ConfigurationError for a
    database from which a newer version has taken what this one needs.
    """
    async with database.transaction() as connection:
        if connection.get_server_version() < OLDEST_SERVER:
            raise ConfigurationError(f"PostgreSQL {OLDEST_SERVER[0]} is the oldest that will do")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        if recreate:
            await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", SCHEMA):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), needs integer NOT NULL DEFAULT 0)"
        )
        await connection.execute("ALTER TABLE migrations ADD COLUMN IF NOT EXISTS needs integer NOT NULL DEFAULT 0")
        applied = {record["number"]: record["needs"] for record in await connection.fetch("TABLE migrations")}
        known = migration_files()
        needed = max(applied.values(), default=0)
        if needed > known[-1][0]:
            raise ConfigurationError(
                f"a newer version has changed the database: it needs one that knows migration {needed}"
            )
        for number, name, sql in known:
            if number not in applied:
                await connection.execute(sql)
                await connection.execute(
                    "INSERT INTO migrations (number, name, needs) VALUES ($1, $2, $3)", number, name, needed_by(sql)
                )
        today = await connection.fetchval("SELECT date_trunc('month', now())::date")
        await make_partitions(connection, today)
        if role is not None:
            await connection.execute(QUERIES["grants"].replace("{role}", role))


async def make_partitions(connection: Connection, month: date) -> None:
    """Makes the partitions of this month and the next, where they are missing. Runs inside the caller's
    transaction.
    """
    for first in (month, next_month(month)):
        await connection.execute(QUERIES["make_partition"], first)


def partition_name(month: date) -> str:
    return f"documents_{month:%Y_%m}"


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
