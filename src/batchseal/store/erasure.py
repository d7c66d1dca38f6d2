"""`Erasure` removes the texts of single operations when an operator asks for it. Their references stay taken.

The texts are the description of the operation, and the names, references and causes of its documents. The audit trail holds none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from batchseal.errors import ConfigurationError
from batchseal.store.database import Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import PayloadColumns
from batchseal.store.trail import PendingEntry


@dataclass(frozen=True, slots=True)
class Named:
    """An operation with the external reference that was asked for."""

    id: int
    client_service: str
    finished: bool
    payload_purged: bool
    entry_waits: bool  # the audit entry of its end still needs its payload
    payload_store: str | None  # the kind of store that its payloads lie in; None: in the folder of an instance
    payloads: PayloadColumns


def named(record: asyncpg.Record) -> Named:
    found = dict(record)
    payload_id, payload_record = found.pop("payload_id"), found.pop("payload_record")
    further = tuple(found.pop("further_payloads"))
    return Named(**found, payloads=PayloadColumns(payload_id, payload_record, further))


class Erasure:
    """For a process that sees the rows of all client services. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, reference: str, client_service: str | None) -> list[Named]:
        """All operations with this external reference, the oldest first; of all client services if none is given.

        Raises ConfigurationError if the schema is that of an earlier release.
        """
        async with self._database.connection() as connection:
            if not await connection.fetchval(QUERIES["can_erase_texts"]):
                raise ConfigurationError(
                    "the database is that of an earlier release; start the service once to bring it up to date"
                )
            records = await connection.fetch(QUERIES["with_reference"], reference, client_service)
            return [named(record) for record in records]

    async def erase(self, operation_ids: Sequence[int], *, with_payloads: bool) -> list[PendingEntry]:
        """Removes the texts of these operations. Returns the audit entries that tell of it, which are not in the chain yet.

        An operation that is not finished is left as it is, and without `with_payloads` one that still has its payload as well. A
        payload that nobody needs any more is deleted by the sweep of the instance that holds it.
        """
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["erase_texts"], list(operation_ids), with_payloads)
        return [
            PendingEntry(
                id=record["id"],
                at=record["at"],
                operation_id=record["operation_id"],
                event=record["event"],
                signed=record["signed"],
                failed=record["failed"],
                client_service=record["client_service"],
                digest=record["digest"],
                payloads=PayloadColumns(record["payload_id"], b"", ()),
                signed_ordinals=(),
            )
            for record in records
        ]
