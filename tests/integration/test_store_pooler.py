"""Behind PgBouncer in transaction mode: each use of a connection says anew whose rows it may see, and leaves nothing behind."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from harness.service import free_port
from harness.tools import PGBOUNCER, missing
from harness.waiting import eventually, turns
from tests.integration.test_store_database import owner_of
from tests.support.pgbouncer import Through, kept_in_session, pgbouncer

from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import ConfigurationError, DatabaseUnavailable, InternalError, ReferenceTaken
from batchseal.operation import ContentType, Mode, OperationStatus
from batchseal.postgres import EmbeddedPostgres
from batchseal.settings.load import Settings
from batchseal.signer.presence import Presence
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.address import Address, address_of
from batchseal.store.operator import OperationFilter, OperatorStore, Who
from batchseal.store.rows import SignatureRow

pytestmark = pytest.mark.skipif(bool(missing(PGBOUNCER)), reason=f"not installed: {missing(PGBOUNCER)}")

Connect = Callable[..., Awaitable[Store]]
CALLS, AT_ONCE = 10_000, 8
DOCUMENTS = [NewDocument(0, "d", "d.pdf", ContentType.PDF, 1)]


def new(caller: str, reference: str, mode: Mode = Mode.ASYNC, instance: UUID | None = None) -> NewOperation:
    return NewOperation(uuid4(), caller, reference, "", mode, instance or uuid4(), "h", 1)


@pytest.fixture
async def through(postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Through]:
    """A pooler with one connection of the server, which all clients of a test take in turns."""
    folder = tmp_path / "pooler"
    folder.mkdir()
    async with pgbouncer(postgres, folder) as through:
        yield through


@pytest.fixture
async def connect_pooled(through: Through, database_url: str) -> AsyncIterator[Connect]:
    stores: list[Store] = []

    async def connect(instance: UUID | None = None, *, everything: bool = True) -> Store:
        address = Address(through(database_url), pooler="transaction")
        stores.append(await Store.connect(address, instance=instance or uuid4(), everything=everything))
        return stores[-1]

    yield connect
    for store in stores:
        await store.close()


async def test_ten_thousand_calls_of_two_callers_over_one_connection(
    connect_pooled: Connect, through: Through, database_url: str
) -> None:
    """Two instances, each with both callers. Whatever a call reads, also without a WHERE, is of the caller alone."""
    stores = [await connect_pooled(everything=False) for _ in range(2)]
    for caller in ("A", "B"):
        for number in range(3):
            await stores[0].register(new(caller, f"{caller}{number}"), DOCUMENTS)
    numbers, seen = iter(range(CALLS)), Counter[str]()

    async def call(number: int) -> set[str]:
        """Whose rows the call has seen."""
        store, (caller, other) = stores[number // 2 % 2], (("A", "B"), ("B", "A"))[number % 2]
        kind = number // 4 % 4
        if kind == 0:
            async with store.database.connection(caller) as connection:
                return {record["client_service"] for record in await connection.fetch("SELECT * FROM operations")}
        if kind == 1:
            return {caller} if await store.reference_holder(caller, f"{other}1") is None else {other}
        if kind == 2:
            return {row.client_service for row in await store.operations_with_reference(caller, f"{caller}2")}
        async with store.database.connection() as connection:  # a worker sees nothing for no caller
            rows = await connection.fetchval("SELECT count(*) FROM operations")
        return {caller} if rows == 0 else {caller, other}

    async def client() -> None:
        for number in numbers:
            whose = await call(number)
            seen["right" if whose == {"AB"[number % 2]} else "wrong"] += 1

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    assert seen == {"right": CALLS}
    kept = await kept_in_session(through(database_url))
    assert kept["caller"] in (None, "") and kept["scope"] in (None, "")
    assert "batchseal" not in str(kept["path"]) and kept["prepared"] == "0"


@pytest.mark.parametrize("caller", ["A", "it's", "back\\slash", "Ünï", "$1 -- %s; COMMIT", ""])
async def test_any_name_of_a_caller_is_taken_as_it_is(connect_pooled: Connect, caller: str) -> None:
    store = await connect_pooled(everything=False)
    for name in ("other", caller or "else"):
        await store.register(new(name, "same"), DOCUMENTS)
    async with store.database.connection(caller) as connection:
        assert [r["client_service"] for r in await connection.fetch("SELECT * FROM operations")] == (
            [caller] if caller else []
        )


async def test_an_operation_from_its_registration_to_its_end(connect_pooled: Connect) -> None:
    me = uuid4()
    store = await connect_pooled(me)
    row = await store.register(new("A", "r", Mode.SYNC, me), DOCUMENTS)
    assert await store.claim_one(row.id, 30) is not None
    evidence = Evidence(bytes(384), (b"stamp",), b"chain")
    syncing = asyncio.get_running_loop().create_future()
    syncing.set_result(None)
    ended = await store.finish(
        row.id, row.created_at, 2, [DocumentOutcome(0, 9)], [SignatureRow(0, evidence)], commit_after=syncing
    )
    assert ended is not None and ended.failed == 0
    found = await store.operation("A", row.id)
    assert found is not None and found.status is OperationStatus.EXECUTED
    assert (await store.evidence(row.id, row.created_at, [0]))[0].evidence.material == b"chain"  # type: ignore[union-attr]


async def test_migrations_go_through_it(through: Through, database_url: str) -> None:
    connection = await asyncpg.connect(owner_of(database_url))
    await connection.execute("DROP SCHEMA batchseal CASCADE")
    await connection.close()
    owner = await Store.connect(Address(through(owner_of(database_url)), pooler="transaction"), instance=uuid4())
    await owner.migrate(role="batchseal")
    await owner.migrate(role="batchseal")
    await owner.close()
    store = await Store.connect(Address(through(database_url), pooler="transaction"), instance=uuid4())
    assert await store.register(new("A", "r"), DOCUMENTS)
    await store.close()


async def test_an_operator_and_the_service_share_the_one_connection(
    connect_pooled: Connect, through: Through, database_url: str
) -> None:
    """The operator's role, its scope and its time-out last as long as its transaction."""
    me = uuid4()
    store = await connect_pooled(me)
    rows = [await store.register(new(caller, "r", instance=me), DOCUMENTS) for caller in ("A", "B")]
    settings = Settings(database_url=through(database_url), database_pooler="transaction")
    operator = await OperatorStore.connect(settings)
    try:
        for _ in range(3):
            assert len((await operator.operations(OperationFilter())).rows) == 2
            async with store.database.connection() as connection:
                said = await connection.fetchrow("SELECT current_user, current_setting('statement_timeout') AS timeout")
            assert (said["current_user"], said["timeout"]) == ("batchseal", "0")
            async with operator.database.connection() as connection:
                said = await connection.fetchrow("SELECT current_user, current_setting('statement_timeout') AS timeout")
            assert (said["current_user"], said["timeout"]) == ("batchseal_operator", "2s")
            async with store.database.connection("A") as connection:
                assert await connection.fetchval("SELECT count(*) FROM operations") == 1
        (done,) = await operator.cancel(Who("maria", "here"), [rows[0].id])
        assert done.result == "done"
        assert await store.is_finished(rows[0].id) and not await store.is_finished(rows[1].id)
    finally:
        await operator.close()


async def test_a_refusal_of_ours_takes_nothing_back(connect_pooled: Connect, database_url: str) -> None:
    """Elsewhere each statement is committed when it ends. The first registration of a month makes its partition, and a reference
    that is taken must not undo that, since the store remembers that it is made.
    """
    owner = await asyncpg.connect(owner_of(database_url), server_settings={"search_path": "batchseal"})
    store = await connect_pooled()
    await store.register(new("A", "taken"), DOCUMENTS)
    later = await connect_pooled()
    await owner.execute("DELETE FROM documents")
    partitions = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'documents'::regclass"
    for record in await owner.fetch(partitions):
        await owner.execute(f"DROP TABLE {record['name']}")
    await owner.close()
    with pytest.raises(ReferenceTaken):
        await later.register(new("A", "taken"), DOCUMENTS)
    assert await later.register(new("A", "free"), DOCUMENTS)


async def test_a_transaction_is_taken_back_by_any_error(connect_pooled: Connect) -> None:
    store = await connect_pooled()
    row = await store.register(new("A", "r"), DOCUMENTS)

    async def fails() -> None:
        async with store.database.transaction("A") as connection:
            await connection.execute("UPDATE operations SET description = 'changed'")
            raise LookupError

    with pytest.raises(LookupError):
        await fails()
    found = await store.operation("A", row.id)
    assert found is not None and found.description == ""


async def test_work_that_goes_on_after_an_error_is_not_taken_for_done(connect_pooled: Connect) -> None:
    store = await connect_pooled()
    await store.register(new("A", "r"), DOCUMENTS)

    async def goes_on() -> None:
        async with store.database.connection("A") as connection:
            await connection.execute("UPDATE operations SET description = 'lost'")
            with suppress(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")

    with pytest.raises(InternalError, match="had undone it"):
        await goes_on()
    async with store.database.connection("A") as connection:
        assert await connection.fetchval("SELECT description FROM operations") == ""


async def test_a_statement_that_was_cut_off_leaves_no_caller_behind(
    connect_pooled: Connect, through: Through, database_url: str
) -> None:
    store = await connect_pooled(everything=False)
    asked = asyncio.Event()

    async def slow() -> None:
        async with store.database.connection("A") as connection:
            asked.set()
            await connection.execute("SELECT pg_sleep(30)")

    task = asyncio.create_task(slow())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await kept_in_session(through(database_url)))["caller"] in (None, "")
    async with store.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM operations") == 0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ignore_startup_parameters": "search_path,batchseal.scope"},
        {"pool_mode": "session", "ignore_startup_parameters": "search_path,batchseal.scope"},
    ],
    ids=["refuses start-up parameters", "leaves them out", "gives a connection for a session"],
)
async def test_a_pooler_that_nobody_told_of_is_refused(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with pgbouncer(postgres, tmp_path, size=4, **settings) as through:
        with pytest.raises(ConfigurationError, match="--database-pooler=transaction"):
            await Store.connect(through(database_url), instance=uuid4())


async def test_a_pooler_whose_server_is_away_is_away(
    tmp_path: Path, postgres: EmbeddedPostgres, database_url: str
) -> None:
    async with pgbouncer(postgres, tmp_path, query_wait_timeout="1") as through:
        store = await Store.connect(Address(through(database_url), pooler="transaction"), instance=uuid4())
        async with store.database.connection():  # has the only connection of the server
            with pytest.raises(DatabaseUnavailable):
                await store.ping()
        await store.close()


async def test_nobody_keeps_the_connection_to_listen(through: Through, database_url: str) -> None:
    """Instances that share payloads hear of each other at once, over a connection of their own. Here there is none."""
    settings = Settings(database_url=through(database_url), database_pooler="transaction", instance=str(uuid4()))
    address, instance = address_of(settings), UUID(settings.instance)
    store = await Store.connect(address, instance=instance, pool_size=1, shared="shared:folder")
    presence = await Presence.begin(settings, store, "shared:folder")
    works = [asyncio.create_task(work) for work in presence.works(lambda: None)]
    await turns()
    async with asyncio.timeout(120):
        for _ in range(5):
            await presence.beat()
    for work in works:
        work.cancel()
    await asyncio.gather(*works, return_exceptions=True)
    await store.close()


async def test_a_pooler_that_is_started_again_is_used_again(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    port = free_port()

    async def registers(reference: str) -> bool:
        try:
            return bool(await store.register(new("A", reference), DOCUMENTS))
        except DatabaseUnavailable:
            return False

    async with pgbouncer(postgres, tmp_path, port=port) as through:
        store = await Store.connect(Address(through(database_url), pooler="transaction"), instance=uuid4(), pool_size=2)
        assert await registers("before")
    assert not await registers("meanwhile")
    async with pgbouncer(postgres, tmp_path, port=port):
        await eventually(lambda: registers("after"))
        for caller, seen in (("A", 2), ("B", 0)):
            async with store.database.connection(caller) as connection:
                assert await connection.fetchval("SELECT count(*) FROM operations") == seen
        await store.close()
