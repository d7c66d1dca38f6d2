"""Ends what an instance that will not come back has left: nobody else can read the payloads in its folder.

Everything is done in the name of the lost instance, by the statements that it would have used itself, and can be repeated where
it was cut off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from batchseal.document import DocumentOutcome, Refusal
from batchseal.operation import DocumentStatus, SignError
from batchseal.store.database import Database
from batchseal.store.evidence_records import EvidenceTable, RecordState
from batchseal.store.instances import LEASE_SECONDS
from batchseal.store.queries import QUERIES
from batchseal.store.store import Store
from batchseal.store.trail import AuditTrail, MakeLink, PendingEntry
from batchseal.store.turns import Turns
from batchseal.store.upkeep import Upkeep

CAUSE = "the instance that had the document is lost, and its folder with it: hand the document in again"
RECORDS_AT_ONCE = 100


@dataclass(slots=True)
class Forgotten:
    """What forgetting has done: operations that it ended, and results that cannot be had any more."""

    ended: int = 0
    lost_results: int = 0


class Forgetting:
    """For one instance, as a process that sees the rows of all client services. Every method raises DatabaseUnavailable.

    `make_link` computes a link of the audit trail; `given_up` is the number of the event that an evidence record was given up.
    """

    def __init__(self, database: Database, instance: UUID, make_link: MakeLink, given_up: int) -> None:
        self._database = database
        self._instance = instance
        self._make_link = make_link
        self._given_up = given_up
        self._lost = Store(database, instance)

    async def forget(self, say: Callable[[str], None] = lambda text: None) -> Forgotten:
        """Ends the operations, gives the records and payloads up, chains what the trail waits for, and removes the row.

        Leases, lanes and duties that the instance had are free at once. `say` is told of each operation that ended.
        """
        done = Forgotten()
        turns = Turns(self._database, self._instance)
        await turns.give_up_lanes()
        await turns.give_up_duties()
        await self._lost.take_back_own_leases()
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["free_held"], self._instance)
        for operation_id in await self._ids("lost_operations"):
            if await self._end(operation_id):
                done.ended += 1
                say(f"operation {operation_id} ends: {CAUSE}")
        await self._give_records_up()
        while ids := await self._ids("lost_payloads"):
            done.lost_results += len(await Upkeep(self._database, self._instance).mark_purged(ids))
        await self._chain()
        async with self._database.connection() as connection:
            await connection.execute(QUERIES["forget_instance"], self._instance)
        return done

    async def _ids(self, query: str) -> list[int]:
        async with self._database.connection() as connection:
            return [record["id"] for record in await connection.fetch(QUERIES[query], self._instance)]

    async def _end(self, operation_id: int) -> bool:
        """Ends the documents that are still open. False if the operation was ended by somebody else."""
        claimed = await self._lost.claim_one(operation_id, LEASE_SECONDS)
        if claimed is None:
            return False
        row, refusal = claimed.row, Refusal(SignError.STORAGE_SERVICE_GLOBAL_ERROR, CAUSE)
        documents = await self._lost.documents(row.id, row.created_at)
        outcomes = [
            DocumentOutcome(one.ordinal, refusal=refusal) for one in documents if one.status is DocumentStatus.RECEIVED
        ]
        return await self._lost.finish(row.id, row.created_at, claimed.fence, outcomes) is not None

    async def _give_records_up(self) -> None:
        table = EvidenceTable(self._database, self._instance)
        await table.take_back()
        while claimed := await table.claim(RECORDS_AT_ONCE, LEASE_SECONDS):
            for one in claimed:
                await table.end(one, RecordState.GIVEN_UP, b"", b"", self._given_up)

    async def _chain(self) -> None:
        """The trail does not wait for payloads that nobody can read. What would be computed from them stays empty."""
        trail = AuditTrail(self._database, self._instance)
        while waiting := await trail.pending():
            facts: list[tuple[PendingEntry, bytes, bytes]] = [(entry, entry.digest, b"") for entry in waiting]
            await trail.chain(facts, self._make_link)
