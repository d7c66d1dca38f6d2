"""The database behind a pooler that gives a server connection for one transaction only, such as PgBouncer.

The next transaction of a client may run on another connection of the server, and the connection that it had serves somebody else
then. So nothing is kept in a session: no start-up parameter, no prepared statement, no setting. Each use of a connection is one
transaction, and its first statement says for this transaction alone what a session says once elsewhere: the schema, the time
zone, the scope and the caller.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from batchseal.errors import InternalError
from batchseal.store.database import UNKNOWN, Connection, Database
from batchseal.store.outages import SERVER_AWAY
from batchseal.store.sessions import Session

CALLER = "batchseal.client_service"


class PooledDatabase(Database):
    """Like `Database`, for `--database-pooler=transaction`. Whoever has a connection keeps others from one of the server's."""

    KEEPS_SESSIONS = False

    @staticmethod
    def _asked_of_driver(settings: Mapping[str, str]) -> dict[str, Any]:
        return {"connection_class": Limitless, "statement_cache_size": 0}

    async def _first_use(self, session: Session) -> None:
        await session.fetchval("SELECT 1")

    async def _limit(self, session: Session, caller: str | None) -> None:
        """Begins a transaction that is limited to the rows of `caller`, or with None to what the service itself sees.

        A transaction with a caller sees no more than that one's rows, whatever the scope of the service is.
        """
        settings = dict(self.settings)
        if caller is not None:
            settings |= {"batchseal.scope": "", CALLER: caller}
        else:
            settings[CALLER] = ""
        await session.execute(beginning(settings))

    @asynccontextmanager
    async def connection(self, caller: str | None = None) -> AsyncIterator[Connection]:
        """A connection in a transaction of its own, which is committed at the end of the block.

        It is committed as well if the user raises an error: without a pooler, each statement of the block would be by then. After
        an error of the database nothing of the block is kept.
        """
        async with self._in_transaction(caller, "COMMIT") as session:
            yield session

    @asynccontextmanager
    async def transaction(self, caller: str | None = None) -> AsyncIterator[Connection]:
        """A connection in one transaction. It is READ COMMITTED: each statement sees what others have committed before it."""
        async with self._in_transaction(caller, "ROLLBACK") as session:
            yield session

    @asynccontextmanager
    async def _in_transaction(self, caller: str | None, after_error: str) -> AsyncIterator[Connection]:
        """`after_error` is how the transaction ends if the user raises an error."""
        async with super().connection(caller) as session:
            try:
                yield session
            except SERVER_AWAY:
                raise  # the connection is closed now
            except Exception:
                if not session.is_closed():
                    await session.execute(after_error)
                raise
            # PostgreSQL answers ROLLBACK where an error has ended the transaction before.
            if await session.execute("COMMIT") != "COMMIT":
                raise InternalError("the work went on after an error of the database, which had undone it")


class Limitless(Session):
    """A session that is never limited by itself, so that each use begins with a statement that limits it."""

    caller = UNKNOWN


def beginning(settings: Mapping[str, str]) -> str:
    """The statement that begins a transaction with these settings, in one round trip.

    It takes no parameters, since it is two statements. The values come as hexadecimal digits: no value can end its literal,
    whatever the server's `standard_conforming_strings` says.
    """
    values = ", ".join(f"pg_catalog.set_config('{name}', {literal(text)}, true)" for name, text in settings.items())
    return f"BEGIN; SELECT {values}"


def literal(text: str) -> str:
    """An expression whose value is this text."""
    return f"pg_catalog.convert_from(pg_catalog.decode('{text.encode().hex()}', 'hex'), 'UTF8')"
