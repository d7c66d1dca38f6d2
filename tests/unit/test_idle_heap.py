"""The signer gives memory back while it has nothing at work."""

import asyncio

import pytest
from harness.waiting import eventually, turns

from batchseal.signer.at_work import AtWork
from batchseal.system import heap


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times at which memory was given back."""
    times = list[float]()
    monkeypatch.setattr(heap, "give_back_memory", lambda: times.append(asyncio.get_running_loop().time()))
    return times


async def test_memory_is_given_back_after_the_last_of_several_operations(given_back: list[float]) -> None:
    at_work = AtWork(8, 1000, 25, lambda: True, heap.IdleHeap(seconds=0.05))
    at_work.begins(1, "a", 10)
    at_work.begins(2, "b", 10)
    at_work.ended(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await eventually(lambda: loop.time() > began + 0.2)
    assert given_back == []  # one of them is still at work
    at_work.ended(2)
    await eventually(lambda: bool(given_back))


async def test_operations_that_follow_each_other_find_their_memory(given_back: list[float]) -> None:
    at_work = AtWork(8, 1000, 25, lambda: True, heap.IdleHeap(seconds=0.1))
    for operation in range(10):
        at_work.begins(operation, "a", 1)
        at_work.ended(operation)
    await eventually(lambda: bool(given_back))
    await turns()
    assert len(given_back) == 1
