"""The way of a document through the real parts: spill, planner, lanes, sandbox over HTTP, Postgres; without the HTTP front."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from benchmarks.invoices import invoice
from tests.support_sandbox import Sandbox, running_sandbox
from tests.validators import pyhanko_verify

from batchseal.admission.admission import Admission
from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import budgets_of
from batchseal.errors import ApiError, InvalidRequest, NotFinished, NotFound, ReferenceTaken
from batchseal.intake.schema import Limits
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.writer import SpillWriter
from batchseal.processes.link import Link, LinkServer
from batchseal.settings.client_services import SANDBOX_SERVICE, ClientServices
from batchseal.settings.load import Settings
from batchseal.signer.queue import Signer
from batchseal.store import Store
from batchseal.upstream.remote import RemoteUpstream
from batchseal.worker.service import Service

CALLER = Caller(SANDBOX_SERVICE)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), "--credential=p256", "--multisign=40") as running:
        yield running


@dataclass
class Running:
    service: Service
    signer: Signer
    store: Store
    folder: Path


@pytest.fixture
async def running(
    sandbox: Sandbox, connect_store: Callable[..., Awaitable[Store]], tmp_path: Path
) -> AsyncIterator[Running]:
    instance, pool = uuid4(), ThreadPoolExecutor(2)
    store, of_callers = await connect_store(instance), await connect_store(instance, everything=False)
    upstream = RemoteUpstream(Settings(service_domain=sandbox.address), ClientServices.load(sandbox.services))
    signer = Signer(store, upstream, tmp_path, pool, instance=instance, tries=5)
    server, link = LinkServer(tmp_path / "link", signer.handlers()), Link(tmp_path / "link")
    await server.start()
    link.start()
    looking = asyncio.create_task(signer.run())
    await asyncio.sleep(0.1)
    ledger = Ledger(tmp_path / "ledger")
    service = Service(
        of_callers,
        link,
        pool,
        folder=tmp_path,
        limits=Limits(),
        instance=instance,
        advertised=("127.0.0.1", 8081),
        admission=Admission(ledger, budgets_of(Settings()), tmp_path),
    )
    yield Running(service, signer, store, tmp_path)
    looking.cancel()
    await link.stop()
    await server.stop()
    await signer.stop(1)
    await upstream.close()
    pool.shutdown()
    ledger.close()


def entry(number: int, content: bytes, **info: Any) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": f"doc {number}",
            "name": f"invoice-{number}.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES", "reason": "Approved", "location": "Oeiras", **info},
    }


def body(reference: str, documents: list[dict[str, Any]]) -> bytes:
    return json.dumps({"externalReference": reference, "description": "test", "documents": documents}).encode()


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def register(running: Running, data: bytes, **options: Any) -> Any:
    options = {"form": "json", "media_type": "application/json", "body_bytes": len(data), **options}
    return await running.service.receive(CALLER, Mode.ASYNC, chunks=pieces(data), **options)


async def delivered(running: Running, operation_id: int) -> list[Any]:
    assert await running.service.wait(operation_id, 30)
    row, documents = await running.service.finished_operation(CALLER, operation_id=operation_id)
    return [d async for d in running.service.deliver(row, documents, encoding="raw")]


def spill_files(running: Running) -> list[Path]:
    return list(running.folder.glob("*.spill"))


async def test_a_batch_is_signed_and_delivered(running: Running, sandbox: Sandbox, tmp_path: Path) -> None:
    originals = [invoice(n, size_bytes=30_000) for n in range(100)]
    row = await register(running, body("batch", [entry(n, content) for n, content in enumerate(originals)]))
    assert row.status is OperationStatus.PENDING_EXECUTION
    results = await delivered(running, row.id)
    finished = await running.service.status_by_id(CALLER, row.id)
    assert finished.status is OperationStatus.EXECUTED
    assert (finished.documents_signed, finished.documents_failed) == (100, 0)
    for original, result in zip(originals, results, strict=True):
        signed = b"".join(result.segments)
        assert signed.startswith(original)
        assert len(signed) == len(original) + result.row.additional_bytes
    for index in (0, 1, 50, 99):
        path = tmp_path / f"{index}.pdf"
        path.write_bytes(b"".join(results[index].segments))
        (verdict,) = await asyncio.to_thread(pyhanko_verify, path, ssl.PEM_cert_to_DER_cert(sandbox.root.read_text()))
        assert verdict.valid
        assert verdict.whole_file


async def test_refused_documents_do_not_hurt_their_neighbours(running: Running) -> None:
    good = invoice(1, size_bytes=20_000)
    documents = [
        entry(0, good),
        entry(1, b"not a PDF at all"),
        entry(2, good, applyTimestamp=True),
        entry(3, good, visibleSignatureInfo={"locationType": "COORDINATE", "locationValue": "page=1,x=1,y=1"}),
        entry(4, good, signatureType="XAdES"),
        entry(5, good),
    ]
    row = await register(running, body("mixed", documents))
    results = await delivered(running, row.id)
    statuses = [r.row.status for r in results]
    failed, signed = DocumentStatus.ERROR_SIGNING, DocumentStatus.SIGNED
    assert statuses == [signed, failed, failed, failed, failed, signed]
    assert [r.row.sign_error for r in results[2:5]] == [SignError.CONFIGURATION_SIGN_ERROR] * 3
    for result in results[1:5]:
        assert result.segments == ()
        assert f"invoice-{result.row.ordinal}.pdf" in result.row.cause
        assert "error" not in result.row.cause
    assert (await running.service.status_by_id(CALLER, row.id)).status is OperationStatus.EXECUTION_FAILED


def multipart(reference: str, contents: list[bytes], *, request_first: bool) -> tuple[bytes, str]:
    documents = [entry(n, b"") for n in range(len(contents))]
    for document in documents:
        del document["documentRequest"]["base64Content"]
    documents[0]["documentRequest"]["contentType"] = "application/pdf, text/xml, application/xml"
    request = b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + body(reference, documents)
    files = [b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + c for c in contents]
    parts = [request, *files] if request_first else [*files, request]
    data = b"".join(b"--a b\r\n" + part + b"\r\n" for part in parts) + b"--a b--\r\n"
    return data, 'multipart/form-data; charset=utf-8; boundary="a b"'


@pytest.mark.parametrize("request_first", [True, False])
async def test_multipart_in_either_order(running: Running, request_first: bool) -> None:
    contents = [invoice(n, size_bytes=20_000) for n in range(5)]
    data, media_type = multipart("parts", contents, request_first=request_first)
    row = await register(running, data, form="multipart", media_type=media_type)
    results = await delivered(running, row.id)
    assert all(b"".join(r.segments).startswith(c) for r, c in zip(results, contents, strict=True))


async def test_a_taken_reference_names_its_operation_and_leaves_nothing(running: Running) -> None:
    data = body("twice", [entry(0, invoice(0, size_bytes=20_000))])
    row = await register(running, data)
    with pytest.raises(ReferenceTaken) as taken:
        await register(running, data)
    assert taken.value.operation_id == row.id
    assert len(spill_files(running)) == 1


BAD_BODIES = {
    "truncated": (lambda good: good[:-3], InvalidRequest, ""),
    "no documents": (
        lambda good: b'{"externalReference":"r","description":"d","documents":[]}',
        InvalidRequest,
        "documents",
    ),
    "no reference": (lambda good: good.replace(b"externalReference", b"x", 1), InvalidRequest, "externalReference"),
    "bad base64": (lambda good: good.replace(b'"JVBER', b'"JVB*R'), InvalidRequest, "documents[0].documentRequest"),
    "wrong type": (lambda good: good.replace(b'"Oeiras"', b"7"), InvalidRequest, "documents[0].signatureInfo.location"),
    "bad value": (lambda good: good.replace(b"PAdES", b"JAdES"), ApiError, "documents[0].signatureInfo.signatureType"),
    "duplicate": (lambda good: good.replace(b'"reason"', b'"location"'), InvalidRequest, "duplicate"),
    "deep": (lambda good: b'{"a":' * 40 + b"1" + b"}" * 40, InvalidRequest, "deep"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_bad_input_names_the_place_and_leaves_nothing(running: Running, name: str) -> None:
    change, kind, place = BAD_BODIES[name]
    good = body("bad", [entry(0, invoice(0, size_bytes=20_000))])
    with pytest.raises(kind) as raised:
        await register(running, change(good))
    assert place in raised.value.cause
    assert spill_files(running) == []
    with pytest.raises(NotFound):
        await running.service.status(CALLER, "bad")


async def test_damage_in_the_spill_is_that_documents_refusal(running: Running) -> None:
    contents = [invoice(n, size_bytes=20_000) for n in range(4)]
    row = await register(running, body("damaged", [entry(n, c) for n, c in enumerate(contents)]))
    await running.service.wait(row.id, 30)
    (path,) = spill_files(running)
    data = bytearray(path.read_bytes())
    data[data.index(contents[2]) + 9000] ^= 1
    path.write_bytes(data)
    results = await delivered(running, row.id)
    assert [r.row.status is DocumentStatus.SIGNED for r in results] == [True, True, False, True]
    assert results[2].row.sign_error is SignError.STORAGE_SERVICE_GLOBAL_ERROR
    assert results[2].segments == ()


async def test_somebody_elses_operation_is_not_there(running: Running) -> None:
    row = await register(running, body("mine", [entry(0, invoice(0, size_bytes=20_000))]))
    stranger = Caller("stranger")
    with pytest.raises(NotFound):
        await running.service.status(stranger, "mine")
    with pytest.raises(NotFound):
        await running.service.finished_operation(stranger, operation_id=row.id)
    with pytest.raises(NotFound):
        await running.service.operation_of_document(stranger, "doc 0")
    assert await running.service.operation_of_document(CALLER, "doc 0") == row.id


async def test_a_result_asked_for_too_early(running: Running, sandbox: Sandbox) -> None:
    # The first operation makes the credential known, so that the second can be registered while the upstream stands still.
    known = await register(running, body("known", [entry(0, invoice(0, size_bytes=20_000))]))
    assert await running.service.wait(known.id, 30)
    with sandbox.stopped():
        row = await register(running, body("early", [entry(0, invoice(0, size_bytes=20_000))]))
        assert not (await running.service.status_by_id(CALLER, row.id)).status.finished
        with pytest.raises(NotFinished):
            await running.service.finished_operation(CALLER, operation_id=row.id)
    assert [document.row.status for document in await delivered(running, row.id)] == [DocumentStatus.SIGNED]


async def test_a_sweep_takes_orphans_only(running: Running) -> None:
    row = await register(running, body("kept", [entry(0, invoice(0, size_bytes=20_000))]))
    await running.service.wait(row.id, 30)
    orphan, uploading = (SpillWriter.to_create(running.folder, uuid4()) for _ in range(2))
    orphan.create()
    uploading.create()
    orphan.close()
    await running.signer.sweep()
    assert not orphan.path.exists()
    assert uploading.path.exists()
    assert len(spill_files(running)) == 2


async def test_a_synchronous_payload_is_synced_before_it_is_spoken_of(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its signatures; or, where the time for the reply runs out before them, by itself."""
    synced: list[str] = []
    monkeypatch.setattr(SpillWriter, "sync", lambda _: synced.append("payload"))
    monkeypatch.setattr(SpillWriter, "sync_data", lambda _: synced.append("signatures"))
    monkeypatch.setattr("batchseal.worker.service.sync_file", lambda *_: synced.append("late"))
    data = body("synchronous", [entry(0, invoice(0, size_bytes=20_000))])
    options: dict[str, Any] = {"form": "json", "media_type": "application/json", "body_bytes": len(data)}
    row = await running.service.receive(CALLER, Mode.SYNC, chunks=pieces(data), **options)
    assert await running.service.finished_within(CALLER, row, 30)
    assert await running.service.finished_within(CALLER, row, 0) is None
    assert synced == ["signatures", "late"]
    await register(running, body("asynchronous", [entry(0, invoice(1, size_bytes=20_000))]))
    assert synced[2] == "payload"
