"""The accounts of the operator's page, and the sessions of those who are signed in there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from batchseal.settings.load import Settings
from batchseal.store.address import address_of
from batchseal.store.database import Database
from batchseal.store.opening import open_database
from batchseal.store.queries import QUERIES

SCOPE, POOL_SIZE = {"batchseal.scope": "operators"}, 2


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its row says it. `password` is a PHC string; `totp_key` is None where no one-time codes are asked for."""

    name: str
    role: str
    password: str
    totp_key: bytes | None
    totp_step: int
    created_at: datetime
    changed_at: datetime
    signed_in_at: datetime | None


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """Who is signed in: `source` says how (account, sandbox, oidc or header), `address` from where, `identity` who that is at an
    OpenID provider.
    """

    name: str
    role: str
    source: str
    address: str
    began_at: datetime
    identity: str


async def connect_accounts(settings: Settings) -> Database:
    """Connections that see the accounts and sessions, and no other row. Raises DatabaseUnavailable, ConfigurationError."""
    return await open_database(address_of(settings), POOL_SIZE, everything=False, further_settings=SCOPE)


class OperatorAccounts:
    """The accounts and sessions. Every method raises DatabaseUnavailable.

    `database` must see everything, or have the scope `operators`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exist(self) -> bool:
        """Whether the database has these tables. That of an earlier release has none."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["has_operator_tables"]))

    async def database_id(self) -> UUID:
        """The id of the database (`store/identity.py`)."""
        async with self._database.connection() as connection:
            found: UUID = await connection.fetchval(QUERIES["operator_database_id"])
            return found

    async def all(self) -> list[Account]:
        """All accounts, by name."""
        async with self._database.connection() as connection:
            return [account(record) for record in await connection.fetch(QUERIES["operator_accounts"])]

    async def find(self, name: str) -> Account | None:
        """The account of this name."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["operator_account"], name)
        return account(record) if record else None

    async def any(self) -> bool:
        """Whether there is any account."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(QUERIES["has_operator_accounts"]))

    async def add(self, name: str, role: str, password: str, totp_key: bytes | None) -> bool:
        """Adds an account. False if there is one of this name."""
        async with self._database.connection() as connection:
            added = await connection.fetchval(QUERIES["add_operator_account"], name, role, password, totp_key)
        return added is not None

    async def remove(self, name: str) -> bool:
        """Removes an account and ends its sessions. False if there is none."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["remove_operator_account"], name) is not None

    async def change(
        self,
        name: str,
        *,
        role: str | None = None,
        password: str | None = None,
        totp_key: bytes | None = None,
        replaces_totp: bool = False,
    ) -> bool:
        """Changes what is given, and ends the sessions of the account. False if there is none.

        With `replaces_totp`, `totp_key` takes the place of the present key; with None no codes are asked for any more.
        """
        values = name, role, password, replaces_totp, totp_key
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["change_operator_account"], *values) is not None

    async def use_totp_step(self, name: str, step: int) -> bool:
        """Notes that the one-time code of this time step was used. False if it, or a later one, was used before."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["use_totp_step"], name, step) is not None

    async def begin_session(
        self, digest: bytes, name: str, role: str, source: str, address: str, hours: int, identity: str = ""
    ) -> None:
        """Stores a new session, which is named by the SHA-256 of its token and lasts so many hours at most."""
        values = digest, name, role, source, address, hours, identity
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["begin_operator_session"], *values)

    async def session(self, digest: bytes, idle_minutes: int, *, is_use: bool = True) -> OperatorSession | None:
        """The session of this digest, if it is not over and was used within so many minutes. `is_use`: this is a use of it."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["operator_session"], digest, idle_minutes, is_use)
        return OperatorSession(**record) if record else None

    async def end_session(self, digest: bytes) -> None:
        """Ends a session."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["end_operator_session"], digest)


def account(record: Mapping[str, Any]) -> Account:
    """The account in a database record."""
    return Account(**{name: record[name] for name in Account.__slots__})
