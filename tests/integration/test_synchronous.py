"""A small synchronous operation: what happens side by side, and what is left when it is cut off there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.waiting import eventually
from tests.support.upstream import CALLER, CONTENTS, Running, running_service

from batchseal.audit.writer import signed_facts
from batchseal.errors import DatabaseUnavailable, PayloadUnavailable, ReferenceTaken
from batchseal.operation import Mode, OperationStatus
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.store import Store
from batchseal.upstream.remote import RemoteUpstream


@pytest.fixture
async def running(connect_store: Callable[..., Awaitable[Store]], tmp_path: Path) -> AsyncIterator[Running]:
    instance = uuid4()
    async with running_service(connect_store, instance, tmp_path) as running:
        row = await running.submit("first", CONTENTS[:1])  # the credential is known from now on
        await running.finished(row.id)
        running.double.calls.clear()
        yield running


async def test_leave_to_sign_is_asked_for_before_the_row_is_written(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, register = running.double.calls, Store.register

    async def registered_late(*arguments: Any) -> Any:
        await eventually(lambda: calls.get("authorize"))
        assert "signHash" not in calls
        return await register(*arguments)

    monkeypatch.setattr(Store, "register", registered_late)
    row = await running.submit("sync", CONTENTS[:3], Mode.SYNC)
    ended = await running.service.finished_within(CALLER, row, 120)
    assert ended is not None
    assert ended[0].status is OperationStatus.EXECUTED
    assert (calls["authorize"], calls["signHash"]) == (1, 1)


async def test_the_trail_knows_without_reading_what_the_payload_says(running: Running) -> None:
    row = await running.submit("sync", CONTENTS[:3], Mode.SYNC)
    assert await running.service.finished_within(CALLER, row, 120) is not None
    with closing(OperationReader(running.parts.payloads, records_of(row.payloads)).open()) as reader:
        assert running.parts.known.of(row.id) == signed_facts(reader, [0, 1, 2])


async def test_what_is_refused_after_all_is_not_signed(running: Running) -> None:
    for _ in range(2):
        with pytest.raises(ReferenceTaken):
            await running.submit("first", CONTENTS[1:2], Mode.SYNC)
    row = await running.submit("second", CONTENTS[2:3])
    await running.finished(row.id)
    assert running.double.calls["signHash"] == 1
    assert len(list(running.folder.glob("*.spill"))) == 2


@pytest.mark.parametrize("end", [asyncio.CancelledError, DatabaseUnavailable])
async def test_a_registration_cut_off_keeps_its_payload_for_the_sweep(
    running: Running, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    """It may have been committed."""
    register = Store.register

    async def cut_off(*arguments: Any) -> Any:
        await register(*arguments)
        raise end("the answer was lost") if end is DatabaseUnavailable else end

    monkeypatch.setattr(Store, "register", cut_off)
    with pytest.raises(BaseException, match="^$" if end is asyncio.CancelledError else "away"):
        await running.submit("cut", CONTENTS[:1])
    await eventually(lambda: running.double.calls.get("signHash"))
    (row,) = await running.service.status(CALLER, "cut")
    operation, delivered = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    assert bytes(delivered[0].segments[0]) == CONTENTS[0]


async def test_no_row_says_executed_where_the_payload_is_not_durable(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = 2  # ahead, while the upstream signs, and at the end
    make_durable = LocalPayloads.make_durable

    def failing(payloads: LocalPayloads, record: PayloadRecord) -> None:
        nonlocal fails
        if fails:
            fails -= 1
            raise PayloadUnavailable("the disk reports a fault")
        make_durable(payloads, record)

    monkeypatch.setattr(LocalPayloads, "make_durable", failing)
    row = await running.submit("disk", CONTENTS[:1], Mode.SYNC)
    await eventually(lambda: not fails)
    (held,) = await running.service.status(CALLER, "disk")
    assert not held.status.finished
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED


async def test_the_payload_is_made_durable_while_the_operation_is_registered(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and the end of the operation is then a single statement, which waits for nothing else."""
    durable, ends = 0, list[Any]()
    make_durable, register, finish = LocalPayloads.make_durable, Store.register, Store.finish

    def noted(payloads: LocalPayloads, record: PayloadRecord) -> None:
        nonlocal durable
        make_durable(payloads, record)
        durable += 1

    async def registered_late(*arguments: Any, **named: Any) -> Any:
        await eventually(lambda: durable)
        return await register(*arguments, **named)

    async def finished(*arguments: Any, commit_after: Any = None, **options: Any) -> Any:
        ends.append(commit_after)
        return await finish(*arguments, commit_after=commit_after, **options)

    monkeypatch.setattr(LocalPayloads, "make_durable", noted)
    monkeypatch.setattr(Store, "register", registered_late)
    monkeypatch.setattr(Store, "finish", finished)
    row = await running.submit("ahead", CONTENTS[:1], Mode.SYNC)
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    assert durable == 1
    assert ends == [None]


async def test_the_payload_is_made_durable_while_the_upstream_signs(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable = 0
    make_durable, sign = LocalPayloads.make_durable, RemoteUpstream.sign

    def noted(payloads: LocalPayloads, record: PayloadRecord) -> None:
        nonlocal durable
        make_durable(payloads, record)
        durable += 1

    async def signed_late(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
        await eventually(lambda: durable)
        async for answers in sign(*arguments, **named):
            yield answers

    monkeypatch.setattr(LocalPayloads, "make_durable", noted)
    monkeypatch.setattr(RemoteUpstream, "sign", signed_late)
    row = await running.submit("ahead", CONTENTS[:1], Mode.SYNC)
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    assert durable == 1
