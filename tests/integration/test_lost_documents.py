"""No reference stays taken by an operation that lost its documents unsigned: the same request is accepted again, and signed.

So it is after a power cut for a synchronous operation that nobody was told of.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness.validators import pyhanko_verify
from harness.waiting import eventually
from tests.conformance.stores import Local
from tests.support.house import CALLER, House, running_house
from tests.support.parts import Connect
from tests.support.upstream import CONTENTS

from batchseal.errors import ReferenceTaken
from batchseal.operation import DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.operation import records_of
from batchseal.store import OperationRow, Store
from batchseal.store.upkeep import Upkeep

DOCUMENTS = CONTENTS[:3]
LARGE = [CONTENTS[0] + b"%" * (3 << 20), CONTENTS[1]]  # the first one is copied in parts
MODES = pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC], ids=["async", "sync"])


@pytest.fixture
def store(tmp_path: Path) -> Local:
    return Local(tmp_path)


@pytest.fixture
async def house(store: Local, connect_store: Connect, database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(connect_store, database_url, store.payloads, tmp_path) as house:
        await house.finished((await house.submit("the credential is known from now on", CONTENTS[:1])).id)
        yield house


def whole(store: Local, row: OperationRow) -> None:
    store.path(row.payload_id).unlink()


def one_document(store: Local, row: OperationRow) -> None:
    store.damage(row.payload_id, FrameKind.DOCUMENT, 1)
    if row.mode is not Mode.SYNC:  # else nothing is signed of which the original is lost
        store.damage(row.payload_id, FrameKind.PREPARED, 1)


def what_was_asked(store: Local, row: OperationRow) -> None:
    store.damage(row.payload_id, FrameKind.PREPARED, 1)
    store.damage(row.payload_id, FrameKind.DESCRIPTIONS, 0)


async def failed(
    house: House, store: Local, mode: Mode, lose: Callable[[Local, OperationRow], None], contents: list[bytes]
) -> OperationRow:
    """An operation that lost something before it was signed, and failed for it."""
    house.double.fault = lambda path, number: "503" if path == "signHash" else ""
    row = await house.submit("cut", contents, mode)

    async def postponed() -> bool:
        return (await house.row(row.id)).status is OperationStatus.EXECUTION_ERROR

    await eventually(postponed)
    lose(store, row)
    house.double.fault, house.double.sent = lambda path, number: "", {}
    assert await house.parts.service.wait(row.id, 120)
    row = await house.row(row.id)
    assert row.status is OperationStatus.EXECUTION_FAILED
    return row


async def check(house: House, contents: list[bytes], results: list[Any]) -> None:
    for content, one in zip(contents, results, strict=True):
        signed = b"".join(one.segments)
        assert signed.startswith(content)
        path = house.parts.folder / "signed.pdf"
        path.write_bytes(signed)
        (verdict,) = await asyncio.to_thread(pyhanko_verify, path, house.double.certificate)
        assert verdict.valid and verdict.whole_file


@MODES
@pytest.mark.parametrize("lose", [whole, one_document, what_was_asked])
async def test_the_same_request_is_accepted_and_signed(
    house: House, store: Local, mode: Mode, lose: Callable[[Local, OperationRow], None]
) -> None:
    row = await failed(house, store, mode, lose, DOCUMENTS)
    lost = 3 if lose is whole else 1
    assert (row.documents_signed, row.documents_failed) == (3 - lost, lost)
    rows = await house.parts.store.documents(row.id, row.created_at)
    assert {one.sign_error for one in rows if one.status is DocumentStatus.ERROR_SIGNING} == {
        SignError.STORAGE_SERVICE_GLOBAL_ERROR
    }
    with pytest.raises(ReferenceTaken):
        await house.submit("cut", DOCUMENTS[:2], mode)
    assert (await house.submit("cut", DOCUMENTS, mode)).id == row.id
    row, results = await house.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    await check(house, DOCUMENTS, results)
    assert list(house.double.sent.values()) == [1, 1, 1], "a document was signed twice"
    with pytest.raises(ReferenceTaken):
        await house.submit("cut", DOCUMENTS, mode)
    # Nothing of the requests stays but what the row names.
    named = {record.id for record in records_of(row.payloads)} - ({row.payload_id} if lose is whole else set())
    (known,) = await house.parts.service.status(CALLER, "the credential is known from now on")
    await house.parts.sweeping.sweep()  # takes what a run has left that lost its lease
    assert store.ids() == named | {known.payload_id}


async def test_a_large_document_is_stored_again_in_parts(house: House, store: Local) -> None:
    row = await failed(house, store, Mode.SYNC, whole, LARGE)
    assert (await house.submit("cut", LARGE, Mode.SYNC)).id == row.id
    assert await house.parts.service.wait(row.id, 120)
    row, rows = await house.parts.service.finished_operation(CALLER, operation_id=row.id)
    assert row.status is OperationStatus.EXECUTED
    async for one in house.parts.service.deliver(row, rows, encoding="raw"):
        signed = b"".join([piece async for piece in one.pieces()])
        await check(house, [LARGE[one.row.ordinal]], [SimpleNamespace(segments=[signed])])


@pytest.mark.parametrize("fault", [OSError(28, "full"), asyncio.CancelledError()])
async def test_a_resubmission_that_is_cut_off_leaves_nothing(
    house: House, store: Local, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """A full disk, or a caller that has gone, while the documents are stored again."""
    row = await failed(house, store, Mode.SYNC, whole, DOCUMENTS)
    before = store.ids()

    async def cut(*arguments: Any, **named: Any) -> Any:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(Store, "reopen", cut)
        with pytest.raises(type(fault)):
            await house.submit("cut", DOCUMENTS, Mode.SYNC)
    await house.parts.sweeping.sweep()
    assert store.ids() == before
    assert (await house.submit("cut", DOCUMENTS, Mode.SYNC)).id == row.id
    row, _ = await house.finished(row.id)
    assert row.status is OperationStatus.EXECUTED


@MODES
async def test_what_was_purged_or_forgotten_unsigned_frees_its_reference(
    house: House, store: Local, mode: Mode
) -> None:
    """The documents of a lost instance are marked as purged, and its callers are told to hand them in again."""
    old = await failed(house, store, mode, whole, DOCUMENTS)
    assert await Upkeep(house.parts.store.database, old.instance).mark_purged([old.id])
    assert await house.parts.store.reference_holder("A", "cut", for_good=True) is None
    row = await house.submit("cut", DOCUMENTS, mode)
    assert row.id != old.id
    row, results = await house.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    await check(house, DOCUMENTS, results)
    assert [one.id for one in await house.parts.service.status(CALLER, "cut")] == [row.id, old.id]


async def test_what_was_purged_with_a_signature_keeps_its_reference(house: House, store: Local) -> None:
    old = await failed(house, store, Mode.SYNC, one_document, DOCUMENTS)
    assert await Upkeep(house.parts.store.database, old.instance).mark_purged([old.id])
    with pytest.raises(ReferenceTaken):
        await house.submit("cut", DOCUMENTS, Mode.SYNC)
