"""Migrations: numbered files that only add, applied in order under an advisory lock, all or none of them."""

import re
from datetime import date
from importlib import resources

from batchseal.errors import ConfigurationError
from batchseal.store.database import SCHEMA, Connection, Database
from batchseal.store.queries import QUERIES

# Any fixed number will do; these are ours.
MIGRATION_LOCK = 0x6261_7463_6873_6501

OLDEST_SERVER = (13,)


def migration_files() -> list[tuple[int, str, str]]:
    """Number, name and SQL of each migration, in order."""
    files = []
    for file in resources.files("batchseal.store").joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            files.append((int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(files)


async def migrate(database: Database, *, recreate: bool = False, role: str | None = None) -> None:
    """Brings the schema up to date, and lets `role` (quoted) use it. Raises ConfigurationError for a
    database that a newer version has changed.
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
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = {record["number"] for record in await connection.fetch("SELECT number FROM migrations")}
        known = migration_files()
        if unknown := applied - {number for number, _, _ in known}:
            raise ConfigurationError(f"the database has migration {max(unknown)}, which this version does not know")
        for number, name, sql in known:
            if number not in applied:
                await connection.execute(sql)
                await connection.execute("INSERT INTO migrations (number, name) VALUES ($1, $2)", number, name)
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
