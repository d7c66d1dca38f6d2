"""Migrations: numbered files that only add, applied in order under an advisory lock, all or none of them."""

import re
from datetime import date
from importlib import resources

from batchseal.errors import ConfigurationError
from batchseal.store.database import SCHEMA, Connection, Database

# Any fixed number will do; these are ours.
MIGRATION_LOCK = 0x6261_7463_6873_6501
PARTITION_LOCK = 0x6261_7463_6873_6502

OLDEST_SERVER = (13,)

# Asks the catalog itself: to_regclass goes through a cache that shows what others made only in the next transaction.
EXISTS = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1 AND relnamespace = 'batchseal'::regnamespace)"

# Share of a page that inserts fill. At 55 the second version of a row would stay on its page (and spare the
# indexes): 2,500 outcomes take 13 to 20 ms rather than 20 to 33, and 1,000 documents 0.28 MB rather than 0.22.
DOCUMENTS_FILLFACTOR = 100


def migration_files() -> list[tuple[int, str, str]]:
    """Number, name and SQL of each migration, in order."""
    files = []
    for file in resources.files("batchseal.store").joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            files.append((int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(files)


async def migrate(database: Database, *, recreate: bool = False) -> None:
    """Brings the schema up to date. Raises ConfigurationError for a database that a newer version has
    changed.
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


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def partition_name(month: date) -> str:
    return f"documents_{month:%Y_%m}"


async def make_partitions(connection: Connection, month: date) -> None:
    """Makes the partitions of this month and the next, where they are missing. Runs inside the caller's
    transaction.

    A table is made apart and then attached: that takes a lock which readers and writers of the other
    partitions do not notice, where CREATE TABLE ... PARTITION OF would stop them.
    """
    for first in (month, next_month(month)):
        name = partition_name(first)
        if await connection.fetchval(EXISTS, name):
            continue
        await connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITION_LOCK)
        if await connection.fetchval(EXISTS, name):
            continue
        bounds = f"FROM ('{first}') TO ('{next_month(first)}')"
        await connection.execute(
            f"CREATE TABLE {name} (LIKE documents INCLUDING ALL) WITH (fillfactor = {DOCUMENTS_FILLFACTOR});"
            f"ALTER TABLE documents ATTACH PARTITION {name} FOR VALUES {bounds};"
        )
