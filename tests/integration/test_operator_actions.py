"""Operators act while a real signer works: nothing is signed twice, nothing is lost, and the trail tells who asked."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.invoices import invoice
from harness.misbehaving import Misbehaving
from harness.validators import pyhanko_verify
from harness.waiting import eventually
from tests.support.operators import WHO, chained, operators
from tests.support.parts import Connect
from tests.support.upstream import CALLER, Running, running_service

from batchseal.audit.chain import Verifier, as_line
from batchseal.operation import DocumentStatus, OperationStatus
from batchseal.signer.pace import Pace
from batchseal.store.operator import OperationFilter
from batchseal.store.trail import AuditTrail
from batchseal.system.backoff import Backoff

INSTANCE = UUID(int=11)
PACE = Pace(between_tries=Backoff(0.05, 0.2), look_seconds=0.05)
CONTENTS = [invoice(n, size_bytes=3_000) for n in range(500)]


@asynccontextmanager
async def running_with(connect_store: Connect, folder: Path, double: Any) -> AsyncIterator[Running]:
    async with running_service(connect_store, INSTANCE, folder, double, pace=PACE) as running:
        yield running


async def status(running: Running, operation_id: int) -> OperationStatus:
    found: OperationStatus = (await running.service.status_by_id(CALLER, operation_id)).status
    return found


async def test_500_failed_documents_are_signed_after_the_repair(
    connect_store: Connect, database_url: str, tmp_path: Path
) -> None:
    double = Misbehaving(multisign=100)
    double.fault = lambda path, number: "quota" if path == "signHash" else ""
    async with running_with(connect_store, tmp_path, double) as running, operators(database_url) as operator:
        row = await running.submit("all of it", CONTENTS)
        await eventually(lambda: _is(running, row.id, OperationStatus.EXECUTION_FAILED))
        (group,) = (await operator.failures()).groups
        assert (group.documents, group.operations) == (500, (row.id,))
        assert "quota" in group.cause
        double.fault = lambda path, number: ""
        double.sent.clear()
        (some,) = [one async for one in operator.retry_all(WHO, OperationFilter(has_failures=True))]
        assert [(one.operation_id, one.result, one.documents) for one in some] == [(row.id, "done", 500)]
        await eventually(lambda: _is(running, row.id, OperationStatus.EXECUTED))
        ended, results = await running.finished(row.id, 60)
        assert (ended.status, ended.documents_signed) == (OperationStatus.EXECUTED, 500)
        assert len(double.sent) == 500 and set(double.sent.values()) == {1}, "a digest was signed twice"
        for number in (0, 250, 499):
            signed = b"".join(results[number].segments)
            assert signed.startswith(CONTENTS[number])
            (tmp_path / "signed.pdf").write_bytes(signed)
            (verdict,) = await asyncio.to_thread(pyhanko_verify, tmp_path / "signed.pdf", double.certificate)
            assert verdict.valid
        detail = await operator.operation(row.id)
        assert detail is not None
        told = [(event.name, event.actor, event.origin, event.failed) for event in detail.events]
        assert told[1:4] == [
            ("FINISHED", "", "", 500),
            ("RETRIED", WHO.name, WHO.origin, 500),
            ("FINISHED", "", "", 0),
        ]
        # What an auditor has: the chain, whose links are about who asked too.
        trail, verifier = AuditTrail(running.parts.store.database, INSTANCE), Verifier()
        await chained(trail)
        entries = [entry async for entry in trail.read()]
        for entry in entries:
            verifier.take(entry)
        assert verifier.problems == []
        asked = [json.loads(as_line(entry)) for entry in entries if entry.actor]
        assert [(one["event"], one["operation"], one["failed"], one["actor"], one["origin"]) for one in asked] == [
            ("RETRIED", row.id, 500, WHO.name, WHO.origin)
        ]
        (retried,) = [entry for entry in entries if entry.actor]
        forged = Verifier(retried.position - 1, entries[retried.position - 2].link)
        forged.take(replace(retried, actor="somebody else"))
        assert forged.problems, "the chain does not notice another name"


async def _is(running: Running, operation_id: int, wanted: OperationStatus) -> bool:
    return await status(running, operation_id) is wanted


async def test_cancel_while_a_call_is_under_way(connect_store: Connect, database_url: str, tmp_path: Path) -> None:
    """The signer gives up, and what comes back late is not written. Handed in again, the operation goes on."""
    double, may_sign = Misbehaving(multisign=5), asyncio.Event()
    double.may_sign = may_sign
    async with running_with(connect_store, tmp_path, double) as running, operators(database_url) as operator:
        row = await running.submit("cancelled", CONTENTS[:10])
        await eventually(lambda: double.calls.get("signHash"))
        (done,) = await operator.cancel(WHO, [row.id])
        assert (done.result, done.documents) == ("done", 10)
        await eventually(lambda: _is(running, row.id, OperationStatus.EXECUTION_FAILED))
        documents = await running.parts.store.documents(row.id, row.created_at)
        assert {one.status for one in documents} == {DocumentStatus.ERROR_SIGNING}
        assert {one.cause for one in documents} == {"cancelled by an operator"}
        may_sign.set()
        again = await running.submit("cancelled", CONTENTS[:10])
        assert again.id == row.id
        ended, results = await running.finished(row.id)
        assert ended.status is OperationStatus.EXECUTED
        assert len(results) == 10


async def test_cancel_and_retry_race_a_signer(connect_store: Connect, database_url: str, tmp_path: Path) -> None:
    """Operators click while documents are signed. In the end each operation is whole: all of its documents are signed."""
    double = Misbehaving(multisign=5)
    double.latency = 0.02
    async with running_with(connect_store, tmp_path, double) as running, operators(database_url) as operator:
        rows = [await running.submit(f"race {n}", CONTENTS[n * 10 : n * 10 + 10]) for n in range(6)]
        ids = [row.id for row in rows]
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            await operator.cancel(WHO, ids)
            await operator.retry(WHO, ids)
            await asyncio.sleep(0)
        await operator.retry(WHO, ids)
        for row in rows:
            await eventually(lambda row=row: _is(running, row.id, OperationStatus.EXECUTED))  # type: ignore[misc]
            ended, results = await running.finished(row.id, 60)
            assert ended.status is OperationStatus.EXECUTED
            assert len(results) == 10
        for row in rows:
            documents = await running.parts.store.documents(row.id, row.created_at)
            assert {one.status for one in documents} == {DocumentStatus.SIGNED}


async def test_a_document_that_was_refused_on_arrival_is_refused_again_for_the_same_reason(
    connect_store: Connect, database_url: str, tmp_path: Path
) -> None:
    double = Misbehaving(multisign=5)
    async with running_with(connect_store, tmp_path, double) as running, operators(database_url) as operator:
        row = await running.submit("half bad", [CONTENTS[0], b"no PDF at all"])
        await eventually(lambda: _is(running, row.id, OperationStatus.EXECUTION_FAILED))
        before = await running.parts.store.documents(row.id, row.created_at)
        double.sent.clear()
        (done,) = await operator.retry(WHO, [row.id], everything=True)
        assert (done.result, done.documents) == ("done", 1)
        await eventually(lambda: _is(running, row.id, OperationStatus.EXECUTION_FAILED))
        assert await running.parts.store.documents(row.id, row.created_at) == before
        assert not double.sent, "the signed document was signed again"


@pytest.mark.parametrize("documents", [1, 12])
async def test_what_calls_an_operation_was_in(
    connect_store: Connect, database_url: str, tmp_path: Path, documents: int
) -> None:
    """The page of an operation tells its calls; those of a small operation only where they failed."""
    double = Misbehaving(multisign=5)
    double.fault = lambda path, number: "quota" if path == "signHash" and number > -(-documents // 5) else ""
    async with running_with(connect_store, tmp_path, double) as running, operators(database_url) as operator:
        row = await running.submit("calls", CONTENTS[:documents])
        await running.finished(row.id)
        refused = await running.submit("refused", [CONTENTS[20]])
        await eventually(lambda: _is(running, refused.id, OperationStatus.EXECUTION_FAILED))
        expected = documents if documents >= 10 else 0

        async def told() -> bool:
            """The call that failed comes last, so what came before it is there too."""
            details = [await operator.operation(one.id) for one in (row, refused)]
            assert details[0] is not None and details[1] is not None
            signed = sum(call.digests for call in details[0].calls if call.outcome == "signed")
            return signed == expected and [call.digests for call in details[1].calls] == [1]

        await eventually(told)
