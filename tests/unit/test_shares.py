"""What is kept for client services that have little, while another one takes all that there is."""

import asyncio
from pathlib import Path

import pytest

from batchseal.admission.admission import Admission
from batchseal.admission.growth import UploadMemory
from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import Budgets, Shares, room
from batchseal.errors import NoRoom, NoSpace, TooManyRequests
from batchseal.signer.at_work import AtWork

MB = 1 << 20


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def door(
    ledger: Ledger, *, alone: bool = False, free_bytes: int = 1 << 40, memory: int = 100 * MB, deliveries: int = 4
) -> Admission:
    shares = Shares(space=10, memory=20, queue=10, deliveries=50)
    budgets = Budgets(
        *(100 * MB, memory, 100), upload_bytes=8 * MB, window_bytes=2 * MB, deliveries=deliveries, shares=shares
    )
    return Admission(ledger, budgets, lambda: free_bytes, is_alone=lambda: alone)


def test_room_is_the_budget_for_everybody_and_a_share_on_top_for_those_who_have_little() -> None:
    assert room(100, 10, used=0, own=0) == 100
    assert room(100, 10, used=95, own=95) == 5
    assert room(100, 10, used=100, own=0) == 10
    assert room(100, 10, used=100, own=4) == 6
    assert room(100, 10, used=106, own=2) == 4
    assert room(100, 10, used=100, own=100) <= 0
    assert room(100, 10, used=110, own=0) == 0


async def test_space_that_one_has_used_up_is_refused_to_it_and_not_to_others(ledger: Ledger) -> None:
    admission = door(ledger)
    (await admission.admit(90 * MB, "greedy")).settle(99 * MB, 0)
    with pytest.raises(NoSpace):
        await admission.admit(2 * MB, "greedy")
    for _ in range(3):
        (await admission.admit(2 * MB, "other")).settle(2 * MB, 0)
    with pytest.raises(NoSpace):
        await admission.admit(5 * MB, "other")
    (await admission.admit(2 * MB, "third")).release()


async def test_the_volume_has_a_share_too(ledger: Ledger) -> None:
    admission = door(ledger, free_bytes=40 * MB)
    with pytest.raises(NoSpace):
        await admission.admit(35 * MB, "greedy")
    (await admission.admit(33 * MB, "greedy")).settle(33 * MB, 0)
    nearly_full = door(ledger, free_bytes=2 * MB)
    with pytest.raises(NoSpace):
        await nearly_full.admit(1 * MB, "greedy")
    (await nearly_full.admit(1 * MB, "other")).release()


async def test_who_is_alone_has_everything(ledger: Ledger) -> None:
    admission = door(ledger, alone=True, free_bytes=40 * MB, memory=32 * MB)
    held = [await admission.admit(7 * MB, "only") for _ in range(4)]
    assert sum(ticket.memory_bytes for ticket in held) == 32 * MB
    for ticket in held:
        ticket.release()
    (await admission.admit(36 * MB, "only")).release()


async def test_memory_that_one_holds_leaves_a_share_for_others(ledger: Ledger) -> None:
    admission = door(ledger, memory=50 * MB)
    held = [await admission.admit(7 * MB, "greedy") for _ in range(5)]
    with pytest.raises(NoRoom):
        await admission.admit(7 * MB, "greedy")
    small = [await admission.admit(4 * MB, "other"), await admission.admit(4 * MB, "other")]
    with pytest.raises(NoRoom):
        await admission.admit(4 * MB, "other")
    for ticket in held + small:
        ticket.release()


async def test_a_full_queue_takes_those_who_have_little_in_it(ledger: Ledger) -> None:
    admission = door(ledger)
    ledger.count_queued({"greedy": 100})
    with pytest.raises(TooManyRequests):
        await admission.admit(1, "greedy")
    (await admission.admit(1, "other")).settle(0, 10)
    with pytest.raises(TooManyRequests):
        await admission.admit(1, "other")


async def test_rows_that_one_has_filled_the_database_with(ledger: Ledger) -> None:
    budgets = Budgets(100 * MB, 100 * MB, 100, document_rows=1000, shares=Shares(rows=10))
    admission = Admission(ledger, budgets, lambda: 1 << 40, is_alone=lambda: False)
    ledger.count_rows({"greedy": 950, "other": 10})
    (await admission.admit(1, "greedy")).settle(0, 50)
    with pytest.raises(NoSpace, match="max-document-rows"):
        await admission.admit(1, "greedy")
    ledger.count_queued({})
    (await admission.admit(1, "other")).settle(0, 90)
    with pytest.raises(NoSpace):
        await admission.admit(1, "other")
    unlimited = Admission(ledger, Budgets(100 * MB, 100 * MB, 1000, document_rows=0), lambda: 1 << 40)
    (await unlimited.admit(1, "greedy")).release()


async def test_deliveries_that_one_holds_are_refused_to_it_first(ledger: Ledger) -> None:
    admission = door(ledger)
    ends = [await admission.admit_delivery("greedy", MB) for _ in range(4)]
    waiting = asyncio.ensure_future(admission.admit_delivery("greedy", MB))
    others = [await admission.admit_delivery("other", MB) for _ in range(2)]
    assert not waiting.done()
    for end in others:
        end()
    ends.pop()()
    (await waiting)()
    for end in ends:
        end()
    with ledger.booked("greedy") as booked:
        assert (booked.memory_bytes, booked.own.memory_bytes) == (0, 0)


def test_counting_replaces_what_is_stored_and_queued_of_each_client_service(ledger: Ledger) -> None:
    with ledger.booked("gone") as booked:
        booked.own.stored_bytes, booked.own.queued_documents = 7, 7
    ledger.count_stored(100, {"one": 60, "two": 30})
    ledger.count_queued({"two": 5})
    found = {}
    for name in ("one", "two", "gone", "never seen"):
        with ledger.booked(name) as booked:
            assert (booked.stored_bytes, booked.queued_documents) == (100, 5)
            found[name] = booked.own.stored_bytes, booked.own.queued_documents
    assert found == {"one": (60, 0), "two": (30, 5), "gone": (0, 0), "never seen": (0, 0)}


def test_more_client_services_than_the_ledger_has_records_for(ledger: Ledger) -> None:
    for n in range(1100):
        with ledger.booked(f"client {n}") as booked:
            booked.own.stored_bytes += 1
    with ledger.booked("client 3") as booked:
        assert booked.own.stored_bytes == 1
    ledger.count_stored(50, {f"client {n}": n for n in range(1100)})
    with ledger.booked("client 3") as booked:
        assert (booked.stored_bytes, booked.own.stored_bytes) == (50, 3)


@pytest.mark.parametrize("wrong", [{"space": -1}, {"memory": 51}])
def test_shares_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="percent"):
        Shares(**wrong)


# --- large documents ------------------------------------------------------------------------------------------------


async def test_a_document_that_outgrows_a_window_reserves_the_largest_that_it_may_become(ledger: Ledger) -> None:
    admission = door(ledger, alone=True)
    ticket = await admission.admit(40 * MB)
    memory = UploadMemory(admission, ticket, decoded_bytes=40 * MB, max_document_bytes=30 * MB)
    await memory.grows(2 * MB)
    assert ticket.memory_bytes == 8 * MB
    await memory.grows(1)
    assert ticket.memory_bytes == 38 * MB
    memory.complete([20 * MB])
    assert ticket.memory_bytes == 28 * MB
    await memory.grows(3 * MB)  # one that is stored, and one that can have what is left of the body
    assert ticket.memory_bytes == 48 * MB
    memory.stored([20 * MB])
    assert ticket.memory_bytes == 28 * MB
    memory.complete([3 * MB, 1000])
    memory.stored([3 * MB, 1000])
    assert ticket.memory_bytes == 8 * MB
    ticket.release()


async def test_uploads_that_cannot_all_have_a_large_document_wait_for_each_other(ledger: Ledger) -> None:
    admission = door(ledger, alone=True, memory=60 * MB)
    tickets = [await admission.admit(30 * MB) for _ in range(3)]
    uploads = [UploadMemory(admission, one, decoded_bytes=30 * MB, max_document_bytes=100 * MB) for one in tickets]
    await uploads[0].grows(3 * MB)
    waiting = {asyncio.ensure_future(uploads[n].grows(3 * MB)): n for n in (1, 2)}
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    able = 0
    while True:
        uploads[able].complete([30 * MB])
        uploads[able].stored([30 * MB])
        tickets[able].release()
        if not waiting:
            break
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        able = waiting.pop(done.pop())
    with ledger.booked() as booked:
        assert booked.memory_bytes == 0


async def test_a_document_that_can_never_fit_is_refused_at_once(ledger: Ledger) -> None:
    admission = door(ledger, alone=True, memory=48 * MB)
    ticket = await admission.admit(None)
    memory = UploadMemory(admission, ticket, decoded_bytes=None, max_document_bytes=100 * MB)
    await memory.grows(3 * MB)
    assert ticket.memory_bytes == 38 * MB  # something is left for others, since it may stay small
    await memory.grows(28 * MB)
    assert ticket.memory_bytes == 48 * MB
    with pytest.raises(NoRoom, match="memory-limit"):
        await memory.grows(10 * MB)
    ticket.release()


# --- the signer ------------------------------------------------------------------------------------------------------


def test_the_signer_has_room_for_who_has_little_at_work() -> None:
    at_work = AtWork(8, 1000, 25, lambda: False)
    for number in range(8):
        at_work.begins(number, "greedy", 10)
    assert (at_work.room("greedy"), at_work.room("other"), at_work.busy()) == (0, 2, ["greedy"])
    at_work.begins(8, "other", 10)
    assert at_work.room("other") == 1
    at_work.ended(0)
    at_work.ended(1)
    assert at_work.room("greedy") == 1
    at_work.ended(8)
    at_work.begins(9, "greedy", 2000)
    assert (at_work.room("greedy"), at_work.room("other")) == (0, 0)


def test_the_signer_has_nothing_on_top_for_who_is_alone() -> None:
    at_work = AtWork(2, 1000, 25, lambda: True)
    at_work.begins(1, "only", 1)
    at_work.begins(2, "only", 1)
    assert (at_work.room("only"), at_work.busy()) == (0, [])
