"""Work that is cut off while a thread has its file: the file stays open, and the thread's alone, until that is done."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.support_upstream import CONTENTS, Running, running_service

from batchseal.operation import OperationStatus
from batchseal.payloads.writer import SpillWriter
from batchseal.signer import lease
from batchseal.store import Store

Connect = Callable[..., Awaitable[Store]]
INSTANCE = UUID(int=7)


@pytest.fixture
async def running(connect_store: Connect, tmp_path: Path) -> AsyncIterator[Running]:
    async with running_service(connect_store, INSTANCE, tmp_path) as running:
        yield running


class Held:
    """Stands in for a method of SpillWriter, whose first call waits in its thread until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.entered, self.may_go_on, self.open_to_the_end = threading.Event(), threading.Event(), False
        method = getattr(SpillWriter, name)

        def held(writer: SpillWriter, frames: Any) -> Any:
            if self.entered.is_set():
                return method(writer, frames)
            descriptor, kept = writer._descriptor, list(frames)
            file = os.fstat(descriptor)
            self.entered.set()
            assert self.may_go_on.wait(20)
            self.open_to_the_end = writer._descriptor == descriptor and os.path.samestat(os.fstat(descriptor), file)
            return method(writer, kept)

        monkeypatch.setattr(SpillWriter, name, held)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 20)


async def test_signing_that_loses_its_lease(
    running: Running, connect_store: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signatures that a thread is writing are kept and found: nothing is signed twice, and no two runs append."""
    append, reopened, reopen = Held(monkeypatch, "append_synced"), [], SpillWriter.reopen
    monkeypatch.setattr(SpillWriter, "reopen", lambda reader: reopened.append(reader) or reopen(reader))
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    renew, lost = Store.renew, threading.Event()

    async def renew_once_lost(*arguments: Any) -> bool:
        if append.entered.is_set() and not lost.is_set():
            lost.set()
            return False
        return await renew(*arguments)

    monkeypatch.setattr(Store, "renew", renew_once_lost)
    row = await running.submit("lost", CONTENTS[:2])
    await append.until_entered()
    assert await asyncio.to_thread(lost.wait, 20)
    assert await (await connect_store(INSTANCE)).take_back_own_leases() == 1
    await asyncio.sleep(2.5)  # the signer has looked for work meanwhile
    assert len(reopened) == 1
    append.may_go_on.set()
    operation, delivered = await running.finished(row.id)
    assert append.open_to_the_end
    assert operation.status is OperationStatus.EXECUTED
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:2]
    assert len(reopened) == 2
    assert running.double.calls["signHash"] == 1


@pytest.mark.parametrize("documents", [1, 40])  # in one go with the end of the request, and before it
async def test_a_reception_that_is_cancelled(running: Running, monkeypatch: pytest.MonkeyPatch, documents: int) -> None:
    append = Held(monkeypatch, "append")
    receiving = asyncio.create_task(running.submit("cancelled", CONTENTS[:1] * documents))
    await append.until_entered()
    receiving.cancel()
    await asyncio.sleep(0.2)
    assert not receiving.done()
    append.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert append.open_to_the_end
    assert not list(running.folder.glob("*.spill"))
