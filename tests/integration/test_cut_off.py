"""Work that is cut off while a thread writes a payload: the file stays open, and the thread's alone, until the thread is done."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.waiting import eventually, turns
from tests.support.parts import Connect
from tests.support.upstream import CONTENTS, Running, running_service

from batchseal.operation import Mode, OperationStatus
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.writer import FileUpload
from batchseal.signer.pace import Pace
from batchseal.store import Store
from batchseal.worker.credentials import CredentialCache

INSTANCE = UUID(int=7)


@pytest.fixture
async def running(connect_store: Connect, tmp_path: Path, lease_seconds: float) -> AsyncIterator[Running]:
    pace = Pace(lease_seconds=lease_seconds, look_seconds=0.05)
    async with running_service(connect_store, INSTANCE, tmp_path, pace=pace) as running:
        yield running


@pytest.fixture
def lease_seconds() -> float:
    """So long that no lease ends because the machine is busy."""
    return 600.0


def open_descriptors(path: Path) -> set[int]:
    """The descriptors of this process that stand for the file `path`."""
    found, file = set(), path.stat()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if os.path.samestat(entry.stat(), file):
                found.add(int(entry.name))
    return found


class Held:
    """The first append that holds a frame of this kind waits in its thread until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: FrameKind) -> None:
        self.entered, self.may_go_on, self.open_to_the_end = threading.Event(), threading.Event(), False
        append = FileUpload.append

        def held(upload: FileUpload, frames: Any) -> Any:
            kept = list(frames)
            if self.entered.is_set() or kind not in {frame[0] for frame in kept}:
                return append(upload, kept)
            before = open_descriptors(upload.path)
            self.entered.set()
            assert self.may_go_on.wait(120)
            self.open_to_the_end = len(before) == 1 and open_descriptors(upload.path) == before
            return append(upload, kept)

        monkeypatch.setattr(FileUpload, "append", held)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 120)


async def unknown(*_: Any) -> None:
    """The worker does not know the credential, so the signer has to prepare the documents."""


@pytest.mark.parametrize("lease_seconds", [3.0])  # a third of it passes until it is renewed, which fails
async def test_preparing_that_loses_its_lease(
    running: Running, connect_store: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second run begins beside the thread. No row names what the thread wrote, so it is deleted at once."""
    append, renew, claim = Held(monkeypatch, FrameKind.PREPARED), Store.renew, Store.claim
    lost, looks = threading.Event(), list[int]()

    async def renew_once_lost(*arguments: Any) -> bool:
        if append.entered.is_set() and not lost.is_set():
            lost.set()
            return False
        return await renew(*arguments)

    async def counted(*arguments: Any, **options: Any) -> Any:
        claimed = await claim(*arguments, **options)
        looks.append(len(claimed))
        return claimed

    monkeypatch.setattr(Store, "renew", renew_once_lost)
    monkeypatch.setattr(CredentialCache, "of", unknown)
    row = await running.submit("lost", CONTENTS[:2])
    await append.until_entered()
    assert await asyncio.to_thread(lost.wait, 120)
    await (await connect_store(INSTANCE)).take_back_own_leases()
    monkeypatch.setattr(Store, "claim", counted)
    await eventually(lambda: len(looks) > 2)  # the signer has looked for work meanwhile
    assert not any(looks)
    append.may_go_on.set()
    operation, delivered = await running.finished(row.id)
    assert append.open_to_the_end
    assert operation.status is OperationStatus.EXECUTED
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:2]
    assert running.double.calls["signHash"] == 1
    assert len(list(running.folder.glob("*.spill"))) == 2


async def test_signatures_that_came_after_the_lease_was_lost_are_not_kept(
    running: Running, connect_store: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run names its fence when it writes them. The next run asks for signatures of its own."""
    finish, stale = Store.finish, list[bool]()

    async def finish_late(*arguments: Any, **options: Any) -> Any:
        if not stale:
            await (await connect_store(INSTANCE)).take_back_own_leases()
        ended = await finish(*arguments, **options)
        stale.append(ended is None)
        return ended

    monkeypatch.setattr(Store, "finish", finish_late)
    row = await running.submit("late", CONTENTS[:2])
    operation, delivered = await running.finished(row.id)
    assert stale == [True, False]
    assert operation.status is OperationStatus.EXECUTED
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:2]
    # Both were signed twice. How many calls that took depends on how soon the second digest followed the first.
    assert sum(running.double.sent.values()) == 4
    kept = await running.parts.store.evidence(row.id, row.created_at, [0, 1])
    assert len(kept) == 2


@pytest.mark.parametrize("documents", [1, 40])  # in one go with the end of the request, and before it
@pytest.mark.parametrize("mode", Mode)
async def test_a_reception_that_is_cancelled(
    running: Running, monkeypatch: pytest.MonkeyPatch, documents: int, mode: Mode
) -> None:
    append = Held(monkeypatch, FrameKind.DOCUMENT)
    receiving = asyncio.create_task(running.submit("cancelled", CONTENTS[:1] * documents, mode))
    await append.until_entered()
    receiving.cancel()
    await turns(10)  # the cancellation has reached the reception, which waits for its thread
    assert not receiving.done()
    append.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert append.open_to_the_end
    assert not list(running.folder.glob("*.spill"))
