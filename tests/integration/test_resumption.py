"""Operations that go on after something was lost or changed: no signature is lost with it, and nothing is left behind."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.misbehaving import Misbehaving, service
from harness.validators import pyhanko_verify
from harness.waiting import eventually
from tests.integration.test_upstream_timestamps import Stamping
from tests.support.parts import Connect, running_parts
from tests.support.upstream import CALLER, CONTENTS, Running, entry_of, running_service

from batchseal.errors import DatabaseUnavailable, NoSpace, PayloadUnavailable
from batchseal.formats.registry import Formats
from batchseal.operation import DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.reader import FileReader
from batchseal.payloads.writer import FileUpload
from batchseal.signer import queue
from batchseal.signer.pace import Pace
from batchseal.store import Store
from batchseal.system.backoff import Backoff

INSTANCE = UUID(int=9)
SEEN = {"locationType": "COORDINATE", "locationValue": "page=99,x=1,y=1"}
PACE = Pace(between_tries=Backoff(0.05, 0.2), look_seconds=0.05)


@asynccontextmanager
async def running_with(
    connect_store: Connect, folder: Path, double: Any = None, **settings: Any
) -> AsyncIterator[Running]:
    async with running_service(connect_store, INSTANCE, folder, double, pace=PACE, **settings) as running:
        yield running


@pytest.fixture
async def running(connect_store: Connect, tmp_path: Path) -> AsyncIterator[Running]:
    async with running_with(connect_store, tmp_path) as running:
        yield running


async def until_status(running: Running, operation_id: int, status: OperationStatus) -> None:
    async def reached() -> bool:
        return (await running.service.status_by_id(CALLER, operation_id)).status is status

    await eventually(reached)


def cut_before(path: Path, payload_id: UUID, kind: FrameKind) -> None:
    """Shortens a payload until no frame of this kind is left, as a power cut does."""
    size = path.stat().st_size
    while True:
        reader = FileReader(path, payload_id)
        try:
            if not reader.ordinals(kind):
                return
        finally:
            reader.close()
        size -= 8
        os.truncate(path, size)


def spills(running: Running) -> int:
    return len(list(running.folder.glob("*.spill")))


async def test_a_synchronous_payload_is_durable_before_its_first_signature_is_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut could otherwise leave signatures that were paid for, of documents that are lost."""
    happened: list[str] = []
    make_durable, record = LocalPayloads.make_durable, Store.record_outcomes

    def durable(payloads: LocalPayloads, payload: PayloadRecord) -> None:
        make_durable(payloads, payload)
        happened.append("durable")

    async def recorded(store: Store, *arguments: Any, **options: Any) -> bool:
        happened.append("kept")
        return await record(store, *arguments, **options)

    monkeypatch.setattr(LocalPayloads, "make_durable", durable)
    monkeypatch.setattr(Store, "record_outcomes", recorded)
    row = await running.submit("parts", CONTENTS, Mode.SYNC)
    ended = await running.service.finished_within(CALLER, row, 120)
    assert ended is not None
    assert ended[0].status is OperationStatus.EXECUTED
    assert "kept" in happened
    assert happened[0] == "durable"
    assert happened.count("durable") == 1


@pytest.mark.parametrize("lost", [FrameKind.CREDENTIAL, FrameKind.DESCRIPTIONS])
async def test_a_payload_whose_end_was_lost_can_still_be_packaged(running: Running, lost: FrameKind) -> None:
    """The credential stands at the end of the payload. Without it, signed documents could never be put together."""
    running.double.fault = lambda path, number: "503" if path == "signHash" else ""
    row = await running.submit("cut", CONTENTS[:3])
    await until_status(running, row.id, OperationStatus.EXECUTION_ERROR)
    (path,) = running.folder.glob("*.spill")
    cut_before(path, row.payload_id, lost)
    running.double.fault = lambda path, number: ""
    operation, delivered = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    for content, document in zip(CONTENTS, delivered, strict=False):
        signed = b"".join(document.segments)
        assert signed.startswith(content)
        (running.folder / "signed.pdf").write_bytes(signed)
        (verdict,) = await asyncio.to_thread(pyhanko_verify, running.folder / "signed.pdf", running.double.certificate)
        assert verdict.valid


@pytest.mark.usefixtures("unknown_to_the_worker")
async def test_a_try_that_finds_no_space_leaves_no_file(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of further payloads would otherwise fill what is left of the space, try after try."""
    append, failed = FileUpload.append, threading.Semaphore(0)
    seen: list[int] = []

    def full(upload: FileUpload, frames: Any) -> Any:
        kept = list(frames)
        if len(seen) < 3 and FrameKind.CREDENTIAL in {frame[0] for frame in kept}:
            seen.append(spills(running))
            failed.release()
            raise NoSpace("the temporary space takes no more")
        return append(upload, kept)

    monkeypatch.setattr(FileUpload, "append", full)
    row = await running.submit("full", CONTENTS[:2])
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    assert seen == [2, 2, 2]  # the documents, and the further payload that is being written
    assert spills(running) == 2


@pytest.mark.usefixtures("unknown_to_the_worker")
async def test_documents_that_cannot_be_prepared_leave_no_file(running: Running) -> None:
    row = await running.submit("no PDF", [b"%PDF-1.7 and no more"])
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTION_FAILED
    await eventually(lambda: spills(running) == 1)


async def test_time_stamps_that_were_switched_off_after_the_signature(connect_store: Connect, tmp_path: Path) -> None:
    authority, double = Stamping(tmp_path), Misbehaving(multisign=5)
    authority.fault = "503"
    async with authority.serve() as address:
        settings = {"timestamp_urls": address, "timestamp_roots": authority.roots}
        async with running_with(connect_store, tmp_path, double, **settings) as running:
            row = await running.submit("off", CONTENTS[:2], applyTimestamp=True)
            await until_status(running, row.id, OperationStatus.EXECUTION_ERROR)
    async with running_with(connect_store, tmp_path, double) as running:
        operation, delivered = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTION_FAILED
    assert {document.row.sign_error for document in delivered} == {SignError.CONFIGURATION_SIGN_ERROR}
    assert all("--timestamp-urls" in (document.row.cause or "") for document in delivered)


async def test_a_format_that_this_installation_does_not_have(connect_store: Connect, tmp_path: Path) -> None:
    """A later release has prepared the documents, and was taken back. It can still finish and deliver them."""
    double = Misbehaving(multisign=5)
    async with running_with(connect_store, tmp_path, double) as running:
        signed = await running.submit("signed", CONTENTS[:2])
        await running.finished(signed.id)
        double.fault = lambda path, number: "503" if path == "signHash" else ""
        pending = await running.submit("pending", CONTENTS[2:4])
        await until_status(running, pending.id, OperationStatus.EXECUTION_ERROR)
    double.fault, double.calls = (lambda path, number: ""), {}
    none = Formats([], has_time_stamps=False)
    async with (
        service(tmp_path, double) as upstream,
        running_parts(connect_store, upstream, tmp_path, instance=INSTANCE, formats=none, pace=PACE) as parts,
    ):
        row, documents = await parts.service.finished_operation(CALLER, operation_id=signed.id)
        with pytest.raises(PayloadUnavailable, match="no signature format 'pades'"):
            await anext(parts.service.deliver(row, documents, encoding="raw"))

        async def tried() -> bool:
            async with parts.store.database.connection() as connection:
                tries = await connection.fetchval("SELECT tries FROM operations WHERE id = $1", pending.id)
            return tries >= 4

        await eventually(tried)
        assert "signHash" not in double.calls
    async with running_with(connect_store, tmp_path, double) as running:
        for operation_id in (signed.id, pending.id):
            operation, delivered = await running.finished(operation_id)
            assert operation.status is OperationStatus.EXECUTED
            assert all(document.row.status is DocumentStatus.SIGNED for document in delivered)


async def test_signed_documents_are_completed_a_few_at_a_time(
    connect_store: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was prepared of them is in memory meanwhile, and one of them may take megabytes."""
    authority, asked = Stamping(tmp_path), list[int]()
    async with authority.serve() as address:
        settings = {"timestamp_urls": address, "timestamp_roots": authority.roots}
        async with running_with(connect_store, tmp_path, Misbehaving(multisign=100), **settings) as running:
            stamp = running.upstream.stamp

            async def counted(signatures: Any) -> Any:
                asked.append(len(signatures))
                return await stamp(signatures)

            monkeypatch.setattr(running.upstream, "stamp", counted)
            row = await running.submit("many", CONTENTS[:1] * 70, applyTimestamp=True)
            operation, _ = await running.finished(row.id, 60)
    assert operation.status is OperationStatus.EXECUTED
    assert sum(asked) == 1 + 70  # the first one is for the length of tokens alone
    assert max(asked) <= 64


async def test_a_document_that_was_refused_after_it_was_stored_is_refused_for_the_same_reason_again(
    running: Running,
) -> None:
    """A multipart body may describe its files at its end, so a file that cannot be signed as wanted is stored by then."""
    entries = [entry_of(0, b""), entry_of(1, b"", visibleSignatureInfo=SEEN)]
    for entry in entries:
        del entry["documentRequest"]["base64Content"]
    request = json.dumps({"externalReference": "last", "description": "d", "documents": entries}).encode()
    parts = [
        *(b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + c for c in CONTENTS[:2]),
        b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + request,
    ]
    data = b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    for _ in range(2):
        row = await running.service.receive(
            *(CALLER, Mode.ASYNC),
            form="multipart",
            media_type="multipart/form-data; boundary=cut",
            body_bytes=len(data),
            chunks=chunks(),
        )
        operation, delivered = await running.finished(row.id)
        assert operation.status is OperationStatus.EXECUTION_FAILED
        assert delivered[0].row.status is DocumentStatus.SIGNED
        assert delivered[1].row.sign_error is SignError.NOT_DRAWABLE
        assert delivered[1].row.cause.startswith("2.2.1: the PDF does not have the page")


async def test_a_synchronous_operation_that_is_handed_in_again_is_durable_when_it_is_acknowledged(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given up before anybody was told of it, so nothing has made its payload durable."""
    running.double.fault = lambda path, number: "401" if path == "info" else ""
    row = await running.submit("again", CONTENTS[:2], Mode.SYNC)
    assert await running.service.wait(row.id, 120)
    durable: list[UUID] = []
    make_durable = LocalPayloads.make_durable

    def noted(payloads: LocalPayloads, payload: PayloadRecord) -> None:
        make_durable(payloads, payload)
        durable.append(payload.id)

    monkeypatch.setattr(LocalPayloads, "make_durable", noted)
    assert (await running.submit("again", CONTENTS[:2], Mode.ASYNC)).id == row.id
    assert row.payload_id in durable


@pytest.mark.parametrize("documents", [1, 7])  # the only call ends the operation, or another one follows
async def test_a_disk_that_does_not_sync_costs_no_second_signature(
    running: Running, monkeypatch: pytest.MonkeyPatch, documents: int
) -> None:
    """The operation waits for its disk. Each try would otherwise buy all signatures anew, for as long as the disk is away."""
    make_durable, fails = LocalPayloads.make_durable, 3

    def failing(payloads: LocalPayloads, payload: PayloadRecord) -> None:
        nonlocal fails
        if fails:
            fails -= 1
            raise PayloadUnavailable("the disk reports a fault")
        make_durable(payloads, payload)

    monkeypatch.setattr(LocalPayloads, "make_durable", failing)
    row = await running.submit("disk", CONTENTS[:documents], Mode.SYNC)
    operation, delivered = await running.finished(row.id)
    assert not fails
    assert operation.status is OperationStatus.EXECUTED
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:documents]
    assert max(running.double.sent.values()) == 1


@pytest.mark.parametrize("documents", [1, 7])
@pytest.mark.parametrize("committed", [False, True])  # a commit whose answer was lost has happened all the same
async def test_signatures_wait_for_a_database_that_is_away(
    running: Running, monkeypatch: pytest.MonkeyPatch, documents: int, committed: bool
) -> None:
    """They were paid for, and stand nowhere else. No lease is reported lost, and the end is told once."""
    away = {"record_outcomes": 2, "finish": 2}
    told: list[str] = []
    monkeypatch.setattr(queue, "tell_lost", lambda *_: told.append("lease lost"))
    monkeypatch.setattr(queue, "tell_end", lambda *_: told.append("ended"))

    def failing(name: str) -> None:
        write = getattr(Store, name)

        async def fails_first(*arguments: Any, **options: Any) -> Any:
            if not away[name]:
                return await write(*arguments, **options)
            away[name] -= 1
            if committed:
                await write(*arguments, **options)
            raise DatabaseUnavailable("the server went away")

        monkeypatch.setattr(Store, name, fails_first)

    failing("record_outcomes")
    failing("finish")
    row = await running.submit("away", CONTENTS[:documents])
    operation, delivered = await running.finished(row.id)
    assert not away["finish"]
    await eventually(lambda: told)
    assert told == ["ended"]
    assert operation.status is OperationStatus.EXECUTED
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:documents]
    assert max(running.double.sent.values()) == 1
