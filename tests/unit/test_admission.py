"""What a request reserves: budgets, refusals, and what comes back."""

import asyncio
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.waiting import eventually

from batchseal.admission.admission import WAITING, Admission, Ticket, Waiting
from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import Budgets, budgets_of
from batchseal.admission.standing import StandingMemory
from batchseal.errors import NoRoom, NoSpace, TooManyRequests
from batchseal.settings.load import Settings
from batchseal.system import cgroups

MB = 1 << 20


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def plenty() -> int:
    """Free bytes of a volume that is never short."""
    return 1 << 40


def admission(
    ledger: Ledger,
    temp: int = 100 * MB,
    memory: int = 100 * MB,
    queue: int = 10,
    free_bytes: Callable[[], int] = plenty,
    waiting: Waiting = WAITING,
) -> Admission:
    return Admission(ledger, Budgets(temp, memory, queue, upload_bytes=32 * MB), free_bytes, waiting=waiting)


async def test_temporary_space_is_a_budget(ledger: Ledger, tmp_path: Path) -> None:
    door = admission(ledger)
    first = await door.admit(50 * MB)
    assert first.temp_bytes == int(50 * MB * 1.1)
    with pytest.raises(NoSpace) as refused:
        await door.admit(50 * MB)
    assert refused.value.retry_after_seconds
    first.release()
    second = await door.admit(50 * MB)
    second.settle(20 * MB, 5)
    with pytest.raises(NoSpace):
        await door.admit(80 * MB)
    (await door.admit(70 * MB)).release()


async def test_memory_and_queue_are_budgets(ledger: Ledger, tmp_path: Path) -> None:
    door = admission(ledger, temp=1 << 40, memory=64 * MB)
    held = [await door.admit(30 * MB), await door.admit(30 * MB)]
    with pytest.raises(NoRoom):
        await door.admit(30 * MB)
    held[0].settle(0, 10)
    with pytest.raises(TooManyRequests):
        await door.admit(1)
    with ledger.booked() as booked:
        booked.queued_documents = 9
    (await door.admit(30 * MB)).release()


async def test_an_upload_waits_for_the_memory_of_others(ledger: Ledger) -> None:
    door = admission(ledger, temp=1 << 40, memory=32 * MB, waiting=Waiting(look_seconds=0.001))
    first = await door.admit(30 * MB)
    waiting = asyncio.create_task(door.admit_in_turn(30 * MB, "client"))
    await eventually(lambda: door.waiting("client"))
    assert not waiting.done()
    first.release()
    (await waiting).release()
    assert not door.waiting("client")
    with ledger.booked() as booked:
        assert booked.memory_bytes == 0


async def test_an_upload_is_refused_where_others_of_its_client_wait_already(ledger: Ledger) -> None:
    door = admission(ledger, temp=1 << 40, memory=32 * MB, waiting=Waiting(look_seconds=0.001, uploads=1))
    first = await door.admit(30 * MB)
    waiting = asyncio.create_task(door.admit_in_turn(30 * MB, "client"))
    await eventually(lambda: door.waiting("client"))
    with pytest.raises(NoRoom):
        await door.admit_in_turn(30 * MB, "client")
    first.release()
    (await waiting).release()


async def test_an_upload_is_refused_where_nothing_comes_back_in_time(ledger: Ledger) -> None:
    door = admission(ledger, temp=1 << 40, memory=32 * MB, waiting=Waiting(seconds=0.01, look_seconds=0.001))
    await door.admit(30 * MB)
    with pytest.raises(NoRoom):
        await door.admit_in_turn(30 * MB, "client")
    assert not door.waiting("client")


async def test_an_upload_does_not_wait_where_there_is_no_memory_for_any(ledger: Ledger) -> None:
    with pytest.raises(NoRoom, match="leaves no memory"):
        await admission(ledger, memory=0).admit_in_turn(1, "client")


async def test_one_request_larger_than_the_memory_is_let_in_alone(ledger: Ledger, tmp_path: Path) -> None:
    door = admission(ledger, memory=1 * MB)
    ticket = await door.admit(30 * MB)
    with pytest.raises(NoRoom):
        await door.admit(1)
    ticket.release()


async def test_a_body_without_length_is_topped_up(ledger: Ledger, tmp_path: Path) -> None:
    ticket = await admission(ledger).admit(None)
    ticket.wrote(7 * MB, 10 * MB)
    assert ticket.temp_bytes >= 17 * MB
    with pytest.raises(NoSpace):
        ticket.wrote(17 * MB, 100 * MB)
    ticket.release()
    with ledger.booked() as booked:
        assert (booked.temp_bytes, booked.written_bytes, booked.memory_bytes) == (0, 0, 0)


async def test_the_volume_has_the_last_word(ledger: Ledger) -> None:
    door = admission(ledger, free_bytes=lambda: 10 * MB)
    with pytest.raises(NoSpace):
        await door.admit(20 * MB)
    (await door.admit(5 * MB)).release()


async def test_fetched_payloads_make_room(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.booked() as booked:
        booked.stored_bytes = 90 * MB
    asked: list[tuple[int, str]] = []

    async def make_room(needed: int, client: str) -> None:
        asked.append((needed, client))
        with ledger.booked() as booked:
            booked.stored_bytes = 0

    door = Admission(ledger, Budgets(100 * MB, 100 * MB, 10), plenty, make_room)
    (await door.admit(50 * MB, "one")).release()
    assert asked == [(int(50 * MB * 1.1), "one")]


def reserve_and_die(path: Path) -> None:
    Ticket(admission(Ledger(path))).book(60 * MB, MB)


async def test_what_a_dead_process_reserved_is_free(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    child = multiprocessing.get_context("spawn").Process(target=reserve_and_die, args=(path,))
    child.start()
    door = admission(Ledger(path))
    child.join()
    with door.ledger.booked() as booked:
        assert booked.temp_bytes == 0
    (await door.admit(80 * MB)).release()


async def test_processes_share_the_budget(tmp_path: Path) -> None:
    # Two ledgers on one file stand for two workers: only the process id in the slot is the same.
    one, other = admission(Ledger(tmp_path / "ledger")), admission(Ledger(tmp_path / "ledger"))
    held = await one.admit(60 * MB)
    with pytest.raises(NoSpace):
        await other.admit(60 * MB)
    held.release()


def test_the_rule_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "memory_limit", lambda: 512 * MB)
    budgets = budgets_of(Settings())
    assert budgets.temp_bytes == 2 * 20_000 * 200_000
    assert budgets.queued_documents == 20_000
    assert 64 * MB <= budgets.memory_bytes < 512 * MB


def test_standing_memory_leaves_less_for_uploads_and_never_exceeds_the_limit(tmp_path: Path) -> None:
    """What unfinished headers hold is booked in place of what was booked before, and is given back."""
    ledger = Ledger(tmp_path / "ledger")
    standing, other = StandingMemory(ledger, 10 << 20), StandingMemory(ledger, 10 << 20)
    assert standing.hold(6 << 20)
    assert not other.hold(5 << 20)
    assert other.hold(4 << 20)
    assert standing.hold(6 << 20) and not standing.hold(7 << 20)
    assert standing.hold(1 << 20) and other.hold(9 << 20)
    with ledger.booked() as booked:
        assert booked.memory_bytes == 10 << 20
    assert standing.hold(0) and other.hold(0)
    with ledger.booked() as booked:
        assert booked.memory_bytes == 0
    ledger.close()
