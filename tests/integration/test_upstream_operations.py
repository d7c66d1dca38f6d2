"""What becomes of whole operations when the signing service fails, renews its certificate, or answers again later."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from benchmarks.invoices import invoice
from benchmarks.misbehaving import Misbehaving, make_signer, service
from tests.validators import pyhanko_verify

from batchseal import signer as signers
from batchseal.errors import ReferenceTaken
from batchseal.intake.schema import Limits
from batchseal.link import Link, LinkServer
from batchseal.operation import Caller, DocumentStatus, Mode, OperationStatus
from batchseal.service import Service
from batchseal.signer import Signer
from batchseal.store import Store
from batchseal.upstream import breaker, lane

CALLER = Caller("A")
CONTENTS = [invoice(n, size_bytes=20_000) for n in range(20)]


@dataclass
class Running:
    service: Service
    double: Misbehaving
    folder: Path

    async def submit(self, reference: str, contents: list[bytes], **changes: Any) -> Any:
        documents = [
            {
                "documentRequest": {
                    "externalReference": "same",
                    "name": f"{n}.pdf",
                    "contentType": "application/pdf",
                    "base64Content": base64.b64encode(content).decode(),
                },
                "signatureInfo": {"signatureType": "PAdES", **changes},
            }
            for n, content in enumerate(contents)
        ]
        data = json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        return await self.service.receive(
            CALLER, Mode.ASYNC, form="json", media_type="application/json", chunks=chunks()
        )

    async def finished(self, operation_id: int, seconds: float = 30) -> Any:
        assert await self.service.wait(operation_id, seconds)
        row, documents = await self.service.finished_operation(CALLER, operation_id=operation_id)
        return row, [d async for d in self.service.deliver(row, documents, encoding="raw")]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(signers, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(breaker, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(breaker, "HOLD_SECONDS", 0.2)


@pytest.fixture
async def running(connect_store: Callable[..., Awaitable[Store]], tmp_path: Path) -> AsyncIterator[Running]:
    instance, pool = uuid4(), ThreadPoolExecutor(2)
    store, double = await connect_store(instance), Misbehaving(multisign=5)
    async with service(tmp_path, double) as upstream:
        signer = Signer(store, upstream, tmp_path, pool, instance=instance, tries=5)
        server, link = LinkServer(tmp_path / "link", signer.handlers()), Link(tmp_path / "link")
        await server.start()
        link.start()
        looking = asyncio.create_task(signer.run())
        await asyncio.sleep(0.1)
        offered = Service(store, link, pool, folder=tmp_path, limits=Limits(), instance=instance, advertised=("h", 1))
        yield Running(offered, double, tmp_path)
        looking.cancel()
        await link.stop()
        await server.stop()
        await signer.stop(1)
    pool.shutdown()


async def check(running: Running, content: bytes, signed: bytes) -> None:
    assert signed.startswith(content)
    path = running.folder / "signed.pdf"
    path.write_bytes(signed)
    (verdict,) = await asyncio.to_thread(pyhanko_verify, path, running.double.certificate)
    assert verdict.valid


async def test_an_outage_is_waited_for(running: Running) -> None:
    await running.submit("first", CONTENTS[:1])
    running.double.fault = lambda path, number: "503"
    row = await running.submit("outage", CONTENTS)
    seen = Counter[OperationStatus]()
    for _ in range(20):
        await asyncio.sleep(0.1)
        seen[(await running.service.status_by_id(CALLER, row.id)).status] += 1
    assert seen[OperationStatus.EXECUTION_ERROR] > 5
    assert seen[OperationStatus.EXECUTION_FAILED] == 0
    running.double.fault = lambda path, number: ""
    row, _ = await running.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    assert max(running.double.sent.values()) <= 5


async def test_a_budget_that_is_gone_and_the_same_request_once_more(running: Running) -> None:
    double = running.double
    good = {"count": 0}

    def fault(path: str, number: int) -> str:
        if path != "signHash":
            return ""
        good["count"] += 1
        return "" if good["count"] <= 2 else "429 0"

    double.fault = fault
    row, results = await running.finished((await running.submit("again", CONTENTS)).id)
    assert row.status is OperationStatus.EXECUTION_FAILED
    assert (row.documents_signed, row.documents_failed) == (10, 10)
    assert max(double.sent.values()) == 5
    with pytest.raises(ReferenceTaken):
        await running.submit("again", CONTENTS[:19])
    with pytest.raises(ReferenceTaken):
        await running.submit("again", [*CONTENTS[:19], CONTENTS[19][:-1] + b"\r"])
    double.fault, double.sent = lambda path, number: "", {}
    once_more = await running.submit("again", CONTENTS)
    assert once_more.id == row.id
    row, results = await running.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    assert len(double.sent) == 10  # only what was not signed
    for content, result in zip(CONTENTS, results, strict=True):
        await check(running, content, b"".join(result.segments))
    with pytest.raises(ReferenceTaken):
        await running.submit("again", CONTENTS)
    assert len(list(running.folder.glob("*.spill"))) == 1


async def test_a_certificate_renewed_in_the_middle(running: Running) -> None:
    double, before = running.double, running.double.certificate

    def fault(path: str, number: int) -> str:
        if path == "signHash" and number == 3:
            double.key, double.certificate = make_signer()
        return ""

    double.fault = fault
    row, results = await running.finished((await running.submit("renewed", CONTENTS)).id)
    assert row.status is OperationStatus.EXECUTED
    certificates = []
    for content, result in zip(CONTENTS, results, strict=True):
        signed = b"".join(result.segments)
        old = before.hex().encode() in signed
        certificates.append((old, double.certificate.hex().encode() in signed))
        double_certificate, double.certificate = double.certificate, before if old else double.certificate
        await check(running, content, signed)
        double.certificate = double_certificate
    assert set(certificates) == {(True, False), (False, True)}


async def test_one_document_that_is_refused(running: Running) -> None:
    running.double.multisign = 20
    answer = running.double.answer_authorize

    def authorize(body: Any) -> Any:
        running.double.rejects = running.double.rejects or {body["hash"][3]}
        return answer(body)

    running.double.answer_authorize = authorize  # type: ignore[method-assign]
    row, results = await running.finished((await running.submit("one bad", CONTENTS)).id)
    assert (row.status, row.documents_failed) == (OperationStatus.EXECUTION_FAILED, 1)
    assert [r.row.status is DocumentStatus.SIGNED for r in results] == [n != 3 for n in range(20)]
