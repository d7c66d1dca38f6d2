"""Deletes everything at a start that was told to (--force-database-recreate): once, and only while nobody else uses it.

The setting stands in command lines that are kept, and that run again whenever a container is started again. So the start that has
deleted everything is noted in the new schema, and another start with the setting is refused until one came without it. Every
function runs in the transaction of the migrations, under their lock.
"""

from uuid import UUID

from batchseal.errors import ConfigurationError
from batchseal.store.database import SCHEMA, Connection, application_name
from batchseal.store.queries import QUERIES

# An instance notes itself every 60 s, and later if a round of its duties takes long.
SEEN_SECONDS = 90.0


class Deleted:
    """What a deletion has left: the identity of the database, if it had one."""

    def __init__(self, identity: tuple[UUID, int] | None) -> None:
        self.identity = identity


async def delete_once(connection: Connection, instance: UUID, start: UUID) -> Deleted | None:
    """Deletes the schema with all its data, unless `start` has done so already, as one whose signer is started again.

    Returns what it has left if it was deleted, else None. Raises ConfigurationError, and deletes nothing, if another start did it
    before, or if another instance uses the database.
    """
    done = await connection.fetchrow(QUERIES["recreation"]) if await exists(connection, "recreations") else None
    if done is not None:
        if done["start"] == start:
            return None
        raise ConfigurationError(
            f"--force-database-recreate has deleted everything on {done['at']:%Y-%m-%d at %H:%M:%S} UTC, and acts once: nothing"
            " was deleted now. Leave it out; to delete everything again, start once without it, and then with it"
        )
    if await others_seen(connection, instance):
        raise ConfigurationError(
            "--force-database-recreate: another instance uses this database, or did so within the last minute: nothing was"
            " deleted. Stop it, and start this one again after a minute and a half"
        )
    kept = (
        await connection.fetchrow(QUERIES["kept_identity"]) if await exists(connection, "database_identity") else None
    )
    await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    return Deleted((kept["id"], kept["sweeps"]) if kept is not None else None)


async def note(connection: Connection, start: UUID, deleted: Deleted) -> None:
    """Notes that `start` has deleted everything. The migrations were applied anew."""
    await connection.execute(QUERIES["note_recreation"], start)
    if deleted.identity is not None:
        await connection.execute(QUERIES["keep_identity"], *deleted.identity)


async def forget(connection: Connection, instance: UUID, start: UUID) -> None:
    """Forgets which start has deleted everything, since `start` came without the setting.

    While another instance is there nothing is forgotten: the command line may be that one's.
    """
    if not await others_seen(connection, instance):
        await connection.execute(QUERIES["forget_recreation"], start)


async def others_seen(connection: Connection, instance: UUID) -> bool:
    """Whether another instance uses the database, or did so lately."""
    noted = await exists(connection, "housekeeping")
    if noted and await connection.fetchval(QUERIES["others_noted"], instance, SEEN_SECONDS):
        return True
    return bool(await connection.fetchval(QUERIES["others_connected"], application_name(instance)))


async def exists(connection: Connection, table: str) -> bool:
    """Whether there is such a table of ours."""
    return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{SCHEMA}.{table}"))
