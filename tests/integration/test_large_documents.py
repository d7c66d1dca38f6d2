"""Documents that are larger than a delivery holds: they are checked once, and read again in blocks while they go out."""

import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.invoices import invoice
from tests.conformance.stores import SERVED, STORES, Encrypted, Local, Objects, StoreUnderTest
from tests.support.house import CALLER, QUICK, House, json_body, running_house
from tests.support.parts import Connect, running_parts
from tests.support.upstream import Misbehaving, service

from batchseal.errors import NoRoom, PayloadUnavailable
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.payloads.frames import HEADER_BYTES, FrameKind
from batchseal.pipeline.encode import BATCH_BYTES, STREAM_BYTES, held_bytes
from batchseal.store.rows import DocumentRow

SMALL = [invoice(number, size_bytes=20_000) for number in range(2)]
LARGE = invoice(7, size_bytes=BATCH_BYTES + 700_001)
# What a caller and the server between them may not hold of it: the rest of a document is read after the first piece went out.
PIECE_BYTES = 64 << 10


@pytest.fixture(params=SERVED)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def house(
    store: StoreUnderTest, connect_store: Connect, database_url: str, tmp_path: Path
) -> AsyncIterator[House]:
    async with running_house(connect_store, database_url, store.payloads, tmp_path) as house:
        yield house


async def delivered(house: House, operation_id: int, encoding: Any = "raw") -> list[tuple[DocumentRow, list[bytes]]]:
    """The rows as they really ended, and the pieces in which the documents came."""
    row, rows = await house.parts.service.finished_operation(CALLER, operation_id=operation_id)
    documents = house.parts.service.deliver(row, rows, encoding=encoding)
    return [(one.row, [piece async for piece in one.pieces()]) async for one in documents]


async def submitted(house: House, *contents: bytes) -> Any:
    row = await house.submit("large", list(contents))
    assert await house.parts.service.wait(row.id, 120)
    return await house.row(row.id)


async def test_a_large_document_comes_in_small_pieces_between_its_neighbours(house: House) -> None:
    row = await submitted(house, SMALL[0], LARGE, SMALL[1])
    assert row.status is OperationStatus.EXECUTED
    found = await delivered(house, row.id)
    for (document, pieces), content in zip(found, [SMALL[0], LARGE, SMALL[1]], strict=True):
        signed = b"".join(pieces)
        assert signed.startswith(content)
        assert len(signed) == len(content) + document.additional_bytes
    assert max(map(len, found[1][1])) <= PIECE_BYTES
    encoded = await delivered(house, row.id, "base64")
    assert [base64.b64decode(b"".join(pieces)) for _, pieces in encoded] == [b"".join(pieces) for _, pieces in found]
    assert max(map(len, encoded[1][1])) <= PIECE_BYTES


async def test_every_reply_with_a_large_document_is_the_same_document(house: House) -> None:
    row = await submitted(house, LARGE, SMALL[0])
    (_, pieces), _ = await delivered(house, row.id)
    signed = b"".join(pieces)
    status, _, body, ended = await house.get(f"/operation/sign/detail/{row.id}/contentInResponse/true")
    assert (status, ended) == (200, True)
    assert base64.b64decode(json.loads(body)["documentList"][0]["signedContent"]) == signed
    status, headers, body, ended = await house.get(f"/operation/sign/detail/{row.id}/documents/0")
    assert (status, ended, body, int(headers["content-length"])) == (200, True, signed, len(signed))
    status, _, body, ended = await house.get(f"/operation/sign/detail/{row.id}/documents")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert archive.read("doc 0.0.pdf") == signed


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (49_000, 49_300), (1_000_000, 1_500_000), (-9_000, None)])
async def test_a_part_of_a_large_document(house: House, start: int, stop: int | None) -> None:
    row = await submitted(house, LARGE)
    operation, rows = await house.parts.service.finished_operation(CALLER, operation_id=row.id)
    async for document in house.parts.service.deliver(operation, rows, encoding="raw"):
        whole = b"".join([piece async for piece in document.pieces()])
        first, last, _ = slice(start, stop).indices(len(whole))
        assert b"".join([piece async for piece in document.pieces(first, last)]) == whole[first:last]


def reads_ahead(store: StoreUnderTest) -> bool:
    """Whether all of the document was read and checked when it was damaged, so that what is sent is right."""
    return isinstance(store, Objects)


async def test_damage_that_is_there_before_the_reply_is_the_documents_failure(
    house: House, store: StoreUnderTest
) -> None:
    row = await submitted(house, SMALL[0], LARGE, SMALL[1])
    store.damage(row.payload_id, FrameKind.DOCUMENT, 1)
    status, _, body, ended = await house.get(f"/operation/sign/detail/{row.id}/contentInResponse/true")
    assert (status, ended) == (200, True)
    reply = json.loads(body)
    assert reply["status"] == "EXECUTION_FAILED"
    assert [one["signStatus"] for one in reply["documentList"]] == ["SIGNED", "ERROR_SIGNING", "SIGNED"]
    assert reply["documentList"][1]["signError"] == SignError.STORAGE_SERVICE_GLOBAL_ERROR.name
    for number in (0, 2):
        assert base64.b64decode(reply["documentList"][number]["signedContent"]).startswith(SMALL[number // 2])


@pytest.mark.parametrize("what", ["contentInResponse/true", "documents/0", "documents"])
async def test_damage_that_comes_while_the_reply_is_sent_cuts_it(
    house: House, store: StoreUnderTest, what: str
) -> None:
    row = await submitted(house, LARGE)

    def damage() -> None:
        """Of the last block, which is read long after the first piece went out."""
        files = store.inner if isinstance(store, Encrypted) else store
        if isinstance(files, Local) and not isinstance(files, Objects):
            with files.path(row.payload_id).open("r+b") as file:
                file.seek(HEADER_BYTES + len(LARGE) - 1)
                file.write(b"?")
        else:
            store.damage(row.payload_id, FrameKind.DOCUMENT, 0)

    path = f"/operation/sign/detail/{row.id}/{what}"
    *_, right, _ = await house.get(path)
    status, _, body, ended = await house.get(path, begun=damage)
    if reads_ahead(store):
        assert (status, ended, body) == (200, True, right)
    else:
        assert (status, ended) == (200, False)
        assert len(body) < 4 * len(LARGE) // 3 + 100_000
    (document, pieces) = (await delivered(house, row.id))[0]
    assert (document.status, pieces) == (DocumentStatus.ERROR_SIGNING, [])


async def test_what_cannot_be_read_while_it_is_sent_is_unavailable(house: House, store: StoreUnderTest) -> None:
    row = await submitted(house, LARGE)
    operation, rows = await house.parts.service.finished_operation(CALLER, operation_id=row.id)
    documents = house.parts.service.deliver(operation, rows, encoding="raw")
    document = await anext(documents)
    store.damage(row.payload_id, FrameKind.DOCUMENT, 0)
    if reads_ahead(store):
        assert b"".join([piece async for piece in document.pieces()]).startswith(LARGE)
    else:
        with pytest.raises(PayloadUnavailable):
            [piece async for piece in document.pieces()]
    await documents.aclose()  # type: ignore[attr-defined]


async def test_a_large_document_that_is_handed_in_again_is_compared(house: House) -> None:
    house.double.fault = lambda path, number: "429 0" if path == "signHash" else ""
    row = await submitted(house, LARGE)
    house.double.fault = lambda path, number: ""
    assert row.status is OperationStatus.EXECUTION_FAILED
    again = await house.submit("large", [LARGE])
    assert again.id == row.id
    assert await house.parts.service.wait(again.id, 120)
    assert (await house.row(row.id)).status is OperationStatus.EXECUTED


# --- what is reserved for a delivery ---------------------------------------------------------------------------------


def rows(*sizes: int, added: int = 20_000) -> list[DocumentRow]:
    one = DocumentRow(0, "r", "n", ContentType.PDF, DocumentStatus.SIGNED, None, None, 0, added)
    return [replace(one, ordinal=ordinal, content_bytes=size) for ordinal, size in enumerate(sizes)]


def test_what_a_delivery_reserves_does_not_follow_the_largest_document() -> None:
    def held(*sizes: int, packed: bool = False, added: int = 20_000) -> int:
        return held_bytes(rows(*sizes, added=added), BATCH_BYTES, may_be_packed=packed)

    assert held(40_000_000) == held(100_000_000) == STREAM_BYTES + 40_000
    assert held(40_000_000, packed=True) > held(40_000_000) + BATCH_BYTES
    assert held(40_000_000, added=5_000_000) > 10_000_000
    assert held(1000) < held(200_000) < held(*[200_000] * 100) == held(*[200_000] * 10_000, 40_000_000)


@pytest.mark.usefixtures("unknown_to_the_worker")
async def test_a_large_document_that_the_signer_prepares_waits_for_its_memory(
    connect_store: Connect, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []

    @asynccontextmanager
    async def reserve(client: str, memory_bytes: int) -> AsyncIterator[None]:
        asked.append((client, memory_bytes))
        if len(asked) == 1:
            raise NoRoom("the memory for uploads is in use")
        yield

    content = invoice(3, size_bytes=5_000_000)
    async with (
        service(tmp_path, Misbehaving(multisign=5)) as upstream,
        running_parts(connect_store, upstream, tmp_path, instance=uuid4(), pace=QUICK, reserve=reserve) as parts,
    ):
        body = json_body("large", [content, SMALL[0]])

        async def chunks() -> AsyncIterator[bytes]:
            yield body

        row = await parts.service.receive(
            CALLER, Mode.ASYNC, form="json", media_type="application/json", body_bytes=len(body), chunks=chunks()
        )
        assert await parts.service.wait(row.id, 120)
        assert (await parts.service.status_by_id(CALLER, row.id)).status is OperationStatus.EXECUTED
    assert asked == [(CALLER.client_service, 2 * len(content))] * 2
