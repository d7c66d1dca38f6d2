"""Registering and reading: one reference once, whole rows back, nobody else's rows."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.document import Refusal
from batchseal.errors import ReferenceTaken, TooLarge, ValueNotAllowed
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]


def new_operation(
    reference: str = "FT 2021/5", *, client_service: str = "A", instance: UUID | None = None
) -> NewOperation:
    return NewOperation(
        payload_id=uuid4(),
        client_service=client_service,
        external_reference=reference,
        description="Some context.",
        mode=Mode.ASYNC,
        instance=instance or uuid4(),
        host="192.168.1.1",
        port=8081,
        return_signed_content=None,
        payload_record=b"the record of a payload",
    )


def new_documents(count: int, reference: str = "doc {}") -> list[NewDocument]:
    return [NewDocument(i, reference.format(i), f"invoice-{i:05d}.pdf", ContentType.PDF, 200_000) for i in range(count)]


async def test_rows_come_back_as_they_were_given(connect_store: Connect) -> None:
    store = await connect_store()
    operation = new_operation("Ext_Ref FT 2021/5 \u00e7\U0001f600")
    documents = [
        NewDocument(0, "a", "a.pdf", ContentType.PDF, 1 << 33),
        NewDocument(
            1, "a", "b.xml", ContentType.TEXT_XML, 5, Refusal(SignError.CONFIGURATION_SIGN_ERROR, "not\0built")
        ),
    ]
    row = await store.register(operation, documents)
    assert row.status is OperationStatus.PENDING_EXECUTION
    assert (row.documents_total, row.documents_signed, row.documents_failed) == (2, 0, 1)
    for name in (
        "payload_id",
        "client_service",
        "external_reference",
        "description",
        "mode",
        "instance",
        "host",
        "port",
        "payload_record",
    ):
        assert getattr(row, name) == getattr(operation, name)
    assert row.created_at.tzinfo is not None
    assert row.created_at.microsecond % 1000 == 0
    assert abs(datetime.now(UTC) - row.created_at) < timedelta(minutes=1)
    assert await store.operation("A", row.id) == row
    first, second = await store.documents(row.id, row.created_at)
    assert (first.status, first.sign_error, first.cause, first.content_bytes) == (
        DocumentStatus.RECEIVED,
        None,
        None,
        1 << 33,
    )
    assert (second.status, second.sign_error, second.cause) == (
        DocumentStatus.ERROR_SIGNING,
        SignError.CONFIGURATION_SIGN_ERROR,
        "notbuilt",
    )
    assert second.content_type is ContentType.TEXT_XML


async def test_a_taken_reference_names_its_holder_and_leaves_nothing(connect_store: Connect, database_url: str) -> None:
    store = await connect_store()
    row = await store.register(new_operation(), new_documents(3))
    with pytest.raises(ReferenceTaken) as taken:
        await store.register(new_operation(), new_documents(3))
    assert taken.value.operation_id == row.id == await store.reference_holder("A", "FT 2021/5")
    other = await store.register(new_operation(client_service="B"), new_documents(3))
    assert other.id != row.id
    connection = await asyncpg.connect(database_url, server_settings={"batchseal.scope": "*"})
    assert await connection.fetchval("SELECT count(*) FROM operations") == 2
    assert await connection.fetchval("SELECT count(*) FROM documents") == 6
    await connection.close()


async def test_64_duplicates_at_once_give_one_operation(connect_store: Connect) -> None:
    stores = [await connect_store(pool_size=4) for _ in range(4)]
    for reference in ("first", "second", "third"):
        results = await asyncio.gather(
            *(stores[i % 4].register(new_operation(reference), new_documents(50)) for i in range(64)),
            return_exceptions=True,
        )
        rows = [result for result in results if not isinstance(result, BaseException)]
        taken = [result for result in results if isinstance(result, ReferenceTaken)]
        assert (len(rows), len(taken)) == (1, 63)
        assert {problem.operation_id for problem in taken} == {rows[0].id}
        assert len(await stores[0].documents(rows[0].id, rows[0].created_at)) == 50


async def test_a_failed_registration_frees_the_reference(connect_store: Connect) -> None:
    store = await connect_store()
    same_ordinal = [NewDocument(0, "a", "a.pdf", ContentType.PDF, 1)] * 2
    with pytest.raises(asyncpg.UniqueViolationError):
        await store.register(new_operation(), same_ordinal)
    assert await store.reference_holder("A", "FT 2021/5") is None
    await store.register(new_operation(), new_documents(1))


async def test_others_see_nothing(connect_store: Connect) -> None:
    store = await connect_store()
    row = await store.register(new_operation(), new_documents(1))
    assert await store.operation("B", row.id) is None
    assert await store.operations_with_reference("B", "FT 2021/5") == []
    assert await store.reference_holder("B", "FT 2021/5") is None
    assert await store.operation_of_document("B", "doc 0") is None
    assert await store.operation_of_document("A", "doc 0") == row.id


async def test_a_document_reference_finds_the_newest_operation(connect_store: Connect) -> None:
    store = await connect_store()
    rows = [await store.register(new_operation(f"r{i}"), new_documents(5, "constant")) for i in range(3)]
    assert await store.operation_of_document("A", "constant") == rows[-1].id
    assert await store.operation_of_document("A", "constant ") is None


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_what_the_database_cannot_keep(connect_store: Connect, text: str) -> None:
    store = await connect_store()
    with pytest.raises(ValueNotAllowed):
        await store.register(new_operation(text), new_documents(1))
    with pytest.raises(ValueNotAllowed, match="document 0"):
        await store.register(new_operation(), new_documents(1, text))
    assert await store.reference_holder("A", text) is None
    assert await store.operations_with_reference("A", text) == []
    assert await store.operation_of_document("A", text) is None


async def test_long_references_and_ids_beyond_64_bits(connect_store: Connect) -> None:
    store = await connect_store()
    await store.register(new_operation("\U0001f600" * 255), new_documents(1))
    with pytest.raises(TooLarge):
        await store.register(new_operation("x" * 5_000), new_documents(1))
    assert await store.operation("A", 1 << 70) is None
    assert await store.operation("A", -1) is None


async def test_live_payloads_and_statistics(connect_store: Connect) -> None:
    store = await connect_store()
    mine, other = uuid4(), uuid4()
    operations = [new_operation(f"r{i}", instance=mine) for i in range(3)] + [new_operation("o", instance=other)]
    for operation in operations:
        await store.register(operation, new_documents(2))
    further = b"what the payload store says of a further payload"
    claimed = await store.claim_one((await store.operations_with_reference("A", "r0"))[0].id, 30)
    assert claimed is None, "another instance's"
    owner = await connect_store(mine)
    (first,) = await owner.operations_with_reference("A", "r0")
    claimed = await owner.claim_one(first.id, 30)
    assert claimed is not None
    assert await owner.add_payload(first.id, first.created_at, claimed.fence, further, [])
    live = [columns async for rows in store.live_payloads(mine) for columns in rows]
    assert {columns.payload_id for columns in live} == {operation.payload_id for operation in operations[:3]}
    assert {columns.payload_record for columns in live} == {b"the record of a payload"}
    assert {columns.payload_id: columns.further_payloads for columns in live}[first.payload_id] == (further,)
    assert sum(map(len, (columns.further_payloads for columns in live))) == 1
    statistics = await Upkeep(store.database, mine).statistics()
    assert statistics.operations == {OperationStatus.PENDING_EXECUTION: 4}
    assert statistics.documents == {OperationStatus.PENDING_EXECUTION: 8}
    assert statistics.unfinished == 4
    assert statistics.database_bytes > 1_000_000
