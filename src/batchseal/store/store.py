"""`Store`: every read and write of operations and documents, each a short transaction."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import date, datetime
from uuid import UUID

from batchseal.document import DocumentOutcome
from batchseal.errors import InternalError, ReferenceTaken
from batchseal.operation import Mode
from batchseal.store import migrations
from batchseal.store.columns import (
    check_storable,
    day_of,
    document_columns,
    is_storable,
    kept_columns,
    kept_row,
    month_of,
    outcome_columns,
    reference_key,
)
from batchseal.store.database import Connection, Database
from batchseal.store.queries import QUERIES
from batchseal.store.rows import (
    WAKE_SECONDS,
    ClaimedOperation,
    DocumentRow,
    Ended,
    Kept,
    NewDocument,
    NewOperation,
    OperationRow,
    PayloadColumns,
    claimed_operation,
    document_row,
    operation_row,
    payload_columns,
)
from batchseal.system.crash_sites import crash_site

# The signer's, if it is handed the operation at once; else it only keeps other instances away.
REGISTRATION_LEASE_SECONDS = 30.0
REOPENED_SECONDS = 10.0  # until what was not woken is due


class Store:
    """Operations, documents and leases in PostgreSQL.

    `instance` is who claims. Any method raises DatabaseUnavailable while the database is away; the pool comes
    back by itself. Methods that a caller's request reaches take the client service and see nothing of any
    other.
    """

    def __init__(self, database: Database, instance: UUID) -> None:
        self._database = database
        self._instance = instance
        self._month: date | None = None  # by the database's clock; its partition exists
        self._days: set[date] = set()  # whose partitions of signatures exist

    @classmethod
    async def connect(cls, dsn: str, *, instance: UUID, pool_size: int = 4, everything: bool = True) -> "Store":
        """Without `everything` only what is asked for a caller can be seen."""
        return cls(await Database.open(dsn, pool_size, everything=everything), instance)

    @property
    def database(self) -> Database:
        """For `Upkeep` and `AuditTrail`."""
        return self._database

    async def close(self) -> None:
        await self._database.close()

    async def ping(self) -> None:
        async with self._database.connection() as connection:
            await connection.fetchval("SELECT 1", timeout=5)

    async def migrate(self, *, recreate: bool = False, role: str | None = None) -> None:
        """Brings the schema up to date, before any other call, and lets `role` use it. `recreate` deletes all of it first."""
        await migrations.migrate(self._database, recreate=recreate, role=role)

    async def role(self) -> tuple[str, bool]:
        """Who this store connects as, quoted, and whether row security does not bind it."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["current_role"])
            return record["role"], record["unbound"]

    # --- registering ----------------------------------------------------------------------------------------

    async def register(self, operation: NewOperation, documents: Sequence[NewDocument]) -> OperationRow:
        """Stores an operation with its documents, or nothing.

        Raises ReferenceTaken with the holder's id; of several that ask at once exactly one gets the
        reference. The row is leased to its instance for a short while, by the database's clock.
        """
        check_storable(operation, documents)
        async with self._database.connection(operation.client_service) as connection:
            row = await self._insert(connection, operation, documents)
        crash_site("registered")
        return row

    async def _insert(
        self, connection: Connection, operation: NewOperation, documents: Sequence[NewDocument]
    ) -> OperationRow:
        columns = document_columns(operation.client_service, documents)
        for _ in range(5):
            month = self._month or await self._new_month(connection)
            record = await connection.fetchrow(
                QUERIES["register"].format(documents=migrations.partition_name(month)),
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
                operation.documents_digest,
                month,
                *columns,
                Mode.SYNC,
                operation.payload_record,
            )
            if record is not None:
                return operation_row(record)
            # A second statement: the first one's snapshot does not show the row that it ran into.
            taken = operation.client_service, operation.external_reference
            holder = await connection.fetchval(QUERIES["reference_holder"], *taken)
            if holder is not None:
                raise reference_taken(operation.external_reference, holder)
            self._month = None  # it may have ended
        raise InternalError("an external reference was taken and freed again five times in a row")

    async def _new_month(self, connection: Connection) -> date:
        month: date = await connection.fetchval(QUERIES["month"])
        await migrations.make_partitions(connection, month)
        self._month = month
        return month

    async def reopen(self, operation: OperationRow, ordinals: Sequence[int]) -> OperationRow | None:
        """Opens failed documents of an EXECUTION_FAILED operation, due when woken or soon. None where it is none any more."""
        day = await self._day(operation.created_at)
        async with self._database.transaction(operation.client_service) as connection:
            asked = operation.id, operation.client_service, len(ordinals), REOPENED_SECONDS
            record = await connection.fetchrow(QUERIES["reopen"], *asked)
            if record is None:
                return None
            month = month_of(operation.created_at)
            changed = await connection.fetch(QUERIES["reopen_documents"], operation.id, month, list(ordinals))
            if len(changed) != len(ordinals):
                raise InternalError(f"operation {operation.id}: documents to open again have not failed")
            await connection.execute(QUERIES["forget_tries"], operation.id, day, list(ordinals))
            return operation_row(record)

    async def _day(self, created_at: datetime) -> date:
        """The day of an operation; its partition of signatures exists when this returns.

        It is made in a transaction of its own. Made in that of its caller, it would be gone again where that one fails.
        """
        day = day_of(created_at)
        if day not in self._days:
            async with self._database.connection() as connection:
                await connection.execute(QUERIES["make_signatures_partition"], day)
            self._days.add(day)
        return day

    # --- reading --------------------------------------------------------------------------------------------

    async def reference_holder(self, client_service: str, reference: str, *, for_good: bool = False) -> int | None:
        """The operation that has this external reference. With `for_good` not one that can be handed in again."""
        if not is_storable(reference):
            return None
        async with self._database.connection(client_service) as connection:
            record = await connection.fetchrow(QUERIES["reference_holder"], client_service, reference)
        return None if record is None or (for_good and record["may_go_on"]) else int(record["operation_id"])

    async def operations_with_reference(self, client_service: str, reference: str) -> list[OperationRow]:
        """Newest first; more than one where a purged operation's reference was used again."""
        if not is_storable(reference):
            return []
        async with self._database.connection(client_service) as connection:
            records = await connection.fetch(QUERIES["operations_with_reference"], client_service, reference)
            return [operation_row(record) for record in records]

    async def operation(self, client_service: str, operation_id: int) -> OperationRow | None:
        if not 0 < operation_id < 1 << 63:
            return None
        async with self._database.connection(client_service) as connection:
            record = await connection.fetchrow(QUERIES["operation"], client_service, operation_id)
            return operation_row(record) if record else None

    async def is_finished(self, operation_id: int) -> bool:
        """For the service itself, which knows the id; callers ask by `operation`."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["is_finished"], operation_id) is True

    async def documents(
        self, operation_id: int, created_at: datetime, *, caller: str | None = None
    ) -> list[DocumentRow]:
        """In the order of the request. `created_at` is the operation's: it tells the partition."""
        async with self._database.connection(caller) as connection:
            records = await connection.fetch(QUERIES["documents"], operation_id, month_of(created_at))
            return [document_row(record) for record in records]

    async def mark_fetched(self, client_service: str, operation_ids: Collection[int]) -> None:
        """The whole results of these finished operations have reached their caller."""
        async with self._database.connection(client_service) as connection:
            await connection.execute(QUERIES["mark_fetched"], client_service, list(operation_ids))

    async def operation_of_document(self, client_service: str, document_reference: str) -> int | None:
        """The newest operation that has a document with this external reference."""
        if not is_storable(document_reference):
            return None
        key = reference_key(client_service, document_reference)
        async with self._database.connection(client_service) as connection:
            found: int | None = await connection.fetchval(
                QUERIES["operation_of_document"], client_service, document_reference, key
            )
            return found

    async def evidence(
        self, operation_id: int, created_at: datetime, first: int, last: int, *, caller: str | None = None
    ) -> dict[int, Kept]:
        """By ordinal, from `first` to `last`: what is kept of the documents that have been in a sign call."""
        async with self._database.connection(caller) as connection:
            asked = operation_id, day_of(created_at), first, last
            return {
                record["ordinal"]: kept_row(record) for record in await connection.fetch(QUERIES["evidence"], *asked)
            }

    async def live_payloads(self, instance: UUID) -> list[PayloadColumns]:
        """The payloads of the instance that must stay."""
        async with self._database.connection() as connection:
            return [payload_columns(record) for record in await connection.fetch(QUERIES["live_payloads"], instance)]

    # --- leases ---------------------------------------------------------------------------------------------

    async def claim(
        self, limit: int, lease_seconds: float, *, woken: Collection[int] = (), at_work: Collection[int] = ()
    ) -> list[ClaimedOperation]:
        """Leases up to `limit` operations of this instance that are due and that nobody works on, oldest first.

        One that has just been registered is left alone for a second, unless it is among the `woken`: the worker
        that registered it may have more to say than its row. What is `at_work` is not claimed.
        """
        async with self._database.connection() as connection:
            records = await connection.fetch(
                QUERIES["claim"], self._instance, limit, lease_seconds, WAKE_SECONDS, list(woken), list(at_work)
            )
        if records:
            crash_site("claimed")
        return sorted((claimed_operation(record) for record in records), key=lambda claimed: claimed.row.id)

    async def claim_one(self, operation_id: int, lease_seconds: float) -> ClaimedOperation | None:
        """Leases one operation, even before it is due. None where it is finished, held, or another instance's."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["claim_one"], self._instance, operation_id, lease_seconds)
            crash_site("claimed")
            return claimed_operation(record) if record else None

    async def take_back_own_leases(self) -> int:
        """Frees every lease of this instance: for the start of its signer, whose predecessor is dead. How many."""
        async with self._database.connection() as connection:
            return len(await connection.fetch(QUERIES["take_back_own_leases"], self._instance))

    async def renew(self, operation_id: int, fence: int, lease_seconds: float) -> bool:
        """False where the lease is somebody else's by now or the operation is finished: stop the work."""
        async with self._database.connection() as connection:
            renewed = await connection.fetchval(QUERIES["renew"], operation_id, fence, lease_seconds)
            return renewed is not None

    async def add_payload(
        self, operation_id: int, created_at: datetime, fence: int, record: bytes, ordinals: Sequence[int]
    ) -> bool:
        """Names a further payload in the row, in which the documents `ordinals` were prepared. Signatures that are kept of them
        were made for what was prepared before, and are forgotten. False, and nothing changed, where the fence is stale.
        """
        asked = operation_id, fence, record, day_of(created_at), list(ordinals)
        async with self._database.connection() as connection:
            named = await connection.fetchval(QUERIES["add_payload"], *asked) is not None
        crash_site("further-payload-named")
        return named

    async def record_outcomes(
        self,
        operation_id: int,
        created_at: datetime,
        fence: int,
        outcomes: Sequence[DocumentOutcome] = (),
        kept: Sequence[Kept] = (),
    ) -> bool:
        """Ends documents, each once, by its first outcome, and keeps what is known of them. False, and nothing changed, where
        the fence is stale. Signatures have survived a power cut when this returns.
        """
        day = await self._day(created_at) if kept else day_of(created_at)
        async with self._database.connection() as connection:
            held = await self._write(connection, operation_id, created_at, fence, outcomes, kept, day, last=False)
        if held is None:
            return False
        crash_site("outcomes-recorded")
        return True

    async def finish(
        self,
        operation_id: int,
        created_at: datetime,
        fence: int,
        outcomes: Sequence[DocumentOutcome] = (),
        kept: Sequence[Kept] = (),
        *,
        commit_after: asyncio.Future[None] | None = None,
    ) -> Ended | None:
        """Ends the last documents and with them the operation: EXECUTED, or EXECUTION_FAILED where one of all has failed.

        Returns None, and changes nothing, where the fence is stale. The commit waits for `commit_after`, and there is none where
        that fails. The table refuses to finish an operation that has a document which is still RECEIVED.
        """
        wait = commit_after is not None
        day = await self._day(created_at) if kept else day_of(created_at)
        async with self._database.transaction() if wait else self._database.connection() as connection:
            if not wait:
                crash_site("finish-uncommitted")
            ended = await self._write(connection, operation_id, created_at, fence, outcomes, kept, day, last=True)
            if commit_after is not None:
                await commit_after
                crash_site("finish-uncommitted")
        crash_site("finished")
        return ended

    async def _write(
        self,
        connection: Connection,
        operation_id: int,
        created_at: datetime,
        fence: int,
        outcomes: Sequence[DocumentOutcome],
        kept: Sequence[Kept],
        day: date,
        *,
        last: bool,
    ) -> Ended | None:
        month, columns = month_of(created_at), outcome_columns(outcomes)
        durable = any(one.evidence is not None for one in kept)
        if durable:
            crash_site("signatures-unrecorded")
        row = await connection.fetchrow(
            QUERIES["record_outcomes"], operation_id, month, *columns, fence, last, day, *kept_columns(kept), durable
        )
        return Ended(*row) if row else None

    async def postpone(self, operation_id: int, fence: int, seconds: float) -> bool:
        """EXECUTION_ERROR, and free again, until `seconds` from now. False where the fence is stale."""
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES["postpone"], operation_id, fence, seconds) is not None


def reference_taken(reference: str, holder: int) -> ReferenceTaken:
    return ReferenceTaken(f"external reference {reference!r} is taken by operation {holder}", operation_id=holder)
