"""The table `evidence_records`: of each operation that asked for it, the time stamp over its signed documents.

A row comes with the end of its operation (`record_outcomes` in documents.sql), and again where failed documents were handed in
once more and have ended. Whoever makes the record claims the row, and every write names the fence of that claim, as for
operations. A claim ends by itself after a time unless it is renewed, and at once where the signer of its instance starts anew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

from batchseal.store.columns import day_of
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import OperationRow, operation_row


class RecordState(IntEnum):
    """The numbers are stored, so they must never change."""

    TO_MAKE = 1
    MADE = 2
    GIVEN_UP = 3


@dataclass(frozen=True, slots=True)
class ClaimedRecord:
    """A record that this process is to make. Every write names `fence`.

    `digests` (SHA-256 of the signed documents with these `ordinals`, one after the other) are there from the second try on.
    `age_seconds` is the time since the end of the operation, by the database's clock.
    """

    operation: OperationRow
    day: date
    fence: int
    tries: int
    ordinals: Sequence[int]
    digests: bytes
    age_seconds: float


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A record as its readers see it. `due_seconds`: when it is tried again, 0 if that is not known.

    `token` is empty where no document of the operation was signed. `fence` tells one making of the record from another.
    """

    state: RecordState
    fence: int
    due_seconds: float
    ordinals: Sequence[int] = ()
    digests: bytes = b""
    token: bytes = b""


class EvidenceTable:
    """The rows, as one instance uses them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, instance: UUID, shared: str | None = None) -> None:
        """`shared` names the payload store of this instance if others read it too."""
        self._database = database
        self._instance = instance
        self._shared = shared

    async def claim(self, limit: int, seconds: float, *, at_work: Collection[int] = ()) -> list[ClaimedRecord]:
        """Up to `limit` records that are due, the oldest first, but not those that this process works on already.

        For `seconds` nobody else claims them, unless this process is started anew.
        """
        async with self._database.connection() as connection:
            asked = self._instance, limit, seconds, list(at_work)
            if self._shared is None:
                records = await connection.fetch(QUERIES["claim_records"], *asked)
            else:
                records = await connection.fetch(QUERIES["claim_records_in_store"], *asked, self._shared)
        return [_claimed(record) for record in records]

    async def take_back(self) -> int:
        """Makes all records due at once that are still to be made. For the start of the signer."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["take_back_records"], self._instance))

    async def renew(self, claimed: ClaimedRecord, seconds: float) -> bool:
        """Nobody else claims the record for `seconds` from now on. If the fence is stale, changes nothing and returns False."""
        return await self._write("renew_record", claimed, seconds)

    async def keep_digests(self, claimed: ClaimedRecord, ordinals: Sequence[int], digests: bytes) -> bool:
        """Keeps what the record is about. If the fence is stale, changes nothing and returns False."""
        return await self._write("keep_record_digests", claimed, list(ordinals), digests)

    async def end(self, claimed: ClaimedRecord, state: RecordState, token: bytes, root: bytes, event: int) -> bool:
        """The record is made or given up, with an entry of the audit trail. False, and nothing changed, with a stale fence."""
        return await self._write("end_record", claimed, state, token, root, event)

    async def postpone(self, claimed: ClaimedRecord, seconds: float) -> bool:
        """A try has failed. If the fence is stale, changes nothing and returns False."""
        return await self._write("postpone_record", claimed, seconds)

    async def _write(self, query: str, claimed: ClaimedRecord, *values: object) -> bool:
        async with self._database.connection() as connection:
            whose = claimed.operation.id, claimed.day, claimed.fence
            return await connection.fetchval(QUERIES[query], *whose, *values) is not None

    async def to_make(self) -> int:
        """How many records this instance has still to make."""
        async with self._database.connection() as connection:
            return int(await connection.fetchval(QUERIES["records_to_make"], self._instance))

    async def state(self, operation_id: int, created_at: datetime, *, caller: str) -> RecordRow | None:
        """How far the record of an operation is, without what is long. None where there is no row: it has not ended yet."""
        return await self._read("evidence_record_state", operation_id, created_at, caller)

    async def whole(self, operation_id: int, created_at: datetime, *, caller: str) -> RecordRow | None:
        """The record of an operation with all that it is made of."""
        return await self._read("evidence_record", operation_id, created_at, caller)

    async def _read(self, query: str, operation_id: int, created_at: datetime, caller: str) -> RecordRow | None:
        async with self._database.connection(caller) as connection:
            record = await connection.fetchrow(QUERIES[query], operation_id, day_of(created_at))
        if record is None:
            return None
        fields = dict(record)
        return RecordRow(
            **{**fields, "state": RecordState(fields["state"]), "due_seconds": fields["due_seconds"] or 0.0}
        )


def _claimed(record: Mapping[str, Any]) -> ClaimedRecord:
    return ClaimedRecord(
        operation_row(record),
        record["day"],
        record["record_fence"],
        record["record_tries"],
        tuple(record["ordinals"]),
        record["digests"],
        record["age_seconds"],
    )
