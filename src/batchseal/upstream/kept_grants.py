"""Grants that a person gives (a one-time password), and that are kept for many calls: in the database, for all instances.

Before each call but the first one, such a grant is exchanged for a new one (`extendTransaction`, CSC v1.0.4 11.7). So calls
follow each other, and the new value is stored before it is used. How many signatures are left is booked before they are made.

The value is encrypted with a key from the secret of the client service, which is not in the database. Where that secret was
replaced, the grant must be renewed.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import structlog

from batchseal.errors import (
    AccessLapsed,
    CallHeldBack,
    CallTooLarge,
    DatabaseUnavailable,
    GrantExpired,
    UpstreamError,
    UpstreamPermanent,
)
from batchseal.store.credentials import GrantState, StoredGrant
from batchseal.upstream.interface import Account, Grant, RemoteKey, SigningService

NONCE_BYTES = 12
DATABASE_AWAY_SECONDS = 1.0  # between two looks at a database that is away

log = structlog.get_logger("upstream")


class GrantTable(Protocol):
    """Where the grants are kept (`store/credentials.py`)."""

    async def grant(self, credential: str, client: str) -> StoredGrant | None: ...
    async def spend(self, credential: str, client: str, number: int, signatures: int) -> int | None: ...
    async def extend(self, credential: str, client: str, number: int, value: bytes) -> None: ...
    async def end(self, credential: str, client: str, number: int, problem: str) -> None: ...
    async def renew(self, credential: str, client: str, value: bytes, seconds: float, total: int) -> datetime: ...
    async def grants(self) -> list[GrantState]: ...


class KeptGrants:
    """The kept grants of all accounts. A call has its grant from `take` to `done`; others of the credential wait meanwhile."""

    def __init__(self, service: SigningService, table: GrantTable) -> None:
        self._service = service
        self._table = table
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._left: dict[tuple[str, str], int] = {}

    async def take(self, account: Account, key: RemoteKey, digests: Sequence[bytes]) -> Grant:
        """A grant for one call with these digests, whose signatures are booked. `done` must follow.

        Raises AccessLapsed if there is no grant that a call can be made with, CallTooLarge if it has fewer signatures left, and
        CallHeldBack while the database is away.
        """
        turn = self._turns.setdefault(place_of(account, key), asyncio.Lock())
        await turn.acquire()
        try:
            return await self._take(account, key, digests)
        except DatabaseUnavailable as problem:
            turn.release()
            cause = f"the grant is not at hand: {problem.cause}"
            raise CallHeldBack(cause, retry_after_seconds=DATABASE_AWAY_SECONDS) from None
        except BaseException:
            turn.release()
            raise

    def done(self, account: Account, key: RemoteKey) -> None:
        """The call has ended, whatever came of it."""
        self._turns[place_of(account, key)].release()

    def left(self, account: Account, key: RemoteKey) -> int | None:
        """How many signatures are left, as far as this process knows."""
        return self._left.get(place_of(account, key))

    async def _take(self, account: Account, key: RemoteKey, digests: Sequence[bytes]) -> Grant:
        place = place_of(account, key)
        stored = await self._table.grant(*place)
        value = decrypted(account, key, stored.value) if stored is not None else None
        if stored is None or value is None:
            raise lapsed(account, key, "it has none, or it has ended")
        self._left[place] = stored.left
        if stored.left < len(digests):
            if stored.left > 0:
                raise CallTooLarge(f"the grant has {stored.left} signatures left")
            raise lapsed(account, key, "its signatures are used up")
        grant = Grant(value, 0.0)
        if stored.left < stored.total:  # it was used before
            try:
                grant = await self._service.extend(account, key, grant, digests)
            except (GrantExpired, UpstreamPermanent) as problem:
                await self._table.end(*place, stored.number, problem.cause)
                raise lapsed(account, key, problem.cause) from None
            await self._keep(place, stored.number, encrypted(account, key, grant.value))
        left = await self._table.spend(*place, stored.number, len(digests))
        if left is None:  # it was renewed, or has ended, in this moment
            raise CallHeldBack("the grant was changed meanwhile")
        self._left[place] = left
        return grant

    async def _keep(self, place: tuple[str, str], number: int, value: bytes) -> None:
        """Stores the new value. The old one is of no use any more, so this is tried for as long as the database is away."""
        while True:
            try:
                return await self._table.extend(*place, number, value)
            except DatabaseUnavailable as problem:
                log.info("a grant waits for the database", credential=place[0], cause=problem.cause)
            await asyncio.sleep(DATABASE_AWAY_SECONDS)

    async def renew(self, account: Account, key: RemoteKey, grant: Grant, signatures: int) -> datetime:
        """Keeps a new grant in place of the present one. Returns when it ends. Raises DatabaseUnavailable."""
        value = encrypted(account, key, grant.value)
        ends_at = await self._table.renew(*place_of(account, key), value, grant.expires_in_seconds, signatures)
        self._left[place_of(account, key)] = signatures
        return ends_at

    async def states(self) -> list[GrantState]:
        """How the grants stand. Empty while the database is away."""
        with suppress(DatabaseUnavailable):
            return await self._table.grants()
        return []


def place_of(account: Account, key: RemoteKey) -> tuple[str, str]:
    """The row of a grant: the ID of the credential, and the client service."""
    return key.credential.credential_id, account.name


def lapsed(account: Account, key: RemoteKey, why: str) -> UpstreamError:
    credential = key.credential.credential_id
    return AccessLapsed(
        f"credential {credential!r} of {account.name} needs a new grant ({why}): batchseal credential renew {account.name}"
    )


def _key(account: Account, key: RemoteKey) -> bytes:
    """The key that a grant is encrypted with: HKDF-SHA256 (RFC 5869) with one block of output."""
    pseudorandom = hmac.digest(b"batchseal kept grant", account.secret.encode(), hashlib.sha256)
    return hmac.digest(pseudorandom, "\0".join(place_of(account, key)).encode() + b"\x01", hashlib.sha256)


def encrypted(account: Account, key: RemoteKey, value: str) -> bytes:
    """AES-256-GCM: the nonce, and the encrypted value with its tag."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(_key(account, key)).encrypt(nonce, value.encode(), None)


def decrypted(account: Account, key: RemoteKey, stored: bytes) -> str | None:
    """None if it was encrypted with another secret of the client service."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(_key(account, key)).decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], None).decode()
    except InvalidTag:
        return None
