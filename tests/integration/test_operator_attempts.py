"""Failed logins of operators in the database: counted by all workers together, and named so that nobody can guess the names."""

import hashlib
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from batchseal.errors import TooManyRequests
from batchseal.operator.signing_in.attempts import MOST_OF_NAME, OperatorAttempts
from batchseal.store import Store

Connect = Callable[..., Awaitable[Store]]
NAME, ADDRESS = "ana", "192.0.2.7"


async def pairs(connection: asyncpg.Connection) -> set[bytes]:
    return {record["pair"] for record in await connection.fetch("SELECT pair FROM login_failures")}


async def test_nobody_finds_the_names_in_the_table_with_a_dictionary(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    database = (await connect_store(uuid4())).database
    await OperatorAttempts(database, b"k" * 32).guess(NAME, ADDRESS)
    found = await pairs(sees_all_rows)
    assert len(found) == 2
    for label in ("operator", "failed login of an operator"):
        tried = ("\0".join((label, *parts)).encode() for parts in ((ADDRESS,), (ADDRESS, NAME)))
        assert not found & {hashlib.sha256(one).digest() for one in tried}
    await OperatorAttempts(database, b"o" * 32).guess(NAME, ADDRESS)
    assert len(await pairs(sees_all_rows)) == 4, "another installation names them otherwise"


async def test_all_workers_count_together(connect_store: Connect) -> None:
    database = (await connect_store(uuid4())).database
    for _ in range(MOST_OF_NAME):
        await OperatorAttempts(database, b"k" * 32).guess(NAME, ADDRESS)
    with pytest.raises(TooManyRequests):
        await OperatorAttempts(database, b"k" * 32).guess(NAME, ADDRESS)
