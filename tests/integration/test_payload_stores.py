"""The whole service on each payload store, and what becomes of a request when the store fails."""

import asyncio
import json
import threading
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness.invoices import invoice
from harness.validators import pyhanko_verify
from harness.waiting import PATIENCE_SECONDS, eventually
from tests.conformance.stores import SERVED, STORES, Memory, StoreUnderTest
from tests.support.house import CALLER, House, multipart_body, running_house
from tests.support.memory_payloads import MemoryPayloads, MemoryReader
from tests.support.parts import Connect
from tests.support.upstream import CONTENTS

from batchseal.audit.chain import Event, Verifier
from batchseal.errors import NoSpace, PayloadUnavailable, ReferenceTaken, ResultExpired
from batchseal.operation import DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord


@pytest.fixture(params=SERVED)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def house(
    store: StoreUnderTest, connect_store: Connect, database_url: str, tmp_path: Path
) -> AsyncIterator[House]:
    async with running_house(connect_store, database_url, store.payloads, tmp_path) as house:
        yield house


async def check_signed(house: House, results: list[Any], contents: list[bytes], verified: int = 2) -> None:
    assert len(results) == len(contents)
    for number, (content, result) in enumerate(zip(contents, results, strict=True)):
        signed = b"".join(result.segments)
        assert signed.startswith(content)
        assert len(signed) == len(content) + result.row.additional_bytes
        if number < verified:
            path = house.parts.folder / "signed.pdf"
            path.write_bytes(signed)
            (verdict,) = await asyncio.to_thread(pyhanko_verify, path, house.double.certificate)
            assert verdict.valid
            assert verdict.whole_file


# --- the whole service -----------------------------------------------------------------------------------------------


async def test_a_batch_from_its_request_to_its_purge(house: House, store: StoreUnderTest) -> None:
    row = await house.submit("batch", CONTENTS)
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTED
    await check_signed(house, results, CONTENTS)
    code, _, body, ended = await house.get(f"/operation/sign/detail/{row.id}/contentInResponse/true")
    assert (code, ended) == (200, True)
    assert json.loads(body)["status"] == "EXECUTED"

    async def fetched() -> bool:
        return await house.owner.fetchval("SELECT fetched_at FROM operations") is not None

    await eventually(fetched)
    await house.audit.chain()
    await house.owner.execute("UPDATE operations SET fetched_at = now() - interval '2 days'")
    stored_bytes = house.payloads.stored_bytes()
    await house.purging.purge_due(86_400, 7 * 86_400)
    assert store.ids() == set()
    assert stored_bytes > 0 == house.payloads.stored_bytes()
    with house.parts.ledger.booked() as booked:
        assert booked.stored_bytes <= 0
    with pytest.raises(ResultExpired):
        await house.parts.service.finished_operation(CALLER, operation_id=row.id)
    await house.audit.chain()
    verifier, events = Verifier(), []
    async for entry in house.trail.read():
        verifier.take(entry)
        events.append(Event(entry.event))
    assert verifier.problems == []
    assert events == [Event.REGISTERED, Event.FINISHED, Event.FETCHED, Event.PURGED]


async def test_a_result_that_is_purged_while_it_is_read_is_not_told_as_failed(house: House) -> None:
    row = await house.submit("purged", CONTENTS[:2])
    await house.finished(row.id)
    finished, rows = await house.parts.service.finished_operation(CALLER, operation_id=row.id)
    await house.owner.execute("UPDATE operations SET fetched_at = now() - interval '2 days' WHERE id = $1", row.id)
    await house.audit.chain()
    await house.purging.purge_due(86_400, 7 * 86_400)
    with pytest.raises(PayloadUnavailable):
        await anext(house.parts.service.deliver(finished, rows, encoding="raw"))
    with pytest.raises(ResultExpired):
        await house.parts.service.finished_operation(CALLER, operation_id=row.id)


async def test_for_want_of_room_a_result_is_purged_only_where_that_makes_room(house: House) -> None:
    """Uploads into an object store need space on this machine, and deleting an object there frees none."""
    row = await house.submit("fetched", CONTENTS[:2])
    await house.finished(row.id)
    await house.owner.execute("UPDATE operations SET fetched_at = now() WHERE id = $1", row.id)
    await house.audit.chain()
    await house.purging.make_room(1 << 40)
    makes_room = house.payloads.name != "s3"
    assert house.payloads.delete_makes_room == makes_room
    assert (await house.row(row.id)).payload_purged == makes_room
    if not makes_room:
        _, results = await house.finished(row.id)
        await check_signed(house, results, CONTENTS[:2])


@pytest.mark.parametrize("request_first", [True, False])
async def test_multipart_in_either_order(house: House, request_first: bool) -> None:
    contents = CONTENTS[:7]
    row = await house.receive(multipart_body("parts", contents, request_first=request_first), form="multipart")
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTED
    await check_signed(house, results, contents)
    # What was described after its file was prepared by the signer.
    assert len(finished.further_payloads) == (0 if request_first else 1)


@pytest.mark.parametrize("count", [1, 7])
async def test_synchronous(house: House, store: StoreUnderTest, count: int) -> None:
    row = await house.submit("synchronous", CONTENTS[:count], Mode.SYNC)
    ended = await house.parts.service.finished_within(CALLER, row, 120)
    assert ended is not None
    assert ended[0].status is OperationStatus.EXECUTED
    results = [one async for one in house.parts.service.deliver(*ended, encoding="raw")]
    await check_signed(house, results, CONTENTS[:count])
    if isinstance(store, Memory):
        assert store.payloads.stored[row.payload_id].is_durable


async def test_a_failed_request_goes_on_when_it_comes_again(house: House, store: StoreUnderTest) -> None:
    house.double.fault = lambda path, number: "429 0" if path == "signHash" else ""
    row = await house.submit("again", CONTENTS[:6])
    finished, _ = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTION_FAILED
    house.double.fault = lambda path, number: ""
    assert (await house.submit("again", CONTENTS[:6])).id == row.id
    assert store.ids() == {row.payload_id}
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTED
    await check_signed(house, results, CONTENTS[:6])


async def test_a_damaged_document_costs_itself_alone(house: House, store: StoreUnderTest) -> None:
    row = await house.submit("damaged", CONTENTS[:4])
    await house.finished(row.id)
    store.damage(row.payload_id, FrameKind.DOCUMENT, 1)
    store.damage(row.payload_id, FrameKind.PREPARED, 2)
    _, results = await house.finished(row.id)
    assert [one.row.status is DocumentStatus.SIGNED for one in results] == [True, False, False, True]
    assert [one.row.sign_error for one in results[1:3]] == [SignError.STORAGE_SERVICE_GLOBAL_ERROR] * 2
    await check_signed(house, [results[0], results[3]], [CONTENTS[0], CONTENTS[3]])
    code, _, body, ended = await house.get(f"/operation/sign/detail/{row.id}/contentInResponse/true")
    assert (code, ended, json.loads(body)["status"]) == (200, True, "EXECUTION_FAILED")
    await house.parts.service.close()  # writes which results were fetched
    assert await house.owner.fetchval("SELECT fetched_at FROM operations") is None


async def test_a_damaged_document_is_not_signed_and_its_neighbours_are(house: House, store: StoreUnderTest) -> None:
    """It was damaged before the signer could prepare it."""
    house.double.fault = lambda path, number: "503"
    row = await house.submit("damaged", CONTENTS[:4])
    await eventually(lambda: is_postponed(house, row.id))
    store.damage(row.payload_id, FrameKind.DOCUMENT, 1)
    house.double.fault = lambda path, number: ""
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTION_FAILED
    assert [one.row.status is DocumentStatus.SIGNED for one in results] == [True, False, True, True]
    assert results[1].row.sign_error is SignError.STORAGE_SERVICE_GLOBAL_ERROR


async def test_what_was_asked_is_needed_by_those_alone_that_are_prepared_anew(
    house: House, store: StoreUnderTest
) -> None:
    await house.finished((await house.submit("the credential is known from now on", CONTENTS[:1])).id)
    house.double.fault = lambda path, number: "503" if path == "signHash" else ""
    row = await house.submit("damaged", CONTENTS[:4])
    await eventually(lambda: is_postponed(house, row.id))
    store.damage(row.payload_id, FrameKind.DESCRIPTIONS, 0)
    store.damage(row.payload_id, FrameKind.PREPARED, 2)
    house.double.fault = lambda path, number: ""
    _, results = await house.finished(row.id)
    assert [one.row.status is DocumentStatus.SIGNED for one in results] == [True, True, False, True]
    assert results[2].row.sign_error is SignError.STORAGE_SERVICE_GLOBAL_ERROR


async def is_postponed(house: House, operation_id: int) -> bool:
    return (await house.row(operation_id)).status is OperationStatus.EXECUTION_ERROR


# --- with faults that only the store in memory can be told to have ------------------------------------------------------


@pytest.fixture
def memory(store: StoreUnderTest) -> Memory:
    assert isinstance(store, Memory)
    return store


only_memory = pytest.mark.parametrize("store", ["memory"], indirect=True)


@only_memory
async def test_signing_waits_for_a_store_that_is_away(house: House, memory: Memory) -> None:
    house.double.fault = lambda path, number: "503"  # so that the signer has to read the payload
    row = await house.submit("away", CONTENTS[:3])
    await eventually(lambda: is_postponed(house, row.id))
    with memory.unavailable():
        house.double.fault = lambda path, number: ""
        refused = memory.payloads.faults.refused

        async def tried_often() -> bool:
            return memory.payloads.faults.refused > refused + 6

        await eventually(tried_often)
        assert not (await house.row(row.id)).status.finished
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTED
    await check_signed(house, results, CONTENTS[:3])
    assert max(house.double.sent.values()) == 1


class Windows(MemoryPayloads):
    """Its readers hold memory while they are open, as those of an object store do."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[MemoryReader] = []

    def reader_bytes(self, record: PayloadRecord) -> int:
        return 1 << 20

    def open(self, record: PayloadRecord) -> MemoryReader:
        self.readers.append(super().open(record))
        return self.readers[-1]


async def test_no_reader_that_holds_memory_is_open_while_the_signing_service_is_asked(
    connect_store: Connect, database_url: str, tmp_path: Path
) -> None:
    payloads, open_readers = Windows(), list[int]()

    def counted(path: str, number: int) -> str:
        if path == "signHash":
            open_readers.append(sum(not reader.is_closed for reader in payloads.readers))
        return ""

    async with running_house(connect_store, database_url, payloads, tmp_path) as house:
        house.double.fault = lambda path, number: "503" if path == "signHash" else ""
        row = await house.submit("read again", CONTENTS[:3])
        await eventually(lambda: is_postponed(house, row.id))
        house.double.fault = counted
        assert await house.parts.service.wait(row.id, 120)
        assert payloads.readers
        assert set(open_readers) == {0}


@only_memory
async def test_what_is_signed_waits_for_a_store_that_is_away_when_it_must_be_durable(
    house: House, memory: Memory
) -> None:
    """No end of a synchronous operation is written before its payload is durable."""
    await house.finished((await house.submit("the credential is known from now on", CONTENTS[:1])).id)
    memory.payloads.faults.not_durable = True
    row = await house.submit("synchronous", CONTENTS[:1], Mode.SYNC)
    with pytest.raises(PayloadUnavailable):
        await house.parts.service.finished_within(CALLER, row, 0.5)
    assert not (await house.row(row.id)).status.finished
    memory.payloads.faults.not_durable = False
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTED
    assert memory.payloads.stored[row.payload_id].is_durable
    await check_signed(house, results, CONTENTS[:1])


@only_memory
async def test_a_result_that_cannot_be_read_is_not_fetched(house: House, memory: Memory) -> None:
    # Each document is read while the one before it goes out.
    contents = [invoice(number, size_bytes=1_500_000) for number in range(4)]
    row = await house.submit("result", contents)
    await house.finished(row.id)
    path = f"/operation/sign/detail/{row.id}/contentInResponse/true"
    with memory.unavailable():
        finished, rows = await house.parts.service.finished_operation(CALLER, operation_id=row.id)
        with pytest.raises(PayloadUnavailable):
            await anext(house.parts.service.deliver(finished, rows, encoding="raw"))
        code, headers, body, _ = await house.get(path)
    assert (code, "retry-after" in headers) == (503, True)
    assert b"payload_unavailable" in body

    def go_away() -> None:
        memory.payloads.faults.unavailable = True

    code, _, body, ended = await house.get(path, go_away)
    assert (code, ended) == (200, False), "a reply that cannot go on is cut"
    assert body
    memory.payloads.faults.unavailable = False
    await house.parts.service.close()  # writes which results were fetched
    assert await house.owner.fetchval("SELECT fetched_at FROM operations") is None
    code, _, _, ended = await house.get(path)
    await house.parts.service.close()
    assert (code, ended) == (200, True)
    assert await house.owner.fetchval("SELECT fetched_at FROM operations") is not None


@only_memory
async def test_a_full_store_refuses_a_request_and_keeps_nothing_of_it(house: House, memory: Memory) -> None:
    before = memory.ids()
    with memory.full(60_000), pytest.raises(NoSpace):
        await house.submit("full", CONTENTS[:10])
    assert memory.ids() == before
    with house.parts.ledger.booked() as booked:
        assert (booked.temp_bytes, booked.memory_bytes, booked.queued_documents) == (0, 0, 0)
    assert await house.owner.fetchval("SELECT count(*) FROM external_references") == 0
    finished, _ = await house.finished((await house.submit("full", CONTENTS[:10])).id)
    assert finished.status is OperationStatus.EXECUTED


@only_memory
async def test_a_store_that_is_full_while_it_is_signed_keeps_nothing_of_each_try(house: House, memory: Memory) -> None:
    """Else each try would make the full store fuller."""
    house.double.fault = lambda path, number: "503"
    row = await house.submit("full", CONTENTS[:3])
    await eventually(lambda: is_postponed(house, row.id))
    with memory.full(2_000):
        house.double.fault = lambda path, number: ""
        refused = memory.payloads.faults.refused

        async def tried_often() -> bool:
            return memory.payloads.faults.refused > refused + 3

        async def holds_only_the_upload() -> bool:
            return memory.ids() == {row.payload_id}

        await eventually(tried_often)
        await eventually(holds_only_the_upload)  # between two tries, while each of them would have left something
    finished, results = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTED
    await check_signed(house, results, CONTENTS[:3])
    assert len(memory.ids()) == 2


@only_memory
async def test_a_slow_store_holds_nobody_up(house: House, memory: Memory) -> None:
    """A call of the store lasts until the event loop has done something else: it would never end if the loop waited for it."""
    loop, held_up, calls = asyncio.get_running_loop(), list[str](), 0

    def slow() -> None:
        nonlocal calls
        calls, turned = calls + 1, threading.Event()
        loop.call_soon_threadsafe(turned.set)
        if not turned.wait(10 if threading.current_thread() is threading.main_thread() else PATIENCE_SECONDS):
            held_up.extend(traceback.format_stack())

    memory.payloads.faults.before_each = slow
    try:
        row = await house.submit("slow", CONTENTS[:3])
        with pytest.raises(ReferenceTaken):
            await house.submit("slow", CONTENTS[:3])
        finished, _ = await house.finished(row.id)
    finally:
        memory.payloads.faults.before_each = None
    assert finished.status is OperationStatus.EXECUTED
    assert calls > 3 and not held_up, "the event loop waited for the store:\n" + "".join(held_up)


@only_memory
async def test_no_upload_is_left_open(house: House, memory: Memory) -> None:
    """Where the signer can prepare none of the documents, nothing of the further payload stays."""
    house.double.fault = lambda path, number: "503"
    row = await house.submit("damaged", CONTENTS[:2])
    await eventually(lambda: is_postponed(house, row.id))
    for ordinal in range(2):
        memory.damage(row.payload_id, FrameKind.DOCUMENT, ordinal)
    house.double.fault = lambda path, number: ""
    finished, _ = await house.finished(row.id)
    assert finished.status is OperationStatus.EXECUTION_FAILED

    async def alone() -> bool:
        return memory.ids() == {row.payload_id}

    await eventually(alone)
