"""A real embedded PostgreSQL for the session, and a database of its own for each test, copied from a migrated
template.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.postgres import EmbeddedPostgres
from batchseal.store import Store
from batchseal.worker.credentials import CredentialCache


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Its loop runs in a thread of its own for the whole session: the server ends with the thread that
    started it.
    """
    server = EmbeddedPostgres(tmp_path_factory.mktemp("service") / "postgres")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="postgres")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(120)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(120)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def as_superuser(postgres: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(postgres.dsn_of("postgres", "batchseal"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template_database(postgres: EmbeddedPostgres) -> str:
    """A migrated database that tests copy: a copy takes a tenth of the migrations' time."""

    async def make() -> str:
        await as_superuser(postgres, "CREATE DATABASE template_store OWNER batchseal_owner")
        store = await Store.connect(postgres.dsn_of("batchseal_owner", "template_store"), instance=uuid4())
        await store.migrate(role="batchseal")
        await store.close()
        return "template_store"

    return asyncio.run(make())


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres, template_database: str) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    await as_superuser(postgres, f"CREATE DATABASE {name} OWNER batchseal_owner TEMPLATE {template_database}")
    yield postgres.dsn_of("batchseal", name)
    await as_superuser(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def connect_store(database_url: str) -> AsyncIterator[Callable[..., Awaitable[Store]]]:
    """Opens stores on the test's database; they are closed after it."""
    stores: list[Store] = []

    async def connect(
        instance: UUID | None = None, pool_size: int = 4, *, everything: bool = True, shared: str | None = None
    ) -> Store:
        chosen = {"instance": instance or uuid4(), "pool_size": pool_size, "everything": everything, "shared": shared}
        stores.append(await Store.connect(database_url, **chosen))  # type: ignore[arg-type]
        return stores[-1]

    yield connect
    for store in stores:
        await store.close()


@pytest.fixture
async def sees_all_rows(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the role that owns the tables."""
    url = database_url.replace("//batchseal@", "//batchseal_owner@")
    settings = {"batchseal.scope": "*", "search_path": "batchseal"}
    # What a test changes itself need not wait for the disk, during which time would go by.
    connection = await asyncpg.connect(url, server_settings={**settings, "synchronous_commit": "off"})
    yield connection
    await connection.close()


@pytest.fixture
def service_folder(tmp_path: Path) -> Path:
    return tmp_path / "service"


@pytest.fixture
def unknown_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not know the credential, so the signer has to read the payload and prepare the documents."""

    async def unknown(*_: Any) -> None:
        return None

    monkeypatch.setattr(CredentialCache, "of", unknown)
