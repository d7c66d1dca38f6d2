"""The way of a document through the real parts: spill, planner, lanes, sandbox over HTTP, Postgres; without the HTTP front."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.validators import pyhanko_verify
from tests.support.parts import Connect, Parts, running_parts

from batchseal.errors import ApiError, InvalidRequest, NotFinished, NotFound, ReferenceTaken
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.local import LocalPayloads
from batchseal.settings.client_services import SANDBOX_SERVICE, ClientServices
from batchseal.settings.load import Settings
from batchseal.store import Store
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller(SANDBOX_SERVICE)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), "--credential=p256", "--multisign=40") as running:
        yield running


@pytest.fixture
async def running(sandbox: Sandbox, connect_store: Connect, tmp_path: Path) -> AsyncIterator[Parts]:
    upstream = RemoteUpstream(Settings(service_domain=sandbox.address), ClientServices.load(sandbox.services))
    async with running_parts(connect_store, upstream, tmp_path, instance=uuid4()) as parts:
        yield parts
    await upstream.close()


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


async def register(running: Parts, data: bytes, **options: Any) -> Any:
    options = {"form": "json", "media_type": "application/json", "body_bytes": len(data), **options}
    return await running.service.receive(CALLER, Mode.ASYNC, chunks=pieces(data), **options)


async def delivered(running: Parts, operation_id: int) -> list[Any]:
    assert await running.service.wait(operation_id, 120)
    row, documents = await running.service.finished_operation(CALLER, operation_id=operation_id)
    return [d async for d in running.service.deliver(row, documents, encoding="raw")]


def spill_files(running: Parts) -> list[Path]:
    return list(running.folder.glob("*.spill"))


async def test_a_batch_is_signed_and_delivered(running: Parts, sandbox: Sandbox, tmp_path: Path) -> None:
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


async def test_refused_documents_do_not_hurt_their_neighbours(running: Parts) -> None:
    good = invoice(1, size_bytes=20_000)
    documents = [
        entry(0, good),
        entry(1, b"not a PDF at all"),
        entry(2, good, applyTimestamp=True),
        entry(3, good, visibleSignatureInfo={"locationType": "COORDINATE", "locationValue": "page=9,x=1,y=1"}),
        entry(4, good, signatureType="XAdES"),
        entry(5, good),
    ]
    row = await register(running, body("mixed", documents))
    results = await delivered(running, row.id)
    statuses = [r.row.status for r in results]
    failed, signed = DocumentStatus.ERROR_SIGNING, DocumentStatus.SIGNED
    assert statuses == [signed, failed, failed, failed, failed, signed]
    refusals = [SignError.CONFIGURATION_SIGN_ERROR, SignError.NOT_DRAWABLE, SignError.CONFIGURATION_SIGN_ERROR]
    assert [r.row.sign_error for r in results[2:5]] == refusals
    for result in results[1:5]:
        assert result.segments == ()
        assert (
            result.row.cause and result.row.name not in result.row.cause
        )  # whoever shows the cause names the document
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
async def test_multipart_in_either_order(running: Parts, request_first: bool) -> None:
    contents = [invoice(n, size_bytes=20_000) for n in range(5)]
    data, media_type = multipart("parts", contents, request_first=request_first)
    row = await register(running, data, form="multipart", media_type=media_type)
    results = await delivered(running, row.id)
    assert all(b"".join(r.segments).startswith(c) for r, c in zip(results, contents, strict=True))


async def test_a_taken_reference_names_its_operation_and_leaves_nothing(running: Parts) -> None:
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
    "wrong type": (
        lambda good: good.replace(b'"Oeiras"', b"[7]"),
        InvalidRequest,
        "documents[0].signatureInfo.location",
    ),
    "bad value": (lambda good: good.replace(b"PAdES", b"JAdES"), ApiError, "documents[0].signatureInfo.signatureType"),
    "duplicate": (lambda good: good.replace(b'"reason"', b'"location"'), InvalidRequest, "duplicate"),
    "deep": (lambda good: b'{"a":' * 40 + b"1" + b"}" * 40, InvalidRequest, "deep"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_bad_input_names_the_place_and_leaves_nothing(running: Parts, name: str) -> None:
    change, kind, place = BAD_BODIES[name]
    good = body("bad", [entry(0, invoice(0, size_bytes=20_000))])
    with pytest.raises(kind) as raised:
        await register(running, change(good))
    assert place in raised.value.cause
    assert spill_files(running) == []
    with pytest.raises(NotFound):
        await running.service.status(CALLER, "bad")


async def test_damage_in_the_spill_is_that_documents_refusal(running: Parts) -> None:
    contents = [invoice(n, size_bytes=20_000) for n in range(4)]
    row = await register(running, body("damaged", [entry(n, c) for n, c in enumerate(contents)]))
    await running.service.wait(row.id, 120)
    (path,) = spill_files(running)
    data = bytearray(path.read_bytes())
    data[data.index(contents[2]) + 9000] ^= 1
    path.write_bytes(data)
    results = await delivered(running, row.id)
    assert [r.row.status is DocumentStatus.SIGNED for r in results] == [True, True, False, True]
    assert results[2].row.sign_error is SignError.STORAGE_SERVICE_GLOBAL_ERROR
    assert results[2].segments == ()


async def test_somebody_elses_operation_is_not_there(running: Parts) -> None:
    row = await register(running, body("mine", [entry(0, invoice(0, size_bytes=20_000))]))
    stranger = Caller("stranger")
    with pytest.raises(NotFound):
        await running.service.status(stranger, "mine")
    with pytest.raises(NotFound):
        await running.service.finished_operation(stranger, operation_id=row.id)
    with pytest.raises(NotFound):
        await running.service.operation_of_document(stranger, "doc 0")
    assert await running.service.operation_of_document(CALLER, "doc 0") == row.id


async def test_a_result_asked_for_too_early(running: Parts, sandbox: Sandbox) -> None:
    # The first operation makes the credential known, so that the second can be registered while the upstream stands still.
    known = await register(running, body("known", [entry(0, invoice(0, size_bytes=20_000))]))
    assert await running.service.wait(known.id, 120)
    with sandbox.stopped():
        row = await register(running, body("early", [entry(0, invoice(0, size_bytes=20_000))]))
        assert not (await running.service.status_by_id(CALLER, row.id)).status.finished
        with pytest.raises(NotFinished):
            await running.service.finished_operation(CALLER, operation_id=row.id)
    assert [document.row.status for document in await delivered(running, row.id)] == [DocumentStatus.SIGNED]


async def test_a_sweep_takes_orphans_only(running: Parts) -> None:
    row = await register(running, body("kept", [entry(0, invoice(0, size_bytes=20_000))]))
    await running.service.wait(row.id, 120)
    orphan, uploading = (running.payloads.create(uuid4()) for _ in range(2))
    orphan.begin()
    uploading.begin()
    orphan.release()
    await running.sweeping.sweep()
    assert {path.stem for path in spill_files(running)} == {str(row.payload_id), str(uploading.payload_id)}
    uploading.abandon()


async def test_a_synchronous_payload_is_durable_before_it_is_spoken_of(
    running: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made durable with its end; or, where the time for the reply runs out before, by the worker."""
    durable: list[str] = []
    make_durable, finish = LocalPayloads.make_durable, Store.finish

    def making(payloads: LocalPayloads, record: Any) -> None:
        make_durable(payloads, record)
        durable.append("payload")

    async def finishing(*arguments: Any, **options: Any) -> Any:
        ended = await finish(*arguments, **options)
        durable.append("end")
        return ended

    monkeypatch.setattr(LocalPayloads, "make_durable", making)
    monkeypatch.setattr(Store, "finish", finishing)
    data = body("synchronous", [entry(0, invoice(0, size_bytes=20_000))])
    options: dict[str, Any] = {"form": "json", "media_type": "application/json", "body_bytes": len(data)}
    row = await running.service.receive(CALLER, Mode.SYNC, chunks=pieces(data), **options)
    assert await running.service.finished_within(CALLER, row, 120)
    assert durable == ["payload", "end"]
    assert await running.service.finished_within(CALLER, row, 0) is None
    assert durable == ["payload", "end", "payload"]
