"""The trees of evidence records take memory that was booked before, and give it back when nobody has them any more."""

import gc
import hashlib
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchseal.admission.ledger import Ledger
from batchseal.admission.standing import StandingMemory
from batchseal.errors import NoRoom
from batchseal.formats.evidence_record import DigestTree, tree_bytes
from batchseal.store.evidence_records import RecordState
from batchseal.worker.evidence import EvidenceRecords, OperationRecords

DOCUMENTS = 10_000


def digests(count: int) -> bytes:
    return b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(count))


class Table:
    """Every operation has a record that is made, of as many documents as it says."""

    def __init__(self) -> None:
        self.read = 0

    async def state(self, operation_id: int, created_at: datetime, *, caller: str) -> Any:
        return SimpleNamespace(state=RecordState.MADE, fence=1, due_seconds=0.0)

    async def whole(self, operation_id: int, created_at: datetime, *, caller: str) -> Any:
        self.read += 1
        count = 100
        return SimpleNamespace(
            state=RecordState.MADE, fence=1, ordinals=list(range(count)), digests=digests(count), token=b"\x30\x00"
        )


def operation(number: int, documents: int = 100) -> Any:
    return SimpleNamespace(
        id=number, created_at=datetime.now(UTC), client_service="c", evidence_record=True, documents_total=documents
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger")
    yield ledger
    ledger.close()


def booked(ledger: Ledger) -> int:
    with ledger.booked() as totals:
        return totals.memory_bytes


async def test_what_is_kept_is_booked_and_no_more(ledger: Ledger) -> None:
    records = EvidenceRecords(Table(), StandingMemory(ledger, 10 << 20))  # type: ignore[arg-type]
    for number in range(5):
        assert (await records.of(operation(number))).of(7) is not None
        gc.collect()
        assert booked(ledger) == min(number + 1, 2) * tree_bytes(100)
    # One that is used outlives its place among those that are kept.
    used = await records.of(operation(9))
    for number in range(3):
        await records.of(operation(number))
    gc.collect()
    assert booked(ledger) == 3 * tree_bytes(100)
    assert used.of(1) is not None
    del used
    gc.collect()
    assert booked(ledger) == 2 * tree_bytes(100)


async def test_without_room_nothing_is_read(ledger: Ledger) -> None:
    table = Table()
    records = EvidenceRecords(table, StandingMemory(ledger, tree_bytes(100) + 1))  # type: ignore[arg-type]
    await records.of(operation(1))
    await records.of(operation(2))  # in place of the first one
    gc.collect()
    assert booked(ledger) == tree_bytes(100)
    with pytest.raises(NoRoom) as refused:
        await records.of(operation(3, documents=DOCUMENTS))
    assert refused.value.retry_after_seconds
    assert table.read == 2
    gc.collect()
    assert booked(ledger) == 0


def test_a_tree_takes_no_more_than_is_booked_for_it() -> None:
    joined, ordinals = digests(DOCUMENTS), list(range(1_000, 1_000 + DOCUMENTS))
    gc.collect()
    tracemalloc.start()
    row: Any = SimpleNamespace(ordinals=list(map(int, map(str, ordinals))), digests=bytes(bytearray(joined)), token=b"")
    records = OperationRecords(row)
    assert records.of(ordinals[77]) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= tree_bytes(DOCUMENTS)
    assert DigestTree([joined[at : at + 32] for at in range(0, len(joined), 32)]).root
