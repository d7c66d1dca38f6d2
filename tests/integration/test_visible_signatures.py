"""Visible signatures through the service: what is refused where, and what the payload keeps of an appearance."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.invoices import invoice
from harness.sandbox import Sandbox, running_sandbox
from harness.validators import pyhanko_verify
from tests.support.parts import Connect, Parts, running_parts
from tests.support.pictures import picture

from batchseal.api.problem import nothing_signed
from batchseal.errors import VisibleSignatureImpossible
from batchseal.operation import Caller, DocumentStatus, Mode, SignError
from batchseal.payloads.frames import HEADER_BYTES, FrameKind, unpack_header
from batchseal.settings.client_services import SANDBOX_SERVICE, ClientServices
from batchseal.settings.load import Settings
from batchseal.signature import SignatureDefaults, VisibleDefaults, VisibleTexts
from batchseal.upstream.remote import RemoteUpstream

CALLER = Caller(SANDBOX_SERVICE)
PLACE = {"locationType": "COORDINATE", "locationValue": "page=1,x=140,y=35"}
HOUSE = VisibleTexts(one_off_template="The house of $certificate.commonName", area="width=200,height=40")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), "--credential=p256", "--multisign=40") as running:
        yield running


@pytest.fixture
async def running(sandbox: Sandbox, connect_store: Connect, tmp_path: Path) -> AsyncIterator[Parts]:
    upstream = RemoteUpstream(Settings(service_domain=sandbox.address), ClientServices.load(sandbox.services))
    defaults = SignatureDefaults(visible=VisibleDefaults(service=HOUSE))
    async with running_parts(
        connect_store, upstream, tmp_path, instance=uuid4(), signature_defaults=lambda client_service: defaults
    ) as parts:
        yield parts
    await upstream.close()


def entry(number: int, content: bytes, visible: dict[str, Any]) -> dict[str, Any]:
    return {
        "documentRequest": {
            "externalReference": f"doc {number}",
            "name": f"invoice-{number}.pdf",
            "contentType": "application/pdf",
            "base64Content": base64.b64encode(content).decode(),
        },
        "signatureInfo": {"signatureType": "PAdES", "reason": "Fatura", "visibleSignatureInfo": visible},
    }


def as_json(entries: list[dict[str, Any]]) -> tuple[bytes, str, str]:
    body = {"externalReference": str(uuid4()), "description": "test", "documents": entries}
    return json.dumps(body).encode(), "json", "application/json"


def as_multipart(entries: list[dict[str, Any]], *, request_first: bool = True) -> tuple[bytes, str, str]:
    contents = [base64.b64decode(one["documentRequest"].pop("base64Content")) for one in entries]
    body = {"externalReference": str(uuid4()), "description": "test", "documents": entries}
    parts = [b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(body).encode()]
    files = [b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + c for c in contents]
    parts = [*parts, *files] if request_first else [*files, *parts]
    data = b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"
    return data, "multipart", "multipart/form-data; boundary=cut"


def files_first(entries: list[dict[str, Any]]) -> tuple[bytes, str, str]:
    return as_multipart(entries, request_first=False)


FORMS = [as_json, as_multipart, files_first]


async def send(running: Parts, request: tuple[bytes, str, str], mode: Mode = Mode.ASYNC) -> Any:
    data, form, media_type = request

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    options = {"form": form, "media_type": media_type, "body_bytes": len(data)}
    return await running.service.receive(CALLER, mode, chunks=chunks(), **options)  # type: ignore[arg-type]


async def delivered(running: Parts, operation_id: int) -> list[Any]:
    assert await running.service.wait(operation_id, 120)
    row, documents = await running.service.finished_operation(CALLER, operation_id=operation_id)
    return [d async for d in running.service.deliver(row, documents, encoding="raw")]


async def verify(folder: Path, sandbox: Sandbox, number: int, segments: Any) -> None:
    path = folder / f"{number}.pdf"
    path.write_bytes(b"".join(segments))
    root = ssl.PEM_cert_to_DER_cert(sandbox.root.read_text())
    (verdict,) = await asyncio.to_thread(pyhanko_verify, path, root)
    assert verdict.valid and verdict.whole_file


@pytest.mark.parametrize("form", FORMS)
async def test_documents_show_what_was_asked_for(form: Any, running: Parts, sandbox: Sandbox, tmp_path: Path) -> None:
    """The later forms are prepared by the signer, since their descriptions come last."""
    originals = [invoice(n, size_bytes=30_000) for n in range(3)]
    asked = [
        {**PLACE, "oneOffTemplate": "Signed by $certificate.getCommonName()", "imageValue": picture("PNG", "RGBA")},
        {**PLACE, "templateType": "SERVICE_CUSTOMIZATION", "areaBackgroundColor": "#FFFFCC"},
        {**PLACE, "oneOffTemplate": "$reason", "font": "name=courier,size=9"},
    ]
    entries = [entry(n, content, one) for n, (content, one) in enumerate(zip(originals, asked, strict=True))]
    results = await delivered(running, (await send(running, form(entries))).id)
    for number, (original, result) in enumerate(zip(originals, results, strict=True)):
        signed = b"".join(result.segments)
        assert result.row.status is DocumentStatus.SIGNED, result.row
        assert signed.startswith(original) and len(signed) == len(original) + result.row.additional_bytes
        assert b"/FontFile2" in signed and (b"/SMask" in signed) == (number == 0)
        await verify(tmp_path, sandbox, number, result.segments)
    assert b"LiberationMono" in b"".join(results[2].segments)


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
@pytest.mark.parametrize("form", FORMS)
async def test_a_mistake_in_the_request_ends_it_and_leaves_nothing(form: Any, mode: Mode, running: Parts) -> None:
    content = invoice(1, size_bytes=20_000)
    for wrong in ({"oneOffTemplate": "$nobody"}, {"font": "color=red"}, {"imageValue": picture("PNG")[:-8]}):
        entries = [entry(0, content, dict(PLACE)), entry(1, content, {**PLACE, **wrong})]
        with pytest.raises(VisibleSignatureImpossible) as refusal:
            await send(running, form(entries), mode)
        assert (refusal.value.code, refusal.value.status) == ("2.2.1", 400)
        assert "documents[1].signatureInfo.visibleSignatureInfo" in refusal.value.cause
    assert list(running.folder.glob("*.spill")) == []


@pytest.mark.parametrize("form", FORMS)
async def test_what_depends_on_the_document_ends_that_document(form: Any, running: Parts) -> None:
    content = invoice(1, size_bytes=20_000)
    wrong: list[dict[str, Any]] = [
        {"locationValue": "page=7,x=1,y=1"},
        {"locationValue": "page=1,x=500,y=1"},
        {"area": "width=30,height=30", "imageValue": picture("PNG", "RGB", (40, 20))},
        {"oneOffTemplate": "漢"},
    ]
    entries = [entry(n, content, {**PLACE, **one}) for n, one in enumerate([{}, *wrong])]
    results = await delivered(running, (await send(running, form(entries))).id)
    assert results[0].row.status is DocumentStatus.SIGNED
    causes = ("the PDF does not have the page", "the area of the visible signature", "smaller than the image", "U+6F22")
    for result, cause in zip(results[1:], causes, strict=True):
        assert result.row.sign_error is SignError.NOT_DRAWABLE
        assert result.row.sign_error.label == "CONFIGURATION_SIGN_ERROR"
        assert result.row.cause.startswith("2.2.1: ") and cause in result.row.cause, result.row.cause
        assert "error" not in result.row.cause
    problem = nothing_signed([one.row for one in results[1:]])
    assert (problem.code, problem.status) == ("2.2.1", 400)
    assert problem.cause.startswith("invoice-1.pdf: 2.2.1: ")


async def test_an_appearance_is_stored_once_for_all_documents(running: Parts, sandbox: Sandbox, tmp_path: Path) -> None:
    """With an image of 30 KB, a payload is hardly larger than its documents, whichever process has prepared them."""
    originals = [invoice(n, size_bytes=200_000) for n in range(40)]
    image = picture("PNG", "RGB", (100, 100), noise=True)
    assert 29_000 < len(image) * 3 / 4 < 33_000
    for form in (as_json, files_first):
        asked = {**PLACE, "area": "width=250,height=110", "imageValue": image, "oneOffTemplate": "$date"}
        row = await send(running, form([entry(n, content, asked) for n, content in enumerate(originals)]))
        results = await delivered(running, row.id)
        assert {one.row.status for one in results} == {DocumentStatus.SIGNED}
        assert all(one.row.additional_bytes > 30_000 for one in results)
        await verify(tmp_path, sandbox, 0, results[39].segments)
    stored = payload_frames(running.folder)
    documents = sum(size for kind, size in stored if kind is FrameKind.DOCUMENT)
    others = sum(size for kind, size in stored if kind is not FrameKind.DOCUMENT)
    print(f"temp_bytes_over_payload {1 + others / (80 * 200_000):.4f}")
    assert 80 * 190_000 < documents <= 80 * 201_000
    assert (documents + others) / sum(map(len, originals)) / 2 <= 1.03
    assert sum(kind is FrameKind.SHARED for kind, _ in stored) <= 12


def payload_frames(folder: Path) -> list[tuple[FrameKind, int]]:
    """The kind and the stored length of each frame in all payloads."""
    found = []
    for path in folder.glob("*.spill"):
        data, at, name = path.read_bytes(), 0, UUID(path.stem)
        while (header := unpack_header(data[at : at + HEADER_BYTES], name, at)) is not None:
            found.append((header.kind, HEADER_BYTES + header.stored_bytes))
            at += HEADER_BYTES + header.stored_bytes
    return found
