"""The table `credentials`: what signers note of credentials, and the grants that a person has given.

A grant is encrypted before it comes here (`upstream/kept_grants.py`): who reads the table cannot sign with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from batchseal.store.columns import storable_cause
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES

# A grant ends soon when so many days are left, or when so much of it is used.
GRANT_DAYS, GRANT_USED = 7.0, 0.9


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """A grant as it is stored. `number` grows when a person renews it; `left` signatures may still be booked."""

    value: bytes
    number: int
    ends_at: datetime
    total: int
    left: int


@dataclass(frozen=True, slots=True)
class GrantState:
    """How a grant stands. `seconds` until its end; None if there never was one."""

    credential_id: str
    client_service: str
    total: int | None
    left: int | None
    seconds: float | None

    @property
    def state(self) -> str:
        """See `grant_state`."""
        return grant_state(None if self.seconds is None else self.seconds / 86_400, self.total, self.left)


def grant_state(days: float | None, total: int | None, left: int | None) -> str:
    """How a grant stands that a person gives: `ok`, `ends soon` (GRANT_DAYS, GRANT_USED), or `lapsed`: it must be renewed."""
    if days is None or days <= 0 or not left:
        return "lapsed"
    is_used = total is not None and left <= total * (1 - GRANT_USED)
    return "ends soon" if days <= GRANT_DAYS or is_used else "ok"


class CredentialTable:
    """Every method raises DatabaseUnavailable. `credential` and `client` are the ID of a credential, and its client service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, credential: str, client: str, facts: Mapping[str, Any], *, needs_otp: bool) -> None:
        """Notes what was read of a credential."""
        text = msgspec.json.encode(facts).decode().replace("\\u0000", "")
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_credential"], credential, client, text, needs_otp)

    async def note_problem(self, credential: str, client: str, problem: str) -> None:
        """Notes why a credential cannot be used."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["note_credential_problem"], credential, client, storable_cause(problem))

    async def grant(self, credential: str, client: str) -> StoredGrant | None:
        """The present grant, unless it has ended."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["kept_grant"], credential, client)
        return StoredGrant(**record) if record else None

    async def spend(self, credential: str, client: str, number: int, signatures: int) -> int | None:
        """Books signatures. Returns how many are left then; None, and nothing booked, if the grant has not so many."""
        async with self._database.connection() as connection:
            left: int | None = await connection.fetchval(QUERIES["spend_grant"], credential, client, number, signatures)
        return left

    async def extend(self, credential: str, client: str, number: int, value: bytes) -> None:
        """The value of the grant has become another one."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["extend_grant"], credential, client, number, value)

    async def end(self, credential: str, client: str, number: int, problem: str) -> None:
        """The grant is of no use any more."""
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["end_grant"], credential, client, number, storable_cause(problem))

    async def renew(self, credential: str, client: str, value: bytes, seconds: float, total: int) -> datetime:
        """Stores a new grant, and has what waits for it go on at once. Returns when the grant ends."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["renew_grant"], credential, client, value, seconds, total)
        ends_at: datetime = record["ends_at"]
        return ends_at

    async def grants(self) -> list[GrantState]:
        """How the grants stand of credentials that need a person."""
        async with self._database.connection() as connection:
            return [GrantState(**record) for record in await connection.fetch(QUERIES["grants_state"])]
