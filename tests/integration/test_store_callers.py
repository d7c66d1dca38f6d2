"""Row security, the lock behind every WHERE: the role owns nothing, and a caller's connection sees that caller's rows."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from batchseal.errors import ReferenceTaken
from batchseal.operation import ContentType, Mode
from batchseal.store import NewDocument, NewOperation, Store

Connect = Callable[..., Awaitable[Store]]
TABLES = ("operations", "documents", "external_references", "audit_pending", "audit")


async def two_callers(connect_store: Connect) -> Store:
    store = await connect_store()
    for caller in ("A", "B"):
        await store.register(
            NewOperation(uuid4(), caller, "same", "", Mode.ASYNC, uuid4(), "h", 1),
            [NewDocument(0, "d", "d.pdf", ContentType.PDF, 1)],
        )
    return store


@pytest.mark.parametrize("table", ["operations", "documents", "external_references"])
async def test_without_a_where_a_caller_sees_its_own_rows(connect_store: Connect, table: str) -> None:
    store = await two_callers(connect_store)
    async with store.database.connection() as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 2
    for caller, seen in (("A", 1), ("B", 1), ("C", 0), ("", 0), ("*", 0)):
        async with store.database.connection(caller) as connection:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == seen


@pytest.mark.parametrize("table", TABLES)
async def test_a_connection_that_says_nothing_sees_nothing(
    connect_store: Connect, database_url: str, table: str
) -> None:
    await two_callers(connect_store)
    closed = await Store.connect(database_url, instance=uuid4(), everything=False)
    async with closed.database.connection() as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    await closed.close()


async def test_the_limit_ends_with_the_use_of_the_connection(connect_store: Connect) -> None:
    await two_callers(connect_store)
    store = await connect_store(pool_size=1)
    async with store.database.connection("A") as connection:
        assert await connection.fetchval("SELECT count(*) FROM operations") == 1
    async with store.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM operations") == 2


async def test_a_caller_cannot_write_for_another(connect_store: Connect) -> None:
    store = await two_callers(connect_store)
    async with store.database.connection("A") as connection:
        assert await connection.execute("UPDATE operations SET description = 'mine'") == "UPDATE 1"
        assert await connection.execute("UPDATE documents SET status = 2") == "UPDATE 1"
        assert await connection.execute("DELETE FROM external_references") == "DELETE 1"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO external_references VALUES (7, 'B', 'x')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE operations SET client_service = 'B'")


async def test_the_service_owns_nothing(connect_store: Connect) -> None:
    store = await two_callers(connect_store)
    role, unbound = await store.role()
    assert (role, unbound) == ("batchseal", False)
    async with store.database.connection() as connection:
        owned = await connection.fetchval("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole")
        assert owned == 0
        for statement in (
            "ALTER TABLE operations DISABLE ROW LEVEL SECURITY",
            "DROP POLICY one_client_service ON operations",
            "DROP TABLE documents",
            "UPDATE audit SET signed = 0",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "DELETE FROM operations",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_a_reference_of_another_caller_is_free_and_its_own_is_taken(connect_store: Connect) -> None:
    store = await two_callers(connect_store)
    with pytest.raises(ReferenceTaken):
        await store.register(NewOperation(uuid4(), "A", "same", "", Mode.ASYNC, uuid4(), "h", 1), [])
    await store.register(NewOperation(uuid4(), "C", "same", "", Mode.ASYNC, uuid4(), "h", 1), [])
