"""`Store`: every read and write of operations and documents, each a short transaction."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import xxhash

from batchseal.document import DocumentOutcome
from batchseal.errors import InternalError, ReferenceTaken, TooLarge, ValueNotAllowed
from batchseal.operation import DocumentStatus, OperationStatus
from batchseal.store import migrations
from batchseal.store.database import Connection, Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import (
    ClaimedOperation,
    DocumentRow,
    NewDocument,
    NewOperation,
    OperationRow,
    Statistics,
    claimed_operation,
    document_row,
    operation_row,
)

# Under it nobody works yet: it only keeps other instances away until the signer is woken.
REGISTRATION_LEASE_SECONDS = 30.0
# A B-tree entry holds 2,704 bytes: client service and reference must fit together.
MAX_KEY_BYTES = 2_600
MAX_CAUSE_CHARACTERS = 500
DOCUMENT_COLUMNS = (
    "operation_id",
    "content_bytes",
    "month",
    "ordinal",
    "reference_key",
    "status",
    "content_type",
    "sign_error",
    "external_reference",
    "name",
    "cause",
)


class Store:
    """Operations, documents and leases in PostgreSQL.

    `instance` is who claims. Any method raises DatabaseUnavailable while the database is away; the pool comes back by
    itself. Methods that a caller's request reaches take the client service and see nothing of any other.
    """

    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance
        self._months: set[date] = set()  # whose partition is known to exist

    @classmethod
    async def connect(cls, dsn: str, *, instance: UUID, pool_size: int = 4) -> "Store":
        return cls(await Database.open(dsn, pool_size), instance)

    async def close(self) -> None:
        await self._database.close()

    async def ping(self) -> None:
        async with self._database.connection() as connection:
            await connection.fetchval("SELECT 1", timeout=5)

    async def migrate(self, *, recreate: bool = False) -> None:
        """Brings the schema up to date, before anything else is called. `recreate` deletes everything first."""
        await migrations.migrate(self._database, recreate=recreate)

    # --- registering -------------------------------------------------------------------------------------------------

    async def register(self, operation: NewOperation, documents: Sequence[NewDocument]) -> OperationRow:
        """Stores an operation with its documents, or nothing.

        Raises ReferenceTaken with the holder's id; of several that ask at once exactly one gets the reference. The row
        is leased to its instance for a short while, by the database's clock.
        """
        check_storable(operation, documents)
        async with self._database.transaction() as connection:
            identity = await self._take_reference(connection, operation)
            record = await connection.fetchrow(
                QUERIES["insert_operation"],
                identity,
                operation.payload_id,
                operation.client_service,
                operation.external_reference,
                operation.description,
                operation.mode,
                operation.instance,
                operation.host,
                operation.port,
                len(documents),
                sum(document.refusal is not None for document in documents),
                operation.return_signed_content,
                REGISTRATION_LEASE_SECONDS,
            )
            assert record is not None
            row = operation_row(record)
            month = month_of(row.created_at)
            if month not in self._months:
                await migrations.make_partitions(connection, month)
            await connection.copy_records_to_table(
                "documents",
                columns=DOCUMENT_COLUMNS,
                records=[document_record(row, month, document) for document in documents],
            )
        self._months.add(month)
        return row

    async def _take_reference(self, connection: Connection, operation: NewOperation) -> int:
        key = operation.client_service, operation.external_reference
        for _ in range(5):
            identity = await connection.fetchval(QUERIES["take_reference"], *key)
            if identity is not None:
                return int(identity)
            # A second statement: the first one's snapshot does not show the row that it ran into.
            holder = await connection.fetchval(QUERIES["reference_holder"], *key)
            if holder is not None:
                raise ReferenceTaken(
                    f"external reference {operation.external_reference!r} is taken by operation {holder}",
                    operation_id=holder,
                )
        raise InternalError("an external reference was taken and freed again five times in a row")

    # --- reading -----------------------------------------------------------------------------------------------------

    async def reference_holder(self, client_service: str, reference: str) -> int | None:
        """The operation that has this external reference, before a body is read in vain."""
        if not is_storable(reference):
            return None
        async with self._database.connection() as connection:
            holder: int | None = await connection.fetchval(QUERIES["reference_holder"], client_service, reference)
            return holder

    async def operations_with_reference(self, client_service: str, reference: str) -> list[OperationRow]:
        """Newest first; more than one where a purged operation's reference was used again."""
        if not is_storable(reference):
            return []
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["operations_with_reference"], client_service, reference)
            return [operation_row(record) for record in records]

    async def operation(self, client_service: str, operation_id: int) -> OperationRow | None:
        if not 0 < operation_id < 1 << 63:
            return None
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["operation"], client_service, operation_id)
            return operation_row(record) if record else None

    async def documents(self, operation_id: int, created_at: datetime) -> list[DocumentRow]:
        """In the order of the request. `created_at` is the operation's: it tells the partition."""
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["documents"], operation_id, month_of(created_at))
            return [document_row(record) for record in records]

    async def operation_of_document(self, client_service: str, document_reference: str) -> int | None:
        """The newest operation that has a document with this external reference."""
        if not is_storable(document_reference):
            return None
        key = reference_key(client_service, document_reference)
        async with self._database.connection() as connection:
            found: int | None = await connection.fetchval(
                QUERIES["operation_of_document"], client_service, document_reference, key
            )
            return found

    async def live_payloads(self, instance: UUID) -> set[UUID]:
        """Payloads that must stay; any other spill file of the instance is an orphan."""
        async with self._database.connection() as connection:
            return {record["payload_id"] for record in await connection.fetch(QUERIES["live_payloads"], instance)}

    async def statistics(self) -> Statistics:
        async with self._database.connection() as connection:
            counts = await connection.fetch(QUERIES["counts_by_status"])
            unfinished = await connection.fetchrow(QUERIES["unfinished"])
        assert unfinished is not None
        return Statistics(
            operations={OperationStatus(count["status"]): count["operations"] for count in counts},
            documents={OperationStatus(count["status"]): count["documents"] for count in counts},
            unfinished=unfinished["operations"],
            oldest_unfinished_seconds=unfinished["oldest_seconds"],
            database_bytes=unfinished["database_bytes"],
        )

    # --- leases ------------------------------------------------------------------------------------------------------

    async def claim(self, limit: int, lease_seconds: float) -> list[ClaimedOperation]:
        """Leases up to `limit` operations of this instance that are due and that nobody works on, oldest first.

        One that has just been registered is left to `claim_one` until its registration lease has run out.
        """
        async with self._database.connection() as connection:
            records = await connection.fetch(QUERIES["claim"], self._instance, limit, lease_seconds)
            return sorted((claimed_operation(record) for record in records), key=lambda claimed: claimed.row.id)

    async def claim_one(self, operation_id: int, lease_seconds: float) -> ClaimedOperation | None:
        """Leases one operation, even before it is due. None where it is finished, held, or another instance's."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["claim_one"], self._instance, operation_id, lease_seconds)
            return claimed_operation(record) if record else None

    async def take_back_own_leases(self) -> int:
        """Frees every lease of this instance: for the start of its signer, whose predecessor is dead. How many."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["take_back_own_leases"], self._instance))

    async def renew(self, operation_id: int, fence: int, lease_seconds: float) -> bool:
        """False where the lease is somebody else's by now, or the operation is finished: stop working on it."""
        async with self._database.connection() as connection:
            renewed = await connection.fetchval(QUERIES["renew"], operation_id, fence, lease_seconds)
            return renewed is not None

    async def record_outcomes(
        self, operation_id: int, created_at: datetime, fence: int, outcomes: Sequence[DocumentOutcome]
    ) -> bool:
        """Ends documents. False, and nothing changed, where the fence is stale. A document ends once: a second outcome
        of the same one is ignored."""
        columns = outcome_columns(outcomes)
        async with self._database.transaction() as connection:
            # The lock makes the fence hold until the commit: nobody can claim the row in between.
            if await connection.fetchval(QUERIES["lock_held"], operation_id, fence) is None:
                return False
            ended = await connection.fetch(
                QUERIES["record_outcomes"], operation_id, month_of(created_at), *columns
            )
            signed = sum(record["status"] == DocumentStatus.SIGNED for record in ended)
            if ended:
                await connection.execute(QUERIES["count_outcomes"], operation_id, signed, len(ended) - signed)
        return True

    async def set_status(
        self, operation_id: int, fence: int, status: OperationStatus, *, try_after_seconds: float | None = None
    ) -> bool:
        """Ends the lease: for good with a final status, else until `try_after_seconds` from now. False where stale.

        The table refuses EXECUTED with a document that is not SIGNED, and a final status with one that is RECEIVED.
        """
        if not status.finished and status is not OperationStatus.EXECUTION_ERROR:
            raise ValueError(f"{status.name} is not a status to set")
        async with self._database.connection() as connection:
            if status.finished:
                changed = await connection.fetchval(QUERIES["finish"], operation_id, fence, status)
            else:
                changed = await connection.fetchval(
                    QUERIES["postpone"], operation_id, fence, status, try_after_seconds or 0.0
                )
            return changed is not None


def month_of(created_at: datetime) -> date:
    return date(created_at.year, created_at.month, 1)


def reference_key(client_service: str, reference: str) -> int:
    """32 bits, signed, that stand for a caller's document reference in the index. Stored: never change it."""
    return xxhash.xxh32_intdigest(f"{client_service}\0{reference}".encode()) - (1 << 31)


def document_record(row: OperationRow, month: date, document: NewDocument) -> tuple[object, ...]:
    """Values in the order of DOCUMENT_COLUMNS."""
    refusal = document.refusal
    return (
        row.id,
        document.content_bytes,
        month,
        document.ordinal,
        reference_key(row.client_service, document.external_reference),
        DocumentStatus.ERROR_SIGNING if refusal else DocumentStatus.RECEIVED,
        document.content_type,
        refusal.sign_error if refusal else 0,
        document.external_reference,
        document.name,
        storable_cause(refusal.cause) if refusal else "",
    )


def outcome_columns(outcomes: Sequence[DocumentOutcome]) -> tuple[list[int], list[int], list[int], list[str], list[int]]:
    """Outcomes as arrays: ordinals, statuses, signErrors, causes, additional bytes."""
    return (
        [outcome.ordinal for outcome in outcomes],
        [DocumentStatus.ERROR_SIGNING if outcome.refusal else DocumentStatus.SIGNED for outcome in outcomes],
        [outcome.refusal.sign_error if outcome.refusal else 0 for outcome in outcomes],
        [storable_cause(outcome.refusal.cause) if outcome.refusal else "" for outcome in outcomes],
        [outcome.additional_bytes for outcome in outcomes],
    )


def is_storable(text: str) -> bool:
    """PostgreSQL's text takes every character but U+0000; UTF-8 has no lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def storable_cause(cause: str) -> str:
    """Causes may quote what others sent, of any length."""
    return cause.replace("\0", "")[:MAX_CAUSE_CHARACTERS].encode("utf-8", "replace").decode()


def check_storable(operation: NewOperation, documents: Sequence[NewDocument]) -> None:
    """Raises ValueNotAllowed or TooLarge for what the database could not keep as it is."""
    if not is_storable(operation.external_reference) or not is_storable(operation.description):
        raise ValueNotAllowed("externalReference or description contains U+0000 or half a surrogate pair")
    if len(f"{operation.client_service}{operation.external_reference}".encode()) > MAX_KEY_BYTES:
        raise TooLarge("externalReference takes more bytes than the database keeps")
    for document in documents:
        if not is_storable(document.external_reference) or not is_storable(document.name):
            raise ValueNotAllowed(
                f"document {document.ordinal}: externalReference or name contains U+0000 or half a surrogate pair"
            )
