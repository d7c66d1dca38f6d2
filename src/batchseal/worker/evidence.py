"""Evidence records as callers get them: made for each document from what the signer has kept of the whole operation."""

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

from batchseal.admission.standing import StandingMemory
from batchseal.errors import NoRoom, NotFound, RecordGivenUp, RecordPending
from batchseal.store.evidence_records import EvidenceTable, RecordRow, RecordState
from batchseal.store.rows import OperationRow

if TYPE_CHECKING:
    from batchseal.formats.evidence_record import DigestTree

# Trees of so many operations are kept, for callers that ask for one document after the other. One of 10,000 documents takes 4 MB
# with the digests that it is made of.
KEPT_TREES = 2
# When to ask again for a record that is being made, in seconds.
SOON_SECONDS, LATEST_SECONDS = 1, 60
ROOM_RETRY_SECONDS = 2


class OperationRecords:
    """The evidence records of one operation."""

    def __init__(self, row: RecordRow) -> None:
        self._row = row
        self._tree: DigestTree | None = None
        self._digests: dict[int, bytes] = {}

    def of(self, ordinal: int) -> bytes | None:
        """The record (DER) of a document; None for one that it is not about. The first call builds the tree."""
        from batchseal.formats.evidence_record import DigestTree, evidence_record, split

        if self._tree is None and self._row.ordinals:
            self._digests = dict(zip(self._row.ordinals, split(self._row.digests), strict=True))
            self._tree = DigestTree(list(self._digests.values()))
        if self._tree is None or (digest := self._digests.get(ordinal)) is None:
            return None
        return evidence_record(self._tree, digest, self._row.token)


class EvidenceRecords:
    """One for each worker process. What the records of an operation take is booked in `memory` while anybody has them."""

    def __init__(self, table: EvidenceTable, memory: StandingMemory) -> None:
        self._table = table
        self._memory = memory
        self._kept: OrderedDict[tuple[int, int], OperationRecords] = OrderedDict()  # by operation and fence

    async def of(self, operation: OperationRow) -> OperationRecords:
        """The records of a finished operation. Raises NotFound where none was asked for, RecordPending, RecordGivenUp, NoRoom."""
        if not operation.evidence_record:
            raise NotFound(f"no evidence record was asked for operation {operation.id}")
        asked = operation.id, operation.created_at
        found = await self._table.state(*asked, caller=operation.client_service)
        if found is not None and found.state is RecordState.MADE:
            key = operation.id, found.fence
            if key not in self._kept:
                booked = self._book(operation.documents_total)
                try:
                    found = await self._table.whole(*asked, caller=operation.client_service)
                    if found is not None and found.state is RecordState.MADE:
                        records = OperationRecords(found)
                        # Whoever sends an archive has them longer than they are kept.
                        weakref.finalize(records, self._give_back, booked).atexit = False
                        booked = 0
                        self._keep((operation.id, found.fence), records)
                        key = operation.id, found.fence
                finally:
                    self._give_back(booked)
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if found is not None and found.state is RecordState.GIVEN_UP:
            raise RecordGivenUp(f"no time stamp could be had for the evidence record of operation {operation.id}")
        due = round(found.due_seconds) if found is not None else 0
        raise RecordPending(
            f"the evidence record of operation {operation.id} waits for its time stamp",
            retry_after_seconds=min(max(due, SOON_SECONDS), LATEST_SECONDS),
        )

    def _book(self, documents: int) -> int:
        """Books what the records of so many documents take, and returns it. Raises NoRoom."""
        from batchseal.formats.evidence_record import tree_bytes

        needed = tree_bytes(documents)
        while not self._memory.hold(self._memory.held_bytes + needed):
            if not self._kept:
                raise NoRoom("the memory for evidence records is in use", retry_after_seconds=ROOM_RETRY_SECONDS)
            self._kept.popitem(last=False)
        return needed

    def _give_back(self, memory_bytes: int) -> None:
        if memory_bytes:
            self._memory.hold(self._memory.held_bytes - memory_bytes)

    def _keep(self, key: tuple[int, int], records: OperationRecords) -> None:
        self._kept[key] = records
        while len(self._kept) > KEPT_TREES:
            self._kept.popitem(last=False)
