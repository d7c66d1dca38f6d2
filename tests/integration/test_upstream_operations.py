"""Whole operations while the signing service fails, renews its certificate, or recovers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.misbehaving import make_signer
from harness.validators import pyhanko_verify
from harness.waiting import eventually
from tests.support.upstream import CALLER, CONTENTS, Running, running_service

from batchseal.errors import ReferenceTaken
from batchseal.operation import DocumentStatus, OperationStatus
from batchseal.signer.pace import Pace
from batchseal.store import Store
from batchseal.system.backoff import Backoff
from batchseal.upstream.pace import UpstreamPace
from batchseal.worker import lost_documents, resubmission

PACE = Pace(between_tries=Backoff(0.05, 60.0))


UPSTREAM_PACE = UpstreamPace(repeating=Backoff(0.01, 20.0, 3.0), probing=Backoff(0.1, 30.0), hold_seconds=0.2)


@pytest.fixture
async def running(connect_store: Callable[..., Awaitable[Store]], tmp_path: Path) -> AsyncIterator[Running]:
    instance = uuid4()
    async with running_service(connect_store, instance, tmp_path, pace=PACE, upstream_pace=UPSTREAM_PACE) as running:
        yield running


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
    statuses, probes = list[OperationStatus](), running.double.calls["info"]

    async def has_gone_on_for_long() -> bool:
        statuses.append((await running.service.status_by_id(CALLER, row.id)).status)
        probed = running.double.calls["info"] - probes
        return probed >= 3 and statuses.count(OperationStatus.EXECUTION_ERROR) > 5

    await eventually(has_gone_on_for_long, pause=0.05)
    assert OperationStatus.EXECUTION_FAILED not in statuses
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
    assert len(double.sent) == 10  # only the digests that were not signed yet
    for content, result in zip(CONTENTS, results, strict=True):
        await check(running, content, b"".join(result.segments))
    with pytest.raises(ReferenceTaken):
        await running.submit("again", CONTENTS)
    assert len(list(running.folder.glob("*.spill"))) == 1


async def test_a_failed_request_that_comes_again_twice(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is still compared with the stored documents after the first one was signed. It must not change anything."""
    running.double.fault = lambda path, number: "429 0" if path == "signHash" else ""
    row, _ = await running.finished((await running.submit("twice", CONTENTS)).id)
    assert row.status is OperationStatus.EXECUTION_FAILED
    running.double.fault = lambda path, number: ""
    compare, compared, signed = lost_documents.unsigned_documents, threading.Event(), threading.Event()

    def compare_slowly(*arguments: Any) -> Any:
        failed = compare(*arguments)
        if not compared.is_set():
            compared.set()
            assert signed.wait(120)
        return failed

    monkeypatch.setattr(resubmission, "unsigned_documents", compare_slowly)
    slow = asyncio.create_task(running.submit("twice", CONTENTS))
    assert await asyncio.to_thread(compared.wait, 120)
    assert (await running.submit("twice", CONTENTS)).id == row.id
    await running.finished(row.id)
    signed.set()
    with pytest.raises(ReferenceTaken):
        await slow
    row, results = await running.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    for content, result in zip(CONTENTS, results, strict=True):
        await check(running, content, b"".join(result.segments))


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
