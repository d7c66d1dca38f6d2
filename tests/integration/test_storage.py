"""Payloads that cannot be read just now, payloads of another instance, and external references that are taken."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.waiting import eventually
from tests.support.parts import Connect
from tests.support.storage import Storage
from tests.support.upstream import CALLER, CONTENTS, Running, entry_of, running_service

from batchseal.errors import PayloadUnavailable, ReferenceTaken
from batchseal.operation import Mode, OperationStatus, SignError
from batchseal.signer.pace import Pace
from batchseal.store import Store
from batchseal.system.backoff import Backoff
from batchseal.upstream.pace import UpstreamPace

PIECE_BYTES = 64 << 10


@pytest.fixture
async def running(connect_store: Connect, tmp_path: Path) -> AsyncIterator[Running]:
    pace, upstream_pace = Pace(between_tries=Backoff(0.01, 0.02)), UpstreamPace(repeating=Backoff(0.01, 0.02))
    async with running_service(connect_store, uuid4(), tmp_path, pace=pace, upstream_pace=upstream_pace) as running:
        yield running


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    return Storage(monkeypatch)


async def failed(running: Running, reference: str, contents: list[bytes]) -> Any:
    """An operation that the upstream refused; it may be handed in again."""
    running.double.fault = lambda path, number: "429 0" if path == "signHash" else ""
    row, _ = await running.finished((await running.submit(reference, contents)).id)
    running.double.fault = lambda path, number: ""
    assert row.status is OperationStatus.EXECUTION_FAILED
    return row


# --- the signer ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unknown_to_the_worker")
@pytest.mark.parametrize("call", ["open", "read"])
async def test_signing_waits_for_a_payload_that_cannot_be_read(running: Running, storage: Storage, call: str) -> None:
    """For longer than an unexpected fault would be borne. It is no try of a document."""
    storage.fails = call
    row = await running.submit("waits", CONTENTS[:3])
    await eventually(lambda: storage.failed > 7)
    (held,) = await running.service.status(CALLER, "waits")
    assert held.status is OperationStatus.EXECUTION_ERROR
    storage.fails = ""
    operation, delivered = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:3]
    assert running.double.calls["signHash"] == 1


async def test_an_operation_whose_digests_were_handed_over_needs_no_payload(running: Running, storage: Storage) -> None:
    row = await running.submit("first", CONTENTS[:1])  # the credential is known from now on
    await running.finished(row.id)
    storage.fails = "open"
    row = await running.submit("handed", CONTENTS[:3])
    assert await running.service.wait(row.id, 120)
    storage.fails = ""
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED


@pytest.mark.usefixtures("unknown_to_the_worker")
async def test_a_payload_that_is_gone_is_given_up(running: Running, storage: Storage) -> None:
    storage.fails = "open"
    row = await running.submit("gone", CONTENTS[:1])
    await eventually(lambda: storage.failed > 1)
    for path in running.folder.glob("*.spill"):
        path.unlink()
    storage.fails = ""
    operation, (document,) = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTION_FAILED
    assert document.row.sign_error is SignError.STORAGE_SERVICE_GLOBAL_ERROR


# --- the worker ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "read"])
@pytest.mark.parametrize("count", [1, 20])
async def test_a_result_that_cannot_be_read_is_no_result(
    running: Running, storage: Storage, call: str, count: int
) -> None:
    row = await running.submit("result", CONTENTS[:count])
    await running.finished(row.id)
    operation, documents = await running.service.finished_operation(CALLER, operation_id=row.id)
    storage.fails = call
    with pytest.raises(PayloadUnavailable):
        await anext(running.service.deliver(operation, documents, encoding="raw"))
    storage.fails = ""
    delivered = [d async for d in running.service.deliver(operation, documents, encoding="raw")]
    assert [bytes(document.segments[0]) for document in delivered] == CONTENTS[:count]


async def test_a_synchronous_result_whose_payload_cannot_be_read(running: Running, storage: Storage) -> None:
    row = await running.submit("synchronous", CONTENTS[:1], Mode.SYNC)
    ended = await running.service.finished_within(CALLER, row, 120)
    assert ended is not None
    storage.fails = "read"  # the file itself was opened while it was signed
    with pytest.raises(PayloadUnavailable):
        await anext(running.service.deliver(*ended, encoding="base64"))
    storage.fails = "open"
    with pytest.raises(PayloadUnavailable):  # the reply would speak of a payload that is not on the disk
        await running.service.finished_within(CALLER, row, 0)


async def test_a_request_that_cannot_be_compared_comes_again_later(running: Running, storage: Storage) -> None:
    row = await failed(running, "again", CONTENTS[:2])
    storage.fails = "open"
    with pytest.raises(PayloadUnavailable):
        await running.submit("again", CONTENTS[:2])
    storage.fails = ""
    assert (await running.submit("again", CONTENTS[:2])).id == row.id
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED
    assert len(list(running.folder.glob("*.spill"))) == 1


# --- another instance ---------------------------------------------------------------------------------------------


async def test_another_instances_payload_names_its_address(running: Running) -> None:
    other = running.offer(uuid4())
    row = await running.submit("foreign", CONTENTS[:1])
    await running.finished(row.id)
    (status,) = await other.status(CALLER, "foreign")
    assert status.status is OperationStatus.EXECUTED
    operation, documents = await other.finished_operation(CALLER, operation_id=row.id)
    with pytest.raises(PayloadUnavailable, match=r"another instance, ask h:1$"):
        await anext(other.deliver(operation, documents, encoding="raw"))
    with pytest.raises(ReferenceTaken):
        await running.submit("foreign", CONTENTS[:1], service=other)


async def test_another_instances_failed_request_goes_on_there(running: Running) -> None:
    other = running.offer(uuid4())
    row = await failed(running, "foreign", CONTENTS[:2])
    with pytest.raises(PayloadUnavailable, match=r"ask h:1$"):
        await running.submit("foreign", CONTENTS[:2], service=other)
    assert len(list(running.folder.glob("*.spill"))) == 1
    assert (await running.submit("foreign", CONTENTS[:2])).id == row.id
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED


# --- external references that are taken ---------------------------------------------------------------------------


async def test_what_was_uploaded_to_compare_is_not_booked(running: Running) -> None:
    await failed(running, "booked", CONTENTS[:4])
    with running.ledger.booked() as booked:
        stored_bytes = booked.stored_bytes
        booked.queued_documents = 0
    assert stored_bytes > 0
    running.double.fault = lambda path, number: "503" if path == "signHash" else ""
    await running.submit("booked", CONTENTS[:4])
    with running.ledger.booked() as booked:
        assert (booked.stored_bytes, booked.queued_documents) == (stored_bytes, 4)


class Upload:
    """A body in pieces that counts how many of them were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.taken = data, 0

    async def pieces(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), PIECE_BYTES):
            self.taken += 1
            yield self.data[start : start + PIECE_BYTES]

    @property
    def whole(self) -> bool:
        return self.taken * PIECE_BYTES >= len(self.data)


def body(reference: str, contents: list[bytes], *, first: bool = True) -> bytes:
    documents = {"documents": [entry_of(n, content) for n, content in enumerate(contents)]}
    facts = {"externalReference": reference, "description": "d"}
    return json.dumps(facts | documents if first else documents | facts).encode()


def multipart(reference: str, contents: list[bytes], *, first: bool) -> bytes:
    described = json.loads(body(reference, contents))
    for document in described["documents"]:
        del document["documentRequest"]["base64Content"]
    request = b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(described).encode()
    files = [b'Content-Disposition: form-data; name="files"; filename="f.pdf"\r\n\r\n' + one for one in contents]
    parts = [request, *files] if first else [*files, request]
    return b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"


async def send(running: Running, upload: Upload, form: Any = "json", *, announced: bool = True) -> Any:
    return await running.service.receive(
        CALLER,
        Mode.ASYNC,
        form=form,
        media_type="application/json" if form == "json" else "multipart/form-data; boundary=cut",
        body_bytes=len(upload.data) if announced else None,
        chunks=upload.pieces(),
    )


LARGE = CONTENTS * 10  # 4 MB


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """References that the database was asked for before the registration."""
    asked: list[str] = []
    holder = Store.reference_holder

    async def noted(store: Store, client_service: str, reference: str, **options: Any) -> Any:
        asked.append(reference)
        return await holder(store, client_service, reference, **options)

    monkeypatch.setattr(Store, "reference_holder", noted)
    return asked


@pytest.mark.parametrize("form", ["json", "multipart"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_taken_reference_is_said_before_the_body_has_come(
    running: Running, asked: list[str], form: str, announced: bool
) -> None:
    row = await running.submit("taken", CONTENTS[:1])
    with pytest.raises(ReferenceTaken) as late:
        await running.submit("taken", CONTENTS[:1])
    assert asked == []
    upload = Upload(multipart("taken", LARGE, first=True) if form == "multipart" else body("taken", LARGE))
    with pytest.raises(ReferenceTaken) as early:
        await send(running, upload, form, announced=announced)
    assert (early.value.cause, early.value.operation_id) == (late.value.cause, row.id)
    assert upload.taken == 1 if announced else upload.taken * PIECE_BYTES < (1 << 20) + 2 * PIECE_BYTES
    assert asked == ["taken"]
    assert len(list(running.folder.glob("*.spill"))) == 1


@pytest.mark.parametrize("form", ["json", "multipart"])
async def test_a_reference_behind_the_documents_is_found_out_at_the_end(
    running: Running, asked: list[str], form: str
) -> None:
    await running.submit("taken", CONTENTS[:1])
    made = multipart("taken", LARGE, first=False) if form == "multipart" else body("taken", LARGE, first=False)
    upload = Upload(made)
    with pytest.raises(ReferenceTaken):
        await send(running, upload, form)
    assert upload.whole
    assert asked == []


async def test_a_failed_request_can_still_be_handed_in_again(running: Running, asked: list[str]) -> None:
    row = await failed(running, "again", LARGE)
    upload = Upload(body("again", LARGE))
    assert (await send(running, upload)).id == row.id
    assert upload.whole
    assert asked == ["again"]
    operation, _ = await running.finished(row.id)
    assert operation.status is OperationStatus.EXECUTED


@pytest.mark.parametrize("announced", [True, False])
async def test_a_small_request_asks_nothing(running: Running, asked: list[str], announced: bool) -> None:
    upload = Upload(body("small", CONTENTS[:10]))
    await send(running, upload, announced=announced)
    assert upload.taken > 1
    assert asked == []
