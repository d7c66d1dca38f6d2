"""A lease that was lost and taken again is another one: what has begun under the first does not go on under the second."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.hot_folders import Folders, below, left_over, put
from harness.waiting import eventually
from tests.support.hot_folders import SigningDouble
from tests.unit.test_hot_folder_crashes import claim, context_of
from tests.unit.test_hot_folder_running import RULES

from batchseal.entries.batch import BatchRun
from batchseal.entries.hot_folder import HotFolder
from batchseal.entries.leases import FolderLeases
from batchseal.entries.published import Published
from batchseal.store.instances import LEASE_SECONDS, RENEW_SECONDS

FOLDER = uuid4()


class Turns:
    """The database gives a lease to whoever asks, unless another instance has it."""

    is_taken = False

    async def take_duties(self, names: Collection[str]) -> set[str]:
        return set() if self.is_taken else set(names)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def leases(clock: Clock, turns: Turns) -> FolderLeases:
    return FolderLeases(turns, clock)  # type: ignore[arg-type]


async def test_a_lease_that_is_renewed_in_time_is_the_same(clock: Clock, leases: FolderLeases) -> None:
    await leases.renew({FOLDER})
    first = leases.lease(FOLDER)
    for _ in range(10):
        clock.now += RENEW_SECONDS
        await leases.renew({FOLDER})
    assert first.is_held()
    assert leases.lease(FOLDER) is first


@pytest.mark.parametrize("lost", ["it ran out", "another instance took it"])
async def test_one_that_was_lost_stays_lost(clock: Clock, turns: Turns, leases: FolderLeases, lost: str) -> None:
    await leases.renew({FOLDER})
    first = leases.lease(FOLDER)
    if lost == "it ran out":
        clock.now += LEASE_SECONDS
    else:
        turns.is_taken = True
        await leases.renew({FOLDER})
        turns.is_taken = False
    await leases.renew({FOLDER})
    second = leases.lease(FOLDER)
    assert not first.is_held()
    assert second.is_held()


class Waiting(SigningDouble):
    """An operation of which the end is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.end = asyncio.Event()

    async def finished_operation(self, *arguments: Any, **more: Any) -> Any:
        await self.end.wait()
        return await super().finished_operation(*arguments, **more)


async def test_a_batch_ends_with_the_lease_under_which_it_has_begun(
    tmp_path: Path, clock: Clock, leases: FolderLeases
) -> None:
    folders, service = Folders.make(tmp_path), Waiting()
    put(folders, "a.bin", b"a")
    batch = claim(folders)
    await leases.renew({FOLDER})
    context = replace(context_of(folders, service), is_ours=leases.lease(FOLDER).is_held)
    working = asyncio.create_task(BatchRun(context, batch.id).run())
    await eventually(lambda: service.operations)
    clock.now += LEASE_SECONDS
    await leases.renew({FOLDER})
    service.end.set()
    assert await working
    context.threads.close()
    assert below(folders.output) == {}


async def test_a_folder_that_is_ours_again_goes_on_under_the_new_lease(
    tmp_path: Path, clock: Clock, leases: FolderLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is lost and taken again between two looks."""
    folders, service, loaded = Folders.make(tmp_path), Waiting(), list[Published]()
    context = context_of(folders, service)
    load = context.place.load_published

    def loading(published: Published) -> None:
        loaded.append(published)
        load(published)

    monkeypatch.setattr(context.place, "load_published", loading)
    await leases.renew({FOLDER})
    folder = HotFolder(context, RULES, FOLDER, lease=lambda: leases.lease(FOLDER).is_held)
    working = asyncio.create_task(folder.run())
    put(folders, "a.bin", b"a")
    await eventually(lambda: service.operations)
    clock.now += LEASE_SECONDS
    await leases.renew({FOLDER})
    await eventually(lambda: len(loaded) == 2)
    service.end.set()
    await eventually(lambda: below(folders.output) == {"a.bin.p7m": b"a signed"})
    await eventually(lambda: left_over(folders) == [])
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert len(service.operations) == 1
