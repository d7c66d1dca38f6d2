"""Connections to the database: its errors become errors of ours, and it is reached again after it was away.

No code here knows a table.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias
from uuid import UUID

import asyncpg

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.store.address import Address, AnyAddress
from batchseal.store.hosts import Hosts
from batchseal.store.outages import COLLISION, CONNECTING_FAILED, MISCONFIGURED, NO_PRIMARY, SERVER_AWAY, explain
from batchseal.store.sessions import Session, Sessions
from batchseal.system.backoff import Backoff

Connection: TypeAlias = Any  # asyncpg comes without types

SCHEMA = "batchseal"
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 60.0
RECONNECTING = Backoff(0.05, 2.0)
# Stands for "it is not known which caller this connection is limited to". No client service has this name, since PostgreSQL takes
# no NUL in a text.
UNKNOWN = "\0"
LIMIT_TO_CALLER = "SELECT set_config('batchseal.scope', '', false), set_config('batchseal.client_service', $1, false)"

# What the service says where it finds a pooler that nobody has told it of.
POOLER_FOUND = (
    "a pooler, such as PgBouncer, stands before the database: set --database-pooler=transaction, or name the database itself."
    " Otherwise a caller could be shown the rows of another one"
)


class Database:
    """Gives out connections to the database, and opens them when they are needed.

    After a failure to connect it makes a pause (RECONNECTING) in which every user gets DatabaseUnavailable at once, so that a
    server that comes back is not met by all requests at the same time. A connection that broke while nobody used it is replaced
    when it is used next.
    """

    # Whether a connection is one session of the server for as long as it is open, so that it can listen for notices.
    KEEPS_SESSIONS = True

    def __init__(self, sessions: Sessions, settings: Mapping[str, str], *, wait_seconds: float) -> None:
        self.settings = settings
        self._sessions = sessions
        self._wait_seconds = wait_seconds
        self._failures = 0  # failures to connect, in a row
        self._next_attempt = 0.0

    @classmethod
    async def open(
        cls,
        address: AnyAddress,
        pool_size: int,
        *,
        everything: bool,
        instance: UUID | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        command_seconds: float = COMMAND_SECONDS,
        further_settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Connects once, to see that it is possible. The server is told which instance connects.

        With `everything` a connection that is not limited to a caller sees all rows, else it sees none. `further_settings`
        are of the server, and go before its own. Raises ConfigurationError
        if the address cannot be right, DatabaseUnavailable if nobody answers.
        """
        settings = {
            "search_path": SCHEMA,
            "application_name": application_name(instance),
            "timezone": "UTC",
            "batchseal.scope": "*" if everything else "",
            **(further_settings or {}),
        }
        asked = cls._asked_of_driver(settings)

        async def connect_one(url: str, wanted_server: str | None) -> Session:
            session: Session = await asyncpg.connect(
                url,
                timeout=connect_seconds,
                command_timeout=command_seconds,
                target_session_attrs=wanted_server,
                **asked,
            )
            return session

        try:
            hosts = Hosts(Address(address) if isinstance(address, str) else address, connect_one)
            wait_seconds = connect_seconds * (1 + len(hosts))
            database = cls(Sessions(hosts.connect, pool_size), settings, wait_seconds=wait_seconds)
            await database._try()
        except ValueError:  # its text may hold a part of the password
            raise ConfigurationError(
                "--database-url: this is no address of a database; write special characters of a password as %XX"
            ) from None
        return database

    async def _try(self) -> None:
        """Connects for the first time. Leaves no connection open if that fails."""
        try:
            async with self.connection() as session:
                await self._first_use(session)
        except BaseException:
            await self.close()
            raise

    @staticmethod
    def _asked_of_driver(settings: Mapping[str, str]) -> dict[str, Any]:
        """What a connection is opened with, for these settings of the session."""
        return {"connection_class": Session, "server_settings": settings}

    async def _first_use(self, session: Session) -> None:
        """Raises ConfigurationError if a pooler gives out the server's connections.

        A pooler tells its clients another process id than the server's own, since a client may cancel a statement wherever it
        runs.
        """
        if await session.fetchval("SELECT pg_backend_pid()") != session.get_server_pid():
            raise ConfigurationError(POOLER_FOUND)

    async def close(self) -> None:
        """Closes all connections. Statements that are under way get 5 s to end."""
        await self._sessions.close(5)

    @asynccontextmanager
    async def connection(self, caller: str | None = None) -> AsyncIterator[Connection]:
        """A connection for the length of the block. With `caller` it sees only the rows of this client service.

        Raises DatabaseUnavailable if no connection can be had, if it breaks while it is used, or if a statement is the victim of
        a deadlock (its cause is one of COLLISION).
        """
        if asyncio.get_running_loop().time() < self._next_attempt:
            raise DatabaseUnavailable("the database is away; the next attempt follows shortly")
        session = await self._acquire(caller)
        try:
            if session.caller != caller:
                await self._limit(session, caller)
            yield session
        except COLLISION as problem:
            raise DatabaseUnavailable(f"the database is busy: {explain(problem)}") from problem
        except asyncpg.InsufficientPrivilegeError as problem:
            raise ConfigurationError(f"the role of this service lacks a right in the database: {problem}") from problem
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as problem:
            # Either the connection broke, or this service used it wrongly.
            if not broke(session, problem):
                raise
            raise DatabaseUnavailable(f"the database went away: {problem}") from problem
        except SERVER_AWAY as problem:
            session.terminate()
            if isinstance(problem, NO_PRIMARY):  # the other connections lead to the same server
                self._sessions.replace_all()
                raise self._away(problem) from problem
            raise DatabaseUnavailable(f"the database went away: {explain(problem)}") from problem
        except asyncio.CancelledError:
            session.terminate()  # a statement may still be running on it
            raise
        finally:
            self._sessions.release(session)

    async def _limit(self, session: Session, caller: str | None) -> None:
        """Limits the connection to the rows of `caller`, or with None to no caller.

        If this is cut off in between, the connection is marked as UNKNOWN, so that the next user limits it anew.
        """
        session.caller = UNKNOWN
        if caller is None:
            await session.execute(session.get_reset_query())
        else:
            await session.execute(LIMIT_TO_CALLER, caller)
        session.caller = caller

    async def _acquire(self, caller: str | None) -> Session:
        try:
            if self._sessions.at_hand:
                session = await self._sessions.acquire(caller)
            else:
                async with asyncio.timeout(self._wait_seconds):
                    session = await self._sessions.acquire(caller)
        except MISCONFIGURED as problem:
            raise ConfigurationError(f"the database refuses this service: {problem}") from None
        except asyncpg.ProtocolViolationError as problem:
            if "startup parameter" in str(problem):
                raise ConfigurationError(f"{POOLER_FOUND} ({problem})") from None
            raise self._away(problem) from problem
        except TimeoutError:
            # This is no failure to connect, which would begin a pause: perhaps all connections were just in use.
            raise DatabaseUnavailable(f"no connection within {self._wait_seconds:.0f} s") from None
        except CONNECTING_FAILED as problem:
            raise self._away(problem) from problem
        self._failures = 0
        return session

    def _away(self, problem: BaseException) -> DatabaseUnavailable:
        """Notes a failure to connect, after which nobody tries for a while."""
        self._failures += 1
        self._next_attempt = asyncio.get_running_loop().time() + RECONNECTING.pause_seconds(self._failures)
        return DatabaseUnavailable(f"the database is away: {explain(problem)}")

    @asynccontextmanager
    async def transaction(self, caller: str | None = None) -> AsyncIterator[Connection]:
        """A connection in one transaction. It is READ COMMITTED: each statement sees what others have committed before it."""
        async with self.connection(caller) as connection, connection.transaction():
            yield connection


def application_name(instance: UUID | None) -> str:
    """The name under which an instance stands in the server's list of connections."""
    return f"batchseal {instance}" if instance else "batchseal"


def broke(session: Session, problem: BaseException) -> bool:
    """Whether `problem` means that the connection cannot be used any more. If so, closes it."""
    if session.is_closed():
        return True
    # A server that shuts down sends a last message. If that comes between two statements, asyncpg raises InternalClientError, and
    # then InterfaceError for each later statement, as if this service had used the connection wrongly.
    link: BaseException | None = problem
    while link is not None:
        if isinstance(link, (asyncpg.InternalClientError, *SERVER_AWAY)):
            session.terminate()
            return True
        link = link.__context__
    return False
