"""A payload store that hangs keeps no operation leased: who can read the payload takes it over, and nothing is signed twice."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from harness.misbehaving import Misbehaving, service
from harness.waiting import eventually
from tests.support.hanging_mount import can_mount, hanging_mount
from tests.support.house import QUICK, QUICK_UPSTREAM, json_body
from tests.support.memory_payloads import MemoryPayloads
from tests.support.parts import Connect, Parts, running_parts
from tests.support.upstream import CALLER, CONTENTS

from batchseal.operation import Mode, OperationStatus
from batchseal.payloads.local import LocalPayloads
from batchseal.store import OperationRow
from batchseal.upstream.remote import RemoteUpstream

DOCUMENTS = CONTENTS[:2]


class Hang:
    """What each call of a store meets until `gone` is set. Counts the threads that wait."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.waiting = self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        self.gone.wait(300)
        with self._lock:
            self.waiting -= 1


@pytest.fixture
def double() -> Misbehaving:
    return Misbehaving(multisign=5)


@pytest.fixture
async def upstream(double: Misbehaving, tmp_path: Path) -> AsyncIterator[RemoteUpstream]:
    (tmp_path / "upstream").mkdir()
    async with service(tmp_path / "upstream", double, upstream_pace=QUICK_UPSTREAM) as upstream:
        yield upstream


async def put_off(parts: Parts, double: Misbehaving, mode: Mode) -> OperationRow:
    """An operation that is tried again and again, since the signing service is away."""
    double.fault = lambda path, number: "503" if path == "signHash" else ""
    data = json_body("hangs", DOCUMENTS)

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    row = await parts.service.receive(
        CALLER, mode, form="json", media_type="application/json", body_bytes=len(data), chunks=chunks()
    )
    await eventually(lambda: has_status(parts, row, OperationStatus.EXECUTION_ERROR))
    return row


async def has_status(parts: Parts, row: OperationRow, status: OperationStatus) -> bool:
    return (await parts.service.status_by_id(CALLER, row.id)).status is status


def folder_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


async def is_free(parts: Parts, row: OperationRow) -> bool:
    """Whether nobody has a lease of the operation."""
    async with parts.store.database.connection() as connection:
        query = "SELECT lease_holder IS NULL FROM operations WHERE id = $1"
        return bool(await connection.fetchval(query, row.id))


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC], ids=["async", "sync"])
async def test_another_instance_takes_over_what_hangs_here(
    connect_store: Connect, upstream: RemoteUpstream, double: Misbehaving, tmp_path: Path, mode: Mode
) -> None:
    hang, hanging, well = Hang(), MemoryPayloads(), MemoryPayloads()
    well.stored, well.lock = hanging.stored, hanging.lock
    common = {"pace": QUICK, "shared": "memory"}
    async with running_parts(
        *(connect_store, upstream, folder_of(tmp_path, "one")),
        **{"instance": uuid4(), "payloads": hanging, "store_seconds": 0.2, **common},  # type: ignore[arg-type]
    ) as one:
        try:
            row = await put_off(one, double, mode)
            hanging.faults.before_each = hang
            double.fault, double.sent = lambda path, number: "", {}
            await eventually(lambda: hang.waiting)
            await eventually(lambda: is_free(one, row))
            async with running_parts(
                *(connect_store, upstream, folder_of(tmp_path, "other")),
                **{"instance": uuid4(), "payloads": well, **common},  # type: ignore[arg-type]
            ) as other:
                await eventually(lambda: has_status(other, row, OperationStatus.EXECUTED))
            # The payload of a synchronous operation is read, and made durable beside that.
            threads = 2 if mode is Mode.SYNC else 1
            assert hang.waiting == hang.most <= threads, "the operation was begun again while its thread hung"
        finally:
            hang.gone.set()
        await eventually(lambda: not hang.waiting)
        assert list(double.sent.values()) == [1, 1]
        assert await has_status(one, row, OperationStatus.EXECUTED)


async def test_an_instance_that_is_alone_goes_on_when_its_volume_answers(
    connect_store: Connect, upstream: RemoteUpstream, double: Misbehaving, tmp_path: Path
) -> None:
    """The mount is a real one, whose server does not answer."""
    if not can_mount(tmp_path / "tried"):
        pytest.skip("needs to mount a file system")
    folder = folder_of(tmp_path, "payloads")
    async with running_parts(
        *(connect_store, upstream, folder_of(tmp_path, "one")),
        **{"instance": uuid4(), "payloads": LocalPayloads(folder), "store_seconds": 0.2, "pace": QUICK},  # type: ignore[arg-type]
    ) as one:
        row = await put_off(one, double, Mode.SYNC)
        claims, claim = list[list[int]](), one.store.claim

        async def noted(*arguments: object, **options: object) -> object:
            claimed = await claim(*arguments, **options)  # type: ignore[arg-type]
            claims.append([found.row.id for found in claimed])
            return claimed

        one.store.claim = noted  # type: ignore[method-assign, assignment]
        with hanging_mount(folder):
            double.fault, double.sent = lambda path, number: "", {}
            await eventually(lambda: [row.id] in claims)
            await eventually(lambda: is_free(one, row))
            hung = claims.index([row.id])
            await eventually(lambda: len(claims) > hung + 10)
            assert claims.count([row.id]) == 1, "the operation was begun again while its thread hung"
            assert await has_status(one, row, OperationStatus.EXECUTION_ERROR)
        await eventually(lambda: has_status(one, row, OperationStatus.EXECUTED))
        assert list(double.sent.values()) == [1, 1]
