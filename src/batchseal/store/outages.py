"""Which errors of the database mean that it is away, and which ones no later attempt can mend."""

import asyncpg

from batchseal.errors import DatabaseUnavailable

# Errors that mean "this server does not take what the service writes": it is a standby, or a primary that was replaced by one. A
# statement that collides with the recovery of a standby is a serialization failure. Nothing else here raises one, since every
# transaction is READ COMMITTED.
NO_PRIMARY: tuple[type[BaseException], ...] = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.TargetServerAttributeNotMatched,
)
# Errors that mean "the server is away", not "the statement is wrong".
SERVER_AWAY: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    *NO_PRIMARY,
)
# Errors that mean "another transaction was in the way".
COLLISION: tuple[type[BaseException], ...] = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
# Errors that mean the same as SERVER_AWAY while a connection is opened, when there is no statement yet that could be wrong.
CONNECTING_FAILED: tuple[type[BaseException], ...] = (
    *SERVER_AWAY,
    DatabaseUnavailable,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# The server does not accept who connects.
REFUSED = asyncpg.InvalidAuthorizationSpecificationError  # a wrong password is one of them
# Errors that stay the same however often the service tries to connect.
MISCONFIGURED = (asyncpg.InvalidCatalogNameError, REFUSED, asyncpg.ClientConfigurationError)


def explain(problem: BaseException) -> str:
    """The message of the error, or its type if it has no message."""
    return str(problem) or type(problem).__name__
