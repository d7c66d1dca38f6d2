"""The end of an operation with one document: its own statement does what the general one does, and leaves the rest to that."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.document import DocumentOutcome, Evidence, Refusal
from batchseal.operation import ContentType, Mode, OperationStatus, SignError
from batchseal.signature import Level
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.columns import registered_document
from batchseal.store.queries import QUERIES, REGISTER_ONE
from batchseal.store.rows import REGISTRATION_FENCE, DocumentRow, SignatureRow

Connect = Callable[..., Awaitable[Store]]
SIGNED = DocumentOutcome(0, 18_000, level=Level.B)
KEPT = SignatureRow(0, Evidence(b"s" * 70), 1)
REFUSED = DocumentOutcome(0, refusal=Refusal(SignError.CERT_SERVICE_GLOBAL_ERROR, "refused"))
# What differs between two operations that are alike.
OWN = {"id", "payload_id", "external_reference", "operation_id", "reference_key", "created_at", "finished_at", "at"}


async def register(
    store: Store, instance: UUID, *, count: int = 1, evidence_record: bool = False
) -> tuple[OperationRow, DocumentRow]:
    documents = [NewDocument(number, f"d{number}", "x.pdf", ContentType.PDF, 200_000) for number in range(count)]
    new = NewOperation(
        uuid4(), "A", str(uuid4()), "", Mode.SYNC, instance, "h", 1, evidence_record=evidence_record, stored_bytes=9
    )
    return await store.register(new, documents), registered_document(documents[0])


async def everything(owner: asyncpg.Connection, row: OperationRow) -> dict[str, Any]:
    """All that the database holds of an operation, without what is its own."""
    found = {"operations": await owner.fetch("SELECT * FROM operations WHERE id = $1", row.id)}
    for table in ("documents", "signatures", "audit_pending", "evidence_records"):
        order = "event" if table == "audit_pending" else "operation_id"
        query = f"SELECT * FROM {table} WHERE operation_id = $1 ORDER BY {order}"
        found[table] = await owner.fetch(query, row.id)
    return {
        table: [{name: value for name, value in record.items() if name not in OWN} for record in records]
        for table, records in found.items()
    }


async def test_both_statements_leave_the_same(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    instance = uuid4()
    store = await connect_store(instance)
    left = []
    for by_its_own in (True, False):
        row, document = await register(store, instance)
        ended = await store.finish(
            *(row.id, row.created_at, REGISTRATION_FENCE, [SIGNED], [KEPT]),
            untouched=document if by_its_own else None,
        )
        assert ended is not None
        assert ended.failed == 0
        assert (await store.evidence(row.id, row.created_at, [0]))[0] == KEPT
        after = await store.operation("A", row.id)
        assert after is not None
        assert (after.status, after.finished_at) == (OperationStatus.EXECUTED, ended.finished_at)
        left.append(await everything(sees_all_rows, row))
        # Who had the lease can write nothing more.
        assert (
            await store.finish(row.id, row.created_at, REGISTRATION_FENCE, [SIGNED], [KEPT], untouched=document) is None
        )
    for ids in left:
        for record in ids["audit_pending"]:
            record.pop("id", None)
    assert left[0] == left[1]
    assert [record["status"] for record in left[0]["documents"]] == [2]


async def test_a_stale_fence_changes_nothing(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    instance = uuid4()
    store = await connect_store(instance)
    row, document = await register(store, instance)
    assert await store.claim_one(row.id, 30) is not None
    before = await everything(sees_all_rows, row)
    assert await store.finish(row.id, row.created_at, REGISTRATION_FENCE, [SIGNED], [KEPT], untouched=document) is None
    assert await everything(sees_all_rows, row) == before


@pytest.mark.parametrize("case", ["an evidence record", "a refusal", "a signature without its end", "a time stamp"])
async def test_everything_else_ends_by_the_general_statement(
    connect_store: Connect, sees_all_rows: asyncpg.Connection, case: str
) -> None:
    instance = uuid4()
    store = await connect_store(instance)
    row, document = await register(store, instance, evidence_record=case == "an evidence record")
    outcomes, kept = [REFUSED] if case == "a refusal" else [SIGNED], [KEPT]
    if case == "a signature without its end":
        kept = []
        assert await store.record_outcomes(row.id, row.created_at, REGISTRATION_FENCE, [], [KEPT])
    if case == "a time stamp":
        outcomes, kept = [DocumentOutcome(0, 9, level=Level.T)], [SignatureRow(0, Evidence(b"s", (b"token",)), 1)]
    ended = await store.finish(row.id, row.created_at, REGISTRATION_FENCE, outcomes, kept, untouched=document)
    assert ended is not None
    left = await everything(sees_all_rows, row)
    assert ended.failed == (case == "a refusal")
    assert len(left["evidence_records"]) == (case == "an evidence record")
    assert left["operations"][0]["time_stamps"] == (case == "a time stamp")
    assert (await store.evidence(row.id, row.created_at, [0]))[0].evidence is not None
    assert [record["event"] for record in left["audit_pending"]] == [1, 2]


def test_for_one_row_no_array_is_left() -> None:
    assert "unnest" in QUERIES["register"]
    assert "[]" not in REGISTER_ONE
    assert "(VALUES (" in REGISTER_ONE
