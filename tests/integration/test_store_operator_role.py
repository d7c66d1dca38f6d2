"""The operator's role of the database: it reads what an operator may see, of all client services, and writes nothing."""

import re
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
from tests.integration.conftest import as_superuser
from tests.support.operators import WHO, ended, operators, registered

from batchseal.errors import ConfigurationError
from batchseal.postgres import EmbeddedPostgres
from batchseal.settings.load import Settings
from batchseal.store import Store
from batchseal.store.operator import OperationFilter, OperatorStore
from batchseal.store.operator_connection import DEFAULT_BOUNDS

Connect = Callable[..., Awaitable[Store]]
SECRET = {
    "operations": ("payload_record", "further_payloads"),
    "signatures": ("signature", "evidence"),
    "evidence_records": ("digests", "token"),
    "credentials": ("grant_value",),
    "webhook_endpoints": ("target",),
}
CLOSED = ("token_keys", "login_failures", "external_references", "validation_materials", "revocation_answers")


@pytest.fixture
async def of_two(connect_store: Connect) -> None:
    """Operations of two client services, signed and failed."""
    me = uuid4()
    store = await connect_store(me)
    for service in ("A", "B"):
        row = await registered(store, me, client_service=service)
        await ended(store, row, failed=[0])


async def test_a_statement_without_a_filter_sees_all_client_services_and_nothing_secret(
    of_two: None, database_url: str, sees_all_rows: asyncpg.Connection
) -> None:
    tables = [record["relname"] for record in await sees_all_rows.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'batchseal'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )]  # fmt: skip
    async with operators(database_url) as store, store.database.connection() as connection:
        seen = await connection.fetch("SELECT DISTINCT client_service FROM operations ORDER BY 1")
        assert [record["client_service"] for record in seen] == ["A", "B"]
        assert await connection.fetchval("SELECT count(*) FROM documents") == 8
        for table, columns in SECRET.items():
            for column in columns:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(f"SELECT {column} FROM {table}")
        for table in CLOSED:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT 1 FROM {table}")
        assert len(tables) > 15
        for table in tables:
            for statement in (f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES", f"TRUNCATE {table}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE operations SET status = 2")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE documents SET cause = ''")


async def test_row_security_asks_once_in_a_statement_whether_an_operator_reads(of_two: None, database_url: str) -> None:
    """It looks at each row of a list, and took a third of the time of the longest."""
    async with operators(database_url) as store, store.database.connection() as connection:
        plan = "\n".join(line[0] for line in await connection.fetch("EXPLAIN SELECT client_service FROM operations"))
    assert re.search(r"Filter: \(*\S*(InitPlan 1|\$0)\S* = 'operator'::text\) OR ", plan), plan
    assert plan.count("'operator'") == 1


async def test_row_security_holds_for_the_role_too(of_two: None, database_url: str) -> None:
    """A connection that says nothing of itself sees nothing, and one that reads for operators cannot write, whatever its role."""
    async with operators(database_url) as store, store.database.connection() as connection:
        await connection.execute("SET batchseal.scope = ''")
        for table in (
            "operations",
            "documents",
            "audit_pending",
            "consumption",
            "samples",
            "credentials",
            "audit_verified",
        ):
            assert await connection.fetch(f"SELECT 1 FROM {table}") == []
        await connection.execute("RESET ROLE")
        assert await connection.fetchval("SELECT current_user") == "batchseal_operator"
    settings = {"search_path": "batchseal", "batchseal.scope": "operator"}
    connection = await asyncpg.connect(database_url, server_settings=settings)
    try:
        assert await connection.fetchval("SELECT count(*) FROM operations") == 2
        assert await connection.execute("UPDATE operations SET description = 'changed'") == "UPDATE 0"
        assert await connection.execute("UPDATE documents SET cause = 'changed'") == "UPDATE 0"
        assert await connection.execute("DELETE FROM audit_pending") == "DELETE 0"
    finally:
        await connection.close()


async def test_a_caller_sees_nothing_of_what_operators_see(of_two: None, connect_store: Connect) -> None:
    callers = await connect_store(everything=False)
    async with callers.database.connection("A") as connection:
        assert await connection.fetchval("SELECT count(*) FROM operations") == 1
        for table in ("audit_actors", "audit_verified", "consumption", "samples", "credentials", "upstream_calls"):
            assert await connection.fetch(f"SELECT 1 FROM {table}") == []


async def test_a_statement_ends_after_two_seconds(database_url: str) -> None:
    async with operators(database_url, DEFAULT_BOUNDS) as store, store.database.connection() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "2s"
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.execute("SET statement_timeout = 20; SELECT pg_sleep(5)")


@pytest.mark.parametrize(("prefix", "quote"), [("role", ""), ("a-role", '"')])
async def test_without_the_role_nobody_is_let_in(
    postgres: EmbeddedPostgres, database_url: str, prefix: str, quote: str
) -> None:
    name = f"{prefix}_{uuid4().hex[:8]}"
    await as_superuser(postgres, f'CREATE ROLE "{name}" LOGIN')
    try:
        await as_superuser(postgres, f'GRANT batchseal TO "{name}"')
        url = database_url.replace("//batchseal@", f"//{name}@")
        wanted, role = f"{quote}{name}_operator{quote}", f"{quote}{name}{quote}"
        with pytest.raises(ConfigurationError, match=f"CREATE ROLE {wanted} and GRANT {wanted} TO {role},"):
            await OperatorStore.connect(Settings(database_url=url))
    finally:
        await as_superuser(postgres, f'DROP ROLE "{name}"')


@pytest.mark.parametrize("prefix", ["alone", "Its-Own"])
async def test_an_owner_who_may_make_roles_makes_it(postgres: EmbeddedPostgres, prefix: str) -> None:
    """A database of one's own with one role for everything. Nobody else may connect, and the second name must be quoted."""
    name = f"{prefix}_{uuid4().hex[:8]}"
    await as_superuser(postgres, f'CREATE ROLE "{name}" LOGIN CREATEROLE')
    await as_superuser(postgres, f'CREATE DATABASE "{name}" OWNER "{name}"')
    await as_superuser(postgres, f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    try:
        url = postgres.dsn_of(name, name)
        store = await Store.connect(url, instance=uuid4())
        await store.migrate()
        await store.migrate()
        row = await registered(store, uuid4())
        await store.close()
        async with operators(url) as operator:
            (line,) = (await operator.operations(OperationFilter())).rows
            assert line.id == row.id
            (done,) = await operator.cancel(WHO, [row.id])
            assert done.result == "done"
            assert (await operator.overview()).database_bytes > 0
    finally:
        await as_superuser(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')
        await as_superuser(postgres, f'DROP ROLE IF EXISTS "{name}_operator", "{name}"')
