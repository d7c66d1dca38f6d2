"""A payload store that is slow to take payloads keeps no document of another request from being digested and prepared."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from harness.misbehaving import Misbehaving, service
from harness.waiting import eventually
from tests.support.house import QUICK, QUICK_UPSTREAM, json_body
from tests.support.memory_payloads import MemoryPayloads, MemoryUpload
from tests.support.parts import Connect, Parts, running_parts
from tests.support.upstream import CALLER, CONTENTS

from batchseal.operation import Mode
from batchseal.payloads.interface import PayloadRecord
from batchseal.store import OperationRow
from batchseal.system.shared_pool import SharedPool


class SlowPayloads(MemoryPayloads):
    """Takes a durable payload only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_take = threading.Event()
        self.waiting = 0

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> MemoryUpload:
        store = self

        class Slow(MemoryUpload):
            def commit(self, *, durable: bool) -> PayloadRecord:
                if durable:
                    store.waiting += 1
                    assert store.may_take.wait(120)
                return super().commit(durable=durable)

        return Slow(self, payload_id)


@pytest.fixture
def payloads() -> SlowPayloads:
    return SlowPayloads()


@pytest.fixture
async def parts(connect_store: Connect, payloads: SlowPayloads, tmp_path: Path) -> AsyncIterator[Parts]:
    waiting = SharedPool(8, name="store")
    more = {"instance": uuid4(), "payloads": payloads, "pace": QUICK, "store_pool": waiting}
    async with (
        service(tmp_path, Misbehaving(multisign=5), upstream_pace=QUICK_UPSTREAM) as upstream,
        running_parts(connect_store, upstream, tmp_path, **more) as parts,  # type: ignore[arg-type]
    ):
        yield parts
    waiting.shutdown()


async def submit(parts: Parts, reference: str, mode: Mode) -> OperationRow:
    data = json_body(reference, CONTENTS[:1])

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    return await parts.service.receive(
        CALLER, mode, form="json", media_type="application/json", body_bytes=len(data), chunks=chunks()
    )


async def test_documents_are_prepared_while_others_wait_for_the_store(parts: Parts, payloads: SlowPayloads) -> None:
    """More of them than there are threads for native work."""
    slow = [asyncio.create_task(submit(parts, f"slow {number}", Mode.ASYNC)) for number in range(5)]
    try:
        await eventually(lambda: payloads.waiting == len(slow))
        assert (await submit(parts, "other", Mode.SYNC)).documents_total == 1
        assert not any(task.done() for task in slow)
    finally:
        payloads.may_take.set()
        with suppress(asyncio.CancelledError):
            rows = await asyncio.gather(*slow)
    for row in rows:
        assert await parts.service.wait(row.id, 120)
