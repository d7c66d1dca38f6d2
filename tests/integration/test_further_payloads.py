"""What is prepared after the upload goes into a further payload, written once and named in the row. On each payload store."""

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from harness.misbehaving import make_signer
from harness.validators import pyhanko_verify
from harness.waiting import eventually
from tests.conformance.stores import SERVED, STORES, StoreUnderTest
from tests.support.house import CALLER, House, running_house
from tests.support.parts import Connect
from tests.support.upstream import CONTENTS

from batchseal.audit.chain import Event, Verifier, documents_digest
from batchseal.operation import Mode, OperationStatus
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.store import OperationRow
from batchseal.store.rows import AuditEntry

DOCUMENTS = CONTENTS[:4]


@pytest.fixture(params=SERVED)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def house(
    store: StoreUnderTest, connect_store: Connect, database_url: str, tmp_path: Path
) -> AsyncIterator[House]:
    async with running_house(connect_store, database_url, store.payloads, tmp_path) as house:
        yield house


# --- how it comes that something is prepared later ---------------------------------------------------------------------


async def chain_was_away(house: House, store: StoreUnderTest, mode: Mode) -> tuple[OperationRow, bytes]:
    house.double.fault = lambda path, number: "503" if path == "info" else ""
    row = await house.submit("later", DOCUMENTS, mode)
    content = store.content(row.payload_id)
    house.double.fault = lambda path, number: ""
    return row, content


async def certificate_was_renewed(house: House, store: StoreUnderTest, mode: Mode) -> tuple[OperationRow, bytes]:
    await house.finished((await house.submit("the credential is known from now on", CONTENTS[:1])).id)
    house.double.key, house.double.certificate = make_signer()
    row = await house.submit("later", DOCUMENTS, mode)
    return row, store.content(row.payload_id)


async def resubmitted(house: House, store: StoreUnderTest, mode: Mode) -> tuple[OperationRow, bytes]:
    """The certificate is renewed in between."""
    house.double.fault = lambda path, number: "429 0" if path == "signHash" else ""
    row = await house.submit("later", DOCUMENTS, mode)
    content = store.content(row.payload_id)
    failed, _ = await house.finished(row.id)
    assert failed.status is OperationStatus.EXECUTION_FAILED
    house.double.key, house.double.certificate = make_signer()
    house.double.fault = lambda path, number: ""
    assert (await house.submit("later", DOCUMENTS, mode)).id == row.id
    return row, content


async def prepared_anew(house: House, store: StoreUnderTest, mode: Mode) -> tuple[OperationRow, bytes]:
    """What was prepared for one document is damaged."""
    await house.finished((await house.submit("the credential is known from now on", CONTENTS[:1])).id)
    house.double.fault = lambda path, number: "503" if path == "signHash" else ""
    row = await house.submit("later", DOCUMENTS, mode)

    async def postponed() -> bool:
        return (await house.row(row.id)).status is OperationStatus.EXECUTION_ERROR

    await eventually(postponed)
    store.damage(row.payload_id, FrameKind.PREPARED, 2)
    content = store.content(row.payload_id)
    house.double.fault = lambda path, number: ""
    return row, content


REASONS: dict[str, Callable[[House, StoreUnderTest, Mode], Any]] = {
    "chain was away": chain_was_away,
    "certificate was renewed": certificate_was_renewed,
    "resubmission": resubmitted,
    "prepared anew": prepared_anew,
}


# --- what must hold then ---------------------------------------------------------------------------------------------


def message_digest(signed: bytes) -> bytes:
    """SHA-256 over the ByteRange of the last signature (ISO 32000-2 12.8.1)."""
    first, first_bytes, second, second_bytes = map(
        int, re.findall(rb"/ByteRange ?\[ ?(\d+) (\d+) (\d+) (\d+)", signed)[-1]
    )
    return hashlib.sha256(signed[first : first + first_bytes] + signed[second : second + second_bytes]).digest()


async def entries(house: House) -> list[AuditEntry]:
    await house.audit.chain()
    verifier, found = Verifier(), []
    async for entry in house.trail.read():
        verifier.take(entry)
        found.append(entry)
    assert verifier.problems == []
    return found


def ids_of(row: OperationRow) -> list[UUID]:
    return [record.id for record in records_of(row.payloads)]


async def check(house: House, results: list[Any]) -> list[bytes]:
    signed = [b"".join(one.segments) for one in results]
    for original, one in zip(DOCUMENTS, signed, strict=True):
        assert one.startswith(original)
        path = house.parts.folder / "signed.pdf"
        path.write_bytes(one)
        (verdict,) = await asyncio.to_thread(pyhanko_verify, path, house.double.certificate)
        assert verdict.valid
        assert verdict.whole_file
    return signed


@pytest.mark.product
@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC], ids=["async", "sync"])
@pytest.mark.parametrize("reason", REASONS)
async def test_what_is_prepared_later_is_a_further_payload(
    house: House, store: StoreUnderTest, reason: str, mode: Mode
) -> None:
    row, content = await REASONS[reason](house, store, mode)
    row, results = await house.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    # The first payload is as it was, and the row names one more.
    assert store.content(row.payload_id) == content
    first, second = ids_of(row)
    assert first == row.payload_id
    assert {first, second} <= store.ids()
    second_content = store.content(second)
    # Delivery reads both.
    signed = await check(house, results)
    reader = OperationReader(house.payloads, records_of(row.payloads)[1:])
    anew = reader.ordinals(FrameKind.PREPARED)
    assert anew == ({2} if reason == "prepared anew" else {0, 1, 2, 3})
    credential = await house.upstream.credential(CALLER)
    assert all(records.read_prepared(reader, n).fingerprint == credential.fingerprint for n in anew)
    assert reader.ordinals(FrameKind.DOCUMENT) == set(), "the originals are stored once"
    reader.close()
    # The audit trail tells of what was signed.
    ended = [one for one in await entries(house) if one.operation_id == row.id and one.event == Event.FINISHED][-1]
    assert (ended.signed, ended.failed) == (4, 0)
    assert ended.digest == documents_digest(map(message_digest, signed))
    assert ended.credential == credential.fingerprint
    # A sweep leaves both, nothing of another try lies there, and both are as they were.
    others = {other for other in store.ids() if other not in (first, second)}
    assert len(others) == (reason in ("certificate was renewed", "prepared anew"))  # the operation before
    await house.parts.sweeping.sweep()
    assert store.ids() == {first, second} | others
    assert (store.content(first), store.content(second)) == (content, second_content)
    # A purge takes both.
    await house.owner.execute("UPDATE operations SET fetched_at = now() - interval '2 days' WHERE id = $1", row.id)
    await house.audit.chain()
    await house.purging.purge_due(86_400, 7 * 86_400)
    assert store.ids() == others


async def test_documents_are_not_read_once_more_for_each_batch_that_is_prepared(
    house: House, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ordinals` reads whatever it tells of. For documents that would be the whole payload, a hundred times for 2,500 of them."""
    asked, ordinals = Counter[FrameKind](), OperationReader.ordinals

    def noted(reader: OperationReader, kind: FrameKind) -> set[int]:
        asked[kind] += 1
        return ordinals(reader, kind)

    monkeypatch.setattr(OperationReader, "ordinals", noted)
    row, _ = await chain_was_away(house, store, Mode.ASYNC)
    row, results = await house.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    await check(house, results)
    assert asked[FrameKind.PREPARED] > 0
    assert asked[FrameKind.DOCUMENT] == 0


@pytest.mark.parametrize("reason", ["chain was away", "certificate was renewed"])
async def test_a_run_that_lost_its_lease_leaves_no_payload(
    house: House, store: StoreUnderTest, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the commit of the further payload and its name in the row somebody else took the operation over."""
    add_payload, lost = house.parts.store.add_payload, list[int]()

    async def after_a_takeover(operation_id: int, *arguments: Any) -> bool:
        if not lost:
            lost.append(operation_id)
            await house.owner.execute(
                "UPDATE operations SET fence = fence + 1, lease_until = now() WHERE id = $1", operation_id
            )
        return await add_payload(operation_id, *arguments)

    monkeypatch.setattr(house.parts.store, "add_payload", after_a_takeover)
    row, content = await REASONS[reason](house, store, Mode.ASYNC)
    row, results = await house.finished(row.id)
    assert lost == [row.id]
    assert row.status is OperationStatus.EXECUTED
    await check(house, results)
    assert store.content(row.payload_id) == content
    assert len(ids_of(row)) == 2
    # No row named what the first run wrote, so that run deleted it.
    named = {UUID(bytes=one["id"].bytes) for one in await house.owner.fetch("SELECT payload_id AS id FROM operations")}
    assert store.ids() == named | set(ids_of(row))


async def test_an_operation_with_two_certificates_names_both_in_the_audit_trail(
    house: House, store: StoreUnderTest
) -> None:
    """Half of it was signed when the certificate was renewed."""
    house.double.multisign = 2
    before = await house.upstream.credential(CALLER)

    def renew_before_the_second_call(path: str, number: int) -> str:
        if path == "signHash" and number == 2:
            house.double.key, house.double.certificate = make_signer()
        return ""

    house.double.fault = renew_before_the_second_call
    row = await house.submit("two", DOCUMENTS)
    row, results = await house.finished(row.id)
    assert row.status is OperationStatus.EXECUTED
    signed = [b"".join(one.segments) for one in results]
    after = await house.upstream.credential(CALLER)
    assert before.fingerprint != after.fingerprint
    ended = next(one for one in await entries(house) if one.event == Event.FINISHED)
    assert ended.digest == documents_digest(map(message_digest, signed))
    assert ended.credential == hashlib.sha256(b"".join(sorted([before.fingerprint, after.fingerprint]))).digest()
    assert len(ids_of(row)) == 2


async def test_a_signature_counts_for_what_was_signed_and_not_for_what_was_prepared_since(
    house: House, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document is signed, then what was prepared for it turns out to be damaged, and the next run loses its lease."""
    house.double.multisign = 2
    await house.finished((await house.submit("the credential is known from now on", CONTENTS[:1])).id)
    postpone = house.parts.store.postpone

    async def until_the_next_second(operation_id: int, fence: int, _: float) -> bool:
        """What is prepared then has another signing time, and so another digest."""
        return await postpone(operation_id, fence, 1.5)

    monkeypatch.setattr(house.parts.store, "postpone", until_the_next_second)
    house.double.fault = lambda path, number: "503" if path == "signHash" and number > 2 else ""
    row = await house.submit("half", DOCUMENTS)

    async def postponed() -> bool:
        return (await house.row(row.id)).status is OperationStatus.EXECUTION_ERROR

    await eventually(postponed)
    # So does a document of level T stand between its signature and its time stamp.
    await house.owner.execute("UPDATE documents SET status = 1 WHERE operation_id = $1", row.id)
    await house.owner.execute("UPDATE operations SET documents_signed = 0 WHERE id = $1", row.id)
    signed = "SELECT min(ordinal) FROM signatures WHERE operation_id = $1 AND signature <> ''"
    store.damage(row.payload_id, FrameKind.PREPARED, await house.owner.fetchval(signed, row.id))
    add_payload, lost = house.parts.store.add_payload, list[int]()

    async def before_a_takeover(operation_id: int, *arguments: Any) -> bool:
        named = await add_payload(operation_id, *arguments)
        if not lost:
            lost.append(operation_id)
            takeover = "UPDATE operations SET fence = fence + 1, lease_until = now() WHERE id = $1"
            await house.owner.execute(takeover, operation_id)
        return named

    monkeypatch.setattr(house.parts.store, "add_payload", before_a_takeover)
    house.double.fault = lambda path, number: ""
    row, results = await house.finished(row.id)
    assert lost == [row.id]
    assert row.status is OperationStatus.EXECUTED
    await check(house, results)
