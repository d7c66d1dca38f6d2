"""`Store` reads and writes operations, documents, signatures and leases. Each method is one short transaction."""

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
    month_of,
    outcome_columns,
    outcome_places,
    reference_key,
    signature_columns,
)
from batchseal.store.database import Connection, Database
from batchseal.store.ending import end_single
from batchseal.store.finished import FinishedLook
from batchseal.store.instances import LEASE_SECONDS
from batchseal.store.leases import Leases
from batchseal.store.live_payloads import LivePayloads, live_payloads
from batchseal.store.materials import MaterialTable
from batchseal.store.opening import AnyAddress, open_database
from batchseal.store.queries import QUERIES, register_query
from batchseal.store.rows import (
    DocumentRow,
    NewDocument,
    NewOperation,
    OperationEnd,
    OperationRow,
    SignatureRow,
    document_row,
    operation_row,
)
from batchseal.system.crash_sites import crash_site

# The lease of a new operation. The signer works under it if the worker hands the operation over. If not, it only keeps other
# instances away.
REGISTRATION_LEASE_SECONDS = LEASE_SECONDS
# When an operation that was handed in again becomes due, if nobody wakes the signer for it before.
REOPENED_SECONDS = 10.0


class Store(Leases):
    """Operations, documents, signatures and leases in PostgreSQL, as one instance of the service uses them.

    `instance` is this instance, which claims operations; `shared` see `Leases`. Every method raises DatabaseUnavailable while the
    database cannot be reached, and works again by itself when it is back. A method that answers a request of a caller takes the
    name of that client service, and can neither read nor change the rows of another one.
    """

    def __init__(self, database: Database, instance: UUID, shared: str | None = None) -> None:
        super().__init__(database, instance, shared)
        self._month: date | None = None  # the current month by the database's clock, if its partition is known to exist
        self._days: set[date] = set()  # days whose partition of signatures is known to exist
        self._materials = MaterialTable()
        self._finished = FinishedLook(database)

    @classmethod
    async def connect(
        cls, dsn: AnyAddress, *, instance: UUID, pool_size: int = 4, everything: bool = True, shared: str | None = None
    ) -> "Store":
        """Connects to the database at `dsn` with at most `pool_size` connections.

        Without `everything` a statement sees only the rows of the client service that it is made for, and none if it is made for
        no client service. Raises ConfigurationError if the address cannot be right, DatabaseUnavailable if nobody answers.
        """
        return cls(await open_database(dsn, pool_size, everything=everything, instance=instance), instance, shared)

    @property
    def database(self) -> Database:
        """The connections, which `Upkeep`, `AuditTrail` and others share with this store."""
        return self._database

    async def close(self) -> None:
        """Closes the connections. Statements that are under way get 5 s to end."""
        await self._database.close()

    async def ping(self) -> None:
        """Raises DatabaseUnavailable unless the database answers within 5 s."""
        async with self._database.connection() as connection:
            await connection.fetchval("SELECT 1", timeout=5)

    async def migrate(self, start: migrations.Start | None = None, *, role: str | None = None) -> bool:
        """Brings the schema up to date and lets `role` (quoted) use it. Must come before any other call.

        Returns whether all data was deleted first, as `start` may ask for.
        """
        return await migrations.migrate(self._database, start, role=role)

    async def role(self) -> tuple[str, bool]:
        """The role that this store connects as (quoted), and whether row security does not apply to it."""
        async with self._database.connection() as connection:
            record = await connection.fetchrow(QUERIES["current_role"])
            return record["role"], record["unbound"]

    # --- registering ----------------------------------------------------------------------------------------

    async def register(self, operation: NewOperation, documents: Sequence[NewDocument]) -> OperationRow:
        """Stores an operation with its documents, or stores nothing.

        Raises ReferenceTaken, with the id of the operation that has the reference, also if several requests with the same
        reference come at once: exactly one of them is registered. An operation without a signature that can never go on gives
        its reference up. Raises ValueNotAllowed or TooLarge for values that cannot be
        stored. The new operation is leased to its instance for REGISTRATION_LEASE_SECONDS.
        """
        check_storable(operation, documents)
        async with self._database.connection(operation.client_service) as connection:
            row = await self._insert(connection, operation, documents)
        crash_site("registered")
        return row

    async def _insert(
        self, connection: Connection, operation: NewOperation, documents: Sequence[NewDocument]
    ) -> OperationRow:
        query, columns = register_query(document_columns(operation.client_service, documents), len(documents))
        for _ in range(5):
            month = self._month or await self._new_month(connection)
            record = await connection.fetchrow(
                query.format(documents=migrations.partition_name(month)),
                operation.payload_id,
                operation.client_service,
                operation.external_reference,
                operation.description,
                operation.mode.stored,
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
                *(Mode.SYNC, operation.payload_record, operation.stored_bytes, operation.evidence_record),
                *(operation.payload_store, operation.token_holder, operation.mode.entry),
                *(operation.request_id, operation.trace_parent),
            )
            if record is not None:
                return operation_row(record)
            # This needs a second statement: the snapshot of the first one does not show the row that it collided with.
            taken = operation.client_service, operation.external_reference
            if await connection.fetchval(QUERIES["free_unsigned_reference"], *taken) is not None:
                continue
            holder = await connection.fetchval(QUERIES["reference_holder"], *taken)
            if holder is not None:
                raise ReferenceTaken(operation.external_reference, holder)
            self._month = None  # the month may be over
        raise InternalError("an external reference was taken and freed again five times in a row")

    async def _new_month(self, connection: Connection) -> date:
        month: date = await connection.fetchval(QUERIES["month"])
        await migrations.make_partitions(connection, month)
        self._month = month
        return month

    async def reopen(
        self,
        operation: OperationRow,
        ordinals: Sequence[int],
        *,
        evidence_record: bool = False,
        token_holder: UUID | None = None,
        stored_again: bytes | None = None,
        lost: Sequence[int] = (),
    ) -> OperationRow | None:
        """Opens these failed documents of a failed operation again, so that they can be signed.

        Those of them that are `lost` in its payloads are in a further one, whose record is `stored_again`.

        `operation` is EXECUTION_FAILED and becomes PENDING_EXECUTION. It is due when the signer is woken for it, at the latest
        after REOPENED_SECONDS. Returns None if it is no longer failed, or if its payload was purged meanwhile.
        """
        day = await self._make_day(operation.created_at, operation.client_service)
        async with self._database.transaction(operation.client_service) as connection:
            asked = operation.id, operation.client_service, len(ordinals), REOPENED_SECONDS, evidence_record
            further = [] if stored_again is None else [stored_again]
            record = await connection.fetchrow(QUERIES["reopen"], *asked, token_holder, further)
            if record is None:
                return None
            asked_again = operation.id, month_of(operation.created_at), list(ordinals)
            changed = await connection.fetch(QUERIES["reopen_documents"], *asked_again)
            if len(changed) != len(ordinals):
                raise InternalError(f"operation {operation.id}: documents to open again have not failed")
            await connection.execute(QUERIES["forget_tries"], operation.id, day, list(ordinals))
            if lost:
                await connection.execute(QUERIES["forget_signatures"], operation.id, day, list(lost))
            return operation_row(record)

    async def _make_day(self, created_at: datetime, caller: str | None = None) -> date:
        """The day on which an operation was registered. Makes the partition of its signatures if it is missing.

        It is made in a transaction of its own: if it were part of a later one, a rollback would take it away again.
        """
        day = day_of(created_at)
        if day not in self._days:
            async with self._database.connection(caller) as connection:
                await connection.execute(QUERIES["make_signatures_partition"], day)
            self._days.add(day)
        return day

    # --- reading --------------------------------------------------------------------------------------------

    async def reference_holder(self, client_service: str, reference: str, *, for_good: bool = False) -> int | None:
        """The id of the operation that has this external reference, or None.

        With `for_good`, also None if that operation has failed and can be handed in again under the same reference.
        """
        if not is_storable(reference):
            return None
        async with self._database.connection(client_service) as connection:
            record = await connection.fetchrow(QUERIES["reference_holder"], client_service, reference)
        return None if record is None or (for_good and record["may_go_on"]) else int(record["operation_id"])

    async def operations_with_reference(self, client_service: str, reference: str) -> list[OperationRow]:
        """The newest first. There can be more than one: the reference of a purged operation is free again after some years."""
        if not is_storable(reference):
            return []
        async with self._database.connection(client_service) as connection:
            records = await connection.fetch(QUERIES["operations_with_reference"], client_service, reference)
            return [operation_row(record) for record in records]

    async def operation(self, client_service: str, operation_id: int) -> OperationRow | None:
        """The operation with this id, or None if the client service has none with it."""
        if not 0 < operation_id < 1 << 63:
            return None
        async with self._database.connection(client_service) as connection:
            record = await connection.fetchrow(QUERIES["operation"], client_service, operation_id)
            return operation_row(record) if record else None

    async def is_finished(self, operation_id: int) -> bool:
        """Whether this operation is finished. Not for callers: this does not check whose operation it is."""
        return await self._finished.is_finished(operation_id)

    async def documents(
        self, operation_id: int, created_at: datetime, *, caller: str | None = None
    ) -> list[DocumentRow]:
        """The documents of an operation in the order of the request. `created_at` is the operation's: it names the partition."""
        async with self._database.connection(caller) as connection:
            records = await connection.fetch(QUERIES["documents"], operation_id, month_of(created_at))
            return [document_row(record) for record in records]

    async def mark_fetched(self, client_service: str, operation_ids: Collection[int]) -> None:
        """Notes that the complete results of these finished operations have reached their caller."""
        async with self._database.connection(client_service) as connection:
            await connection.execute(QUERIES["mark_fetched"], client_service, list(operation_ids))

    async def operation_of_document(self, client_service: str, document_reference: str) -> int | None:
        """The id of the newest operation of this client service that has a document with this external reference, or None."""
        if not is_storable(document_reference):
            return None
        key = reference_key(client_service, document_reference)
        async with self._database.connection(client_service) as connection:
            found: int | None = await connection.fetchval(
                QUERIES["operation_of_document"], client_service, document_reference, key
            )
            return found

    async def evidence(
        self, operation_id: int, created_at: datetime, ordinals: Collection[int], *, caller: str | None = None
    ) -> dict[int, SignatureRow]:
        """The rows of `signatures` for the documents with these ordinals, by ordinal.

        A document that has not been in a sign call has no row.
        """
        async with self._database.connection(caller) as connection:
            day = day_of(created_at)
            records = await connection.fetch(QUERIES["evidence"], operation_id, day, list(ordinals))
            return await self._materials.rows(connection, day, records)

    def live_payloads(self, instance: UUID) -> LivePayloads:
        """Every payload of the instance that is still needed: those of operations that were not purged."""
        return live_payloads(self._database, "live_payloads", instance)

    def live_payloads_in(self, payload_store: str) -> LivePayloads:
        """The same of all that is stored in a payload store that several instances read."""
        return live_payloads(self._database, "live_payloads_in_store", payload_store)

    # --- work under a lease ----------------------------------------------------------------------------------

    async def add_payload(
        self, operation_id: int, created_at: datetime, fence: int, record: bytes, ordinals: Sequence[int]
    ) -> bool:
        """Adds a further payload, in which the documents `ordinals` were prepared, to the row of the operation.

        Signatures that are stored for these documents were made for what was prepared before, so they are removed. If the fence
        is stale, changes nothing and returns False.
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
        kept: Sequence[SignatureRow] = (),
    ) -> bool:
        """Stores how documents ended, and what is `kept` of documents in the table `signatures`.

        A document that has ended before keeps its first outcome. If the fence is stale, changes nothing and returns False. When
        this returns True, signatures among `kept` are on the disk.
        """
        if kept:
            await self._make_day(created_at)
        async with self._database.connection() as connection:
            held = await self._write(connection, operation_id, created_at, fence, outcomes, kept, last=False)
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
        kept: Sequence[SignatureRow] = (),
        *,
        commit_after: asyncio.Future[None] | None = None,
        untouched: DocumentRow | None = None,
    ) -> OperationEnd | None:
        """Ends the last documents, and with them the operation: EXECUTION_FAILED if any document has failed, else EXECUTED.

        If the fence is stale, changes nothing and returns None. The transaction commits only after `commit_after` is done, and
        not at all if that fails. A constraint of the table refuses to finish an operation while one of its documents is RECEIVED.
        `untouched` is the only document of an operation of which nothing was written since its registration; None for others.
        """
        wait = commit_after is not None
        await self._make_day(created_at)
        async with self._database.transaction() if wait else self._database.connection() as connection:
            if not wait:
                crash_site("finish-uncommitted")
            ended = None
            if untouched is not None:
                try:
                    ended = await end_single(connection, operation_id, created_at, fence, untouched, outcomes, kept)
                except BaseException:
                    self._days.discard(day_of(created_at))  # see `_write`
                    raise
            if ended is None:
                ended = await self._write(connection, operation_id, created_at, fence, outcomes, kept, last=True)
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
        kept: Sequence[SignatureRow],
        *,
        last: bool,
    ) -> OperationEnd | None:
        month, day = month_of(created_at), day_of(created_at)
        columns = outcome_columns(outcomes)
        durable = any(one.evidence is not None for one in kept)
        if durable:
            crash_site("signatures-unrecorded")
        try:
            await self._materials.keep(connection, day, kept)
            row = await connection.fetchrow(
                QUERIES["record_outcomes"],
                *(operation_id, month),
                *columns[:-1],
                *(fence, last, day),
                *signature_columns(kept),
                *(durable, columns[-1], *outcome_places(outcomes)),
            )
        except BaseException:
            # The partition may have gone, if the clock of the database was ahead when the day was dropped. The next try makes it.
            self._days.discard(day)
            self._materials.forget(day)
            raise
        return OperationEnd(*row) if row else None
