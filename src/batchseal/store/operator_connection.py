"""Connections in the role of operators: see `operator.py`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

import asyncpg

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.settings.load import Settings
from batchseal.store.address import Address, address_of
from batchseal.store.database import Connection, Database
from batchseal.store.opening import open_database
from batchseal.store.queries import QUERIES

# No statement for a page takes longer, and none of an action, which may change some thousand rows.
STATEMENT_SECONDS, ACTION_SECONDS = 2.0, 30.0

# Lists are walks along an index that end early. The planner would rather read and sort a whole table where it expects to read a
# part of it from a disk in any order; and with a penalty in its costs it would compile. A plan is made for the values that are
# asked for, since a rare client service and a frequent one need other ones.
ALONG_INDEXES = {
    "enable_seqscan": "off",
    "random_page_cost": "1.1",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
}

DAY, HOUR = 86_400.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one statement for a list looks at, at most, and how long it may take."""

    operations: int = 10_000
    documents: int = 10_000
    """In a search for a part of a name."""
    failures: int = 12_000
    statement_seconds: float = STATEMENT_SECONDS


DEFAULT_BOUNDS = Bounds()


class OperatorConnection:
    """Owns the connections. `settings` say how long payloads are kept."""

    def __init__(self, database: Database, settings: Settings, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._database = database
        self._settings = settings
        self._bounds = bounds

    @classmethod
    async def connect(
        cls,
        settings: Settings,
        *,
        pool_size: int = 3,
        address: Address | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> Self:
        """Connects to the database of the settings, or to the one at `address`, in the operator's role.

        Raises ConfigurationError where there is no such role, with the statements that make it. In an embedded database that an
        earlier release has made, the role is made now.
        """
        address = address or address_of(settings)
        instance = UUID(settings.instance) if settings.instance else None
        found = await _find_role(address, instance)
        if not found["usable"] and (superuser := _superuser(address)) is not None:
            await _make_role(superuser, found["service"])
            found = await _find_role(address, instance)
        if not found["usable"]:
            role = found["quoted"]
            raise ConfigurationError(
                f"the database has no role for operators: as a role that may make roles, run CREATE ROLE {role} and"
                f" GRANT {role} TO {found['service']}, then start the service again"
            )
        asked = {
            "role": found["role"],
            "statement_timeout": str(int(bounds.statement_seconds * 1000)),
            "batchseal.scope": "operator",
            **ALONG_INDEXES,
        }
        database = await open_database(address, pool_size, everything=False, instance=instance, further_settings=asked)
        return cls(database, settings, bounds)

    @property
    def database(self) -> Database:
        """The connections, for a reader of the audit trail. They see what operators see, and can write nothing."""
        return self._database

    async def close(self) -> None:
        """Closes the connections."""
        await self._database.close()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection]:
        """A connection for the statements of a page. Raises DatabaseUnavailable also where one of them takes too long."""
        try:
            async with self._database.connection() as connection:
                yield connection
        except asyncpg.QueryCanceledError:
            raise DatabaseUnavailable(
                f"the database did not answer within {self._bounds.statement_seconds:.0f} s;"
                " ask for less, such as a shorter time"
            ) from None


async def _find_role(address: Address, instance: UUID | None) -> Mapping[str, Any]:
    """What the query `find_operator_role` says. Raises ConfigurationError for an old schema."""
    database = await open_database(address, 1, everything=False, instance=instance)
    try:
        async with database.connection() as connection:
            found = await connection.fetchrow(QUERIES["find_operator_role"])
    except asyncpg.UndefinedTableError:
        found = None
    finally:
        await database.close()
    if found is None or not found["is_migrated"]:
        raise ConfigurationError(
            "the database is that of an earlier release; start the service once to bring it up to date"
        )
    return dict(found)


def _superuser(address: Address) -> Address | None:
    """The address of an embedded database for its superuser; None for any other database.

    Only accounts of the service reach the socket of an embedded database, and it asks for no password there.
    """
    url = address.read()
    embedded = "postgresql://batchseal@/batchseal?host="
    return (
        replace(address, url=url.replace("batchseal@", "postgres@", 1), file="") if url.startswith(embedded) else None
    )


async def _make_role(superuser: Address, service: str) -> None:
    """`service` is the role of the service, quoted where it must be."""
    database = await open_database(superuser, 1, everything=True)
    try:
        async with database.connection() as connection:
            await connection.execute(QUERIES["operator_role"].replace("{role}", service))
    finally:
        await database.close()
