"""Synchronous requests whose payloads share segments: who makes them durable, and when."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness.waiting import until
from tests.support.house import CALLER, House, running_house
from tests.support.parts import Connect
from tests.support.upstream import CONTENTS

from batchseal.operation import Mode, OperationStatus
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.operation import records_of
from batchseal.processes.link import Link
from batchseal.store import Store


@pytest.fixture
def payloads(tmp_path: Path) -> PayloadsBySize:
    folder = tmp_path / "payloads"
    folder.mkdir()
    return PayloadsBySize(folder)


@pytest.fixture
async def house(
    payloads: PayloadsBySize, connect_store: Connect, database_url: str, tmp_path: Path
) -> AsyncIterator[House]:
    async with running_house(connect_store, database_url, payloads, tmp_path) as house:
        await house.finished((await house.submit("first", CONTENTS[:1])).id)  # the credential is known from now on
        assert payloads.writer.make_ready()
        yield house


class Order:
    """What came before what, in the whole service."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.sync_fails = False
        fdatasync, make_durable, finish = os.fdatasync, PayloadsBySize.make_durable, Store.finish

        def synced(descriptor: int) -> None:
            if self.sync_fails:
                self.sync_fails = False
                self.seen.append("failed")
                raise OSError(5, "a test said so")
            fdatasync(descriptor)
            self.seen.append("synced")

        def made_durable(payloads: PayloadsBySize, record: Any) -> None:
            self.seen.append("signer")
            make_durable(payloads, record)

        async def finished(*arguments: Any, **options: Any) -> Any:
            ended = await finish(*arguments, **options)
            self.seen.append("finished")
            return ended

        monkeypatch.setattr(os, "fdatasync", synced)
        monkeypatch.setattr(PayloadsBySize, "make_durable", made_durable)
        monkeypatch.setattr(Store, "finish", finished)


async def sealed(house: House, reference: str, count: int = 1) -> Any:
    row = await house.submit(reference, CONTENTS[:count], Mode.SYNC)
    ended = await house.parts.service.finished_within(CALLER, row, 120)
    assert ended is not None
    assert ended[0].status is OperationStatus.EXECUTED
    results = [one async for one in house.parts.service.deliver(*ended, encoding="raw")]
    assert [b"".join(one.segments).startswith(content) for one, content in zip(results, CONTENTS, strict=False)]
    (record,) = records_of(row.payloads)
    return record


async def test_the_payload_is_durable_before_the_end_is_committed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order(monkeypatch)
    record = await sealed(house, "single")
    assert record.segment is not None
    assert order.seen.index("synced") < order.seen.index("finished")


async def test_leave_to_sign_is_asked_for_while_the_documents_are_stored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, pwritev = house.double.calls, os.pwritev
    calls.clear()

    def written_late(*arguments: Any) -> int:
        until(lambda: calls.get("authorize"))
        assert "signHash" not in calls
        return pwritev(*arguments)

    monkeypatch.setattr(os, "pwritev", written_late)
    record = await sealed(house, "single")
    assert record.segment is not None
    assert (calls["authorize"], calls["signHash"]) == (1, 1)


async def test_a_sync_that_fails_is_made_up_for_by_the_signer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is written again, since the system reports a failure once and forgets the data."""
    order = Order(monkeypatch)
    order.sync_fails = True
    written, pwritev = list[int](), os.pwritev

    def noted(descriptor: int, buffers: Any, offset: int) -> int:
        written.append(offset)
        return pwritev(descriptor, buffers, offset)

    monkeypatch.setattr(os, "pwritev", noted)
    record = await sealed(house, "single")
    assert order.seen == ["failed", "signer", "synced", "finished"]
    assert written.count(record.offset) == 2


async def test_leave_is_not_asked_for_beside_what_is_being_signed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, tell, held, finish = list[str](), Link.tell, asyncio.Event(), Store.finish

    def noted(link: Link, name: str, *arguments: Any) -> bool:
        told.append(name)
        return tell(link, name, *arguments)

    async def finished_late(*arguments: Any, **further: Any) -> Any:
        await held.wait()
        return await finish(*arguments, **further)

    monkeypatch.setattr(Link, "tell", noted)
    monkeypatch.setattr(Store, "finish", finished_late)
    rows = []
    for number in range(2):
        rows.append(await house.submit(f"beside {number}", CONTENTS[number : number + 1], Mode.SYNC))
        assert told.count("announce") == 1
    held.set()
    for row in rows:
        assert await house.parts.service.finished_within(CALLER, row, 120) is not None
    await sealed(house, "alone again")
    assert told.count("announce") == 2


async def test_several_documents_of_one_request_share_a_place(house: House, payloads: PayloadsBySize) -> None:
    record = await sealed(house, "seven", 7)
    assert record.segment is not None
    assert payloads.stored_bytes() >= record.stored_bytes
    assert payloads.delete([record]) == record.stored_bytes
