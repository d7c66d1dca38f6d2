"""The way to the database: typed errors, paced reconnection, and nothing that knows a table."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg  # type: ignore[import-untyped]

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.store.sessions import Session, Sessions
from batchseal.system.backoff import Backoff

Connection: TypeAlias = Any  # asyncpg comes without types

SCHEMA = "batchseal"
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 60.0
RECONNECTING = Backoff(0.05, 2.0)
UNKNOWN = "\0"  # no client service is called so: PostgreSQL takes no NUL in a text
LIMIT_TO_CALLER = "SELECT set_config('batchseal.scope', '', false), set_config('batchseal.client_service', $1, false)"

# What means "the server is away", not "the statement is wrong".
SERVER_AWAY: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
)
# On the way to a connection, where the statement cannot be at fault.
CONNECTING_FAILED: tuple[type[BaseException], ...] = (*SERVER_AWAY, asyncpg.InterfaceError, asyncpg.InternalClientError)
# What another try of the same start cannot mend.
MISCONFIGURED = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ClientConfigurationError,
)


class Database:
    """Connects when asked, and after a failure no more often than its pause allows.

    The pause starts at 50 ms and doubles to 2 s; within it callers get DatabaseUnavailable at once, so that a
    server that comes back is not met by a storm. A connection that broke while idle is replaced on the next use.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._failures = 0  # to connect, in a row
        self._next_attempt = 0.0

    @classmethod
    async def open(cls, dsn: str, pool_size: int, *, everything: bool) -> "Database":
        """With `everything` connections see all rows unless they are opened for a caller, else none. Raises
        ConfigurationError where the address cannot be right, DatabaseUnavailable where nobody answers.
        """

        async def connect() -> Session:
            session: Session = await asyncpg.connect(
                dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                connection_class=Session,
                server_settings={
                    "search_path": SCHEMA,
                    "application_name": "batchseal",
                    "timezone": "UTC",
                    "batchseal.scope": "*" if everything else "",
                },
            )
            return session

        sessions = Sessions(connect, pool_size)
        database = cls(sessions)
        try:
            async with database.connection() as connection:
                await connection.fetchval("SELECT 1")
        except ValueError as problem:  # ClientConfigurationError is one too
            raise ConfigurationError(f"--database-url: {problem}") from None
        return database

    async def close(self) -> None:
        """Waits for queries under way, five seconds at most."""
        await self._sessions.close(5)

    @asynccontextmanager
    async def connection(self, caller: str | None = None) -> AsyncIterator[Connection]:
        """A connection, which sees the rows of the client service `caller` only, if one is given. It stays limited until
        somebody else uses it. Raises DatabaseUnavailable where there is none, or where it breaks in use.
        """
        if asyncio.get_running_loop().time() < self._next_attempt:
            raise DatabaseUnavailable("the database is away; the next attempt follows shortly")
        session = await self._acquire()
        try:
            if session.caller != caller:
                await limit_to_caller(session, caller)
            yield session
        except asyncpg.InsufficientPrivilegeError as problem:
            raise ConfigurationError(f"the database allows this service too little: {problem}") from problem
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as problem:
            # Either the connection is gone, or we used it wrongly.
            if not broke(session, problem):
                raise
            raise DatabaseUnavailable(f"the database went away: {problem}") from problem
        except SERVER_AWAY as problem:
            session.terminate()
            raise DatabaseUnavailable(f"the database went away: {explain(problem)}") from problem
        except asyncio.CancelledError:
            session.terminate()  # in the middle of a statement
            raise
        finally:
            self._sessions.release(session)

    async def _acquire(self) -> Session:
        loop = asyncio.get_running_loop()
        try:
            if self._sessions.at_hand:
                session = await self._sessions.acquire()
            else:
                async with asyncio.timeout(CONNECT_SECONDS * 2):
                    session = await self._sessions.acquire()
        except MISCONFIGURED as problem:
            raise ConfigurationError(f"the database refuses this service: {problem}") from None
        except TimeoutError:
            # No pause: it was long enough, and all may only have been in use.
            raise DatabaseUnavailable(f"no connection within {CONNECT_SECONDS * 2:.0f} s") from None
        except CONNECTING_FAILED as problem:
            self._failures += 1
            self._next_attempt = loop.time() + RECONNECTING.pause_seconds(self._failures)
            raise DatabaseUnavailable(f"the database is away: {explain(problem)}") from problem
        self._failures = 0
        return session

    @asynccontextmanager
    async def transaction(self, caller: str | None = None) -> AsyncIterator[Connection]:
        """One transaction, READ COMMITTED: a later statement sees what others committed since."""
        async with self.connection(caller) as connection, connection.transaction():
            yield connection


async def limit_to_caller(session: Session, caller: str | None) -> None:
    """Shows it the rows of `caller`, or all that its role may see. Cut off on the way, it is done anew."""
    session.caller = UNKNOWN
    if caller is None:
        await session.execute(session.get_reset_query())
    else:
        await session.execute(LIMIT_TO_CALLER, caller)
    session.caller = caller


def broke(session: Session, problem: BaseException) -> bool:
    """Whether `problem` says that the connection is of no more use; if so, it is closed."""
    if session.is_closed():
        return True
    # The farewell of a server that ends may reach a connection between two statements: asyncpg then takes itself to
    # be busy (InternalClientError), and every later statement for a misuse.
    link: BaseException | None = problem
    while link is not None:
        if isinstance(link, (asyncpg.InternalClientError, *SERVER_AWAY)):
            session.terminate()
            return True
        link = link.__context__
    return False


def explain(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__
