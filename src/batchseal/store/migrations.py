"""Migrations: numbered SQL files that bring the schema up to date. They are applied in order, all of them or none.

A migration normally only adds tables and columns. So the release before still runs on the newer schema, and an upgrade can be
taken back. A migration that removes or moves something says so in a line of its own, `-- needs 0007`: from then on a program must
know migration 0007, and one that does not know it refuses to start.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID

from batchseal.errors import ConfigurationError
from batchseal.store import recreation
from batchseal.store.database import SCHEMA, Connection, Database
from batchseal.store.queries import QUERIES

# The key of the advisory lock under which one process at a time migrates. It may be any fixed number.
MIGRATION_LOCK = 0x6261_7463_6873_6501

OLDEST_SERVER = (13,)

# How long a migration may take, and whoever waits for one. It may have to read whole tables, and takes longer then than any other
# statement may: cut off, it would be undone, and begin anew at the next start.
MIGRATION_SECONDS = 86_400.0

NEEDS = re.compile(r"^-- needs (\d{4})$", re.MULTILINE)


def migration_files() -> list[tuple[int, str, str]]:
    """The number, the name and the SQL of each migration, in the order of the numbers."""
    files = []
    for file in Path(__file__).with_name("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            files.append((int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(files)


def needed_by(sql: str) -> int:
    """The number of the newest migration that a program must know once this one is applied. 0 if this one only adds."""
    match = NEEDS.search(sql)
    return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class Start:
    """A start of an instance: a UUID of its own, and whether it is to delete all data first (`recreation.py`)."""

    id: UUID
    instance: UUID
    recreate: bool = False


async def migrate(database: Database, start: Start | None = None, *, role: str | None = None) -> bool:
    """Brings the schema up to date and lets `role` (quoted) use it. Returns whether `start` has deleted all data first.

    Raises ConfigurationError if the server is too old, if a newer release has changed the schema so that this one cannot use it,
    or if the data may not be deleted.
    """
    deleted: recreation.Deleted | None = None
    async with database.transaction() as connection:
        if connection.get_server_version() < OLDEST_SERVER:
            raise ConfigurationError(f"PostgreSQL {OLDEST_SERVER[0]} or newer is needed")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK, timeout=MIGRATION_SECONDS)
        if start and start.recreate:
            deleted = await recreation.delete_once(connection, start.instance, start.id)
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
                f"a newer release has changed the database, and this one is too old for it: it does not know migration {needed}"
            )
        for number, name, sql in known:
            if number not in applied:
                await connection.execute(sql, timeout=MIGRATION_SECONDS)
                await connection.execute(
                    "INSERT INTO migrations (number, name, needs) VALUES ($1, $2, $3)", number, name, needed_by(sql)
                )
        if start and deleted:
            await recreation.note(connection, start.id, deleted)
        elif start and not start.recreate:
            await recreation.forget(connection, start.instance, start.id)
        today = await connection.fetchval("SELECT date_trunc('month', now())::date")
        await make_partitions(connection, today)
        if role is not None:
            await connection.execute(QUERIES["grants"].replace("{role}", role))
        service = role or await connection.fetchval("SELECT quote_ident(current_user)")
        await connection.execute(QUERIES["operator_role"].replace("{role}", service))
    return deleted is not None


async def make_partitions(connection: Connection, month: date) -> None:
    """Makes the partitions of documents and audit entries for `month` and the month after it, if they are missing.

    Runs in the transaction that `connection` is in.
    """
    for first in (month, next_month(month)):
        await connection.execute(QUERIES["make_partition"], first)


def partition_name(month: date) -> str:
    """The name of the partition that holds the documents of a month."""
    return f"documents_{month:%Y_%m}"


def next_month(month: date) -> date:
    """The first day of the month after the one that begins on `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
