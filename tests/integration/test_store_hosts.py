"""The database as production has it: a standby that takes over, servers that only read, and passwords that change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from harness.stream_server import stream_server
from harness.tools import OLDER_POSTGRES, missing
from harness.waiting import eventually
from tests.support.servers import Server, one_server, promote, two_servers

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.operation import ContentType, Mode
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.address import Address
from batchseal.store.database import Database
from batchseal.store.replication import durability_remarks

pytestmark = pytest.mark.skipif(bool(missing(OLDER_POSTGRES)), reason=f"not installed: {missing(OLDER_POSTGRES)}")
PORT = "SELECT inet_server_port()"


def hosts(*ports: int, more: str = "") -> str:
    return f"postgresql://batchseal:first@{','.join(f'127.0.0.1:{port}' for port in ports)}/batchseal{more}"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with one_server() as server:
        yield server


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """The port of somebody who takes connections and never answers, like a host whose network is cut."""

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with stream_server(say_nothing) as listener:
        yield listener.sockets[0].getsockname()[1]


async def register(store: Store, reference: str) -> bool:
    """Whether the registration was acknowledged."""
    operation = NewOperation(uuid4(), "A", reference, "", Mode.ASYNC, uuid4(), "h", 1)
    try:
        await store.register(operation, [NewDocument(0, "d", "d.pdf", ContentType.PDF, 1)])
    except DatabaseUnavailable:
        return False
    return True


async def test_a_standby_takes_over_and_nothing_acknowledged_is_lost() -> None:
    """The old primary goes on to answer, read-only. The address names the standby first, which is passed over while it is one."""
    async with two_servers() as (primary, standby):
        store = await Store.connect(hosts(standby.port, primary.port), instance=uuid4())
        acknowledged, numbers, ended = [], iter(range(100_000)), asyncio.Event()

        async def load() -> None:
            while not ended.is_set():
                reference = f"r{next(numbers)}"
                if await register(store, reference):
                    acknowledged.append(reference)
                else:
                    await asyncio.sleep(0)

        loads = [asyncio.create_task(load()) for _ in range(3)]
        await eventually(lambda: len(acknowledged) >= 20)
        before = len(acknowledged)
        await promote(standby, primary)
        await eventually(lambda: len(acknowledged) >= before + 20)

        async def is_at_the_standby() -> bool:
            with suppress(
                DatabaseUnavailable
            ):  # one session after the other finds out that the primary takes no more writes
                async with store.database.connection() as connection:
                    return bool(await connection.fetchval(PORT) == standby.port)
            return False

        await eventually(is_at_the_standby)
        ended.set()
        await asyncio.gather(*loads)
        await store.close()
        kept = await standby.run("SELECT array_agg(external_reference) FROM batchseal.external_references")
        assert set(acknowledged) <= set(kept)


async def test_who_only_reads_moves_too(server: Server) -> None:
    """Nothing is written, so no statement fails: the server itself says that it takes no more writes."""
    async with one_server() as other:
        database = await Database.open(hosts(server.port, other.port), 2, everything=True)
        async with database.connection() as connection:
            assert await connection.fetchval(PORT) == server.port
        await server.set(default_transaction_read_only="on")

        async def has_moved() -> bool:
            async with database.connection() as connection:
                return bool(await connection.fetchval(PORT) == other.port)

        await eventually(has_moved)
        await database.close()


async def test_a_host_that_never_answers_costs_its_own_time_only(server: Server, silent: int) -> None:
    database = await Database.open(hosts(silent, server.port), 2, everything=True, connect_seconds=5)
    async with database.connection() as first, database.connection() as second:  # the second knows which host to ask
        assert [await one.fetchval(PORT) for one in (first, second)] == [server.port] * 2
    await database.close()


async def test_a_server_that_only_reads_is_away_until_it_writes_again(database_url: str) -> None:
    """One address, behind which another server may stand the next time: all connections are opened anew."""
    store = await Store.connect(database_url, instance=uuid4())
    backend = "SELECT pg_backend_pid()"
    async with store.database.connection() as one, store.database.connection() as two:
        before = {await one.fetchval(backend), await two.fetchval(backend)}
        await one.execute("SET default_transaction_read_only = on")
    assert not await register(store, "r")
    await eventually(lambda: register(store, "t"))
    async with store.database.connection() as one, store.database.connection() as two:
        assert before.isdisjoint({await one.fetchval(backend), await two.fetchval(backend)})
    await store.close()


async def test_a_password_is_changed_while_the_service_runs(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(server.url())
    database = await Database.open(Address(file=str(file)), 2, everything=True)

    async def answers() -> bool:
        try:
            async with database.connection() as connection:
                return bool(await connection.fetchval("SELECT true"))
        except DatabaseUnavailable:
            return False

    # The server comes first: until the file follows, the database is away, and nothing is misconfigured.
    await server.run("ALTER ROLE batchseal PASSWORD 'second'", "SELECT 1")
    end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'batchseal'"
    await server.run(end_all)
    await eventually(lambda: refused(database))
    file.write_text("")  # as whoever replaces it may leave it for a moment
    assert not await answers()
    file.write_text(server.url(password="second"))
    await eventually(answers)
    await database.close()
    file.write_text(server.url(password="third"))
    with pytest.raises(ConfigurationError, match="refuses this service"):
        await Database.open(Address(file=str(file)), 2, everything=True)


async def refused(database: Database) -> bool:
    try:
        async with database.connection():
            return False
    except DatabaseUnavailable as problem:
        return "password authentication failed" in problem.cause


async def test_a_file_that_changes_between_reading_and_connecting_is_read_again(server: Server, tmp_path: Path) -> None:
    """The driver asks this server only after it has the old password, and by then the file holds the new one."""
    file = tmp_path / "url"
    file.write_text(server.url(password="old"))
    changed = asyncio.Event()

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        file.write_text(server.url())
        changed.set()
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
        target.close()

    async with stream_server(passed_on) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        file.write_text(server.url(password="old").replace(str(server.port), str(port)))
        database = await Database.open(Address(file=str(file)), 1, everything=True)
        assert changed.is_set()
        await database.close()


async def test_what_can_lose_an_acknowledged_operation() -> None:
    """As the role of the service sees it, which may not see who follows."""
    async with two_servers() as (primary, standby):
        await primary.set(fsync="on")

        async def remarks(role: str = "batchseal") -> list[str]:
            database = await Database.open(primary.url(role), 1, everything=True)
            try:
                return await durability_remarks(database)
            finally:
                await database.close()

        for safe in ("on", "remote_apply"):
            await primary.set(synchronous_commit=safe)
            assert await remarks() == []
        for weak in ("remote_write", "local", "off"):
            await primary.set(synchronous_commit=weak)
            (told,) = await remarks()
            assert told.startswith(f"synchronous_commit is {weak}: an acknowledged operation can be lost")
        await primary.set(synchronous_commit="on", fsync="off")
        assert [told.partition(":")[0] for told in await remarks()] == ["fsync is off"]
        await primary.set(synchronous_standby_names="", fsync="on")
        (told,) = await remarks()
        assert told.startswith("replication is asynchronous (1 followers")
        await primary.set(synchronous_standby_names="nobody")
        assert [told.partition(":")[0] for told in await remarks("postgres")] == [
            "no standby of synchronous_standby_names is connected"
        ]
        database = await Database.open(standby.url(), 1, everything=True)
        with pytest.raises(ConfigurationError, match="only reads"):
            await durability_remarks(database)
        await database.close()
