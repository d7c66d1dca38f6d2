"""Opens the database of a service for a command, whether the service runs or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from batchseal.errors import ConfigurationError
from batchseal.postgres.server import EmbeddedPostgres
from batchseal.processes.instance import in_use
from batchseal.processes.places import settle
from batchseal.settings.load import Settings
from batchseal.store.address import Address, address_of
from batchseal.store.store import Store
from batchseal.system.disk import read_own

if TYPE_CHECKING:
    from batchseal.store.operator import OperatorStore

# The settings that `opened_database` uses.
OF_DATABASE = ("temp_folder", "config", "database_url", "database_url_file", "database_pooler", "postgres_bin")


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[Address]:
    """The address of the database of --database-url or of the embedded database of --temp-folder.

    If no service uses the temp folder now, starts its embedded database and stops it at the end. Raises ConfigurationError
    if there is no database.
    """
    server = None
    embedded, address = settings.has_embedded_database, address_of(settings)
    settings = settle(settings) if embedded else settings
    if embedded and in_use(settings.temp_folder):
        try:
            url = read_own(settings.dsn_path).decode("utf-8").strip()
        except OSError as problem:
            raise ConfigurationError(f"{settings.dsn_path}: {problem.strerror}") from None
        address = Address(url)
    elif embedded:
        folder = settings.temp_folder / "postgres"
        if not (folder / "data").exists():
            raise ConfigurationError(
                f"there is no database in {settings.temp_folder}; name the service's folder with --temp-folder"
            )
        server = EmbeddedPostgres(folder, Path(settings.postgres_bin) if settings.postgres_bin else None)
        address = Address(await server.start())
    try:
        yield address
    finally:
        if server:
            await server.stop()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Opens the database in the role of the service. See `opened_database`."""
    async with opened_database(settings) as address:
        store = await Store.connect(address, instance=uuid4(), pool_size=1)
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def open_operator_store(settings: Settings) -> AsyncIterator["OperatorStore"]:
    """Opens the database in the role of operators. See `opened_database`."""
    from batchseal.store.operator import OperatorStore

    async with opened_database(settings) as address:
        store = await OperatorStore.connect(settings, pool_size=1, address=address)
        try:
            yield store
        finally:
            await store.close()
