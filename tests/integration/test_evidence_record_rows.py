"""The rows of evidence records: who may write and see them, how long they stay, and what makes them anew."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from harness.waiting import eventually
from tests.integration.test_upstream_timestamps import Connect
from tests.support.evidence_records import verify
from tests.support.parts import QUICK_RECORDING
from tests.support.recorded import INSTANCE, PDFS, authority_of, entry, judge, running
from tests.support.upstream import CONTENTS

from batchseal.audit.chain import Event
from batchseal.operation import OperationStatus
from batchseal.signer.recording import Recording
from batchseal.store.columns import day_of
from batchseal.store.evidence_records import ClaimedRecord, EvidenceTable, RecordState
from batchseal.store.upkeep import Upkeep
from batchseal.system.backoff import Backoff

PDFS_MORE = [entry(number, content) for number, content in enumerate(CONTENTS[5:10], 5)]


async def test_only_the_last_who_claimed_a_record_can_write_it(connect_store: Connect, tmp_path: Path) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "503"
    slow = replace(QUICK_RECORDING, between_tries=Backoff(3600.0, 3600.0))
    async with (
        authority.serve() as address,
        running(connect_store, tmp_path / "s", authority, address, pace=slow) as house,
    ):
        row, _ = await house.finished((await house.submit("fenced", PDFS)).id)
        await eventually(lambda: house.parts.recording.numbers()["batchseal_evidence_records_late"] == 1)
    # The signer has ended, so that it claims nothing in between.
    table = EvidenceTable((await connect_store(INSTANCE)).database, INSTANCE)
    assert await table.take_back() == 1
    (first,) = await table.claim(5, 60.0)
    assert first.operation.id == row.id and first.ordinals == tuple(range(5)) and len(first.digests) == 5 * 32
    assert await table.claim(5, 60.0) == []
    assert await table.take_back() == 1
    assert await table.claim(5, 60.0, at_work=[row.id]) == []
    (second,) = await table.claim(5, 60.0)
    assert not await table.end(first, RecordState.MADE, b"token", b"", Event.RECORDED)
    assert not await table.postpone(first, 1.0) and not await table.keep_digests(first, [], b"")
    assert await table.to_make() == 1
    assert await table.end(second, RecordState.GIVEN_UP, b"", b"", Event.RECORD_GIVEN_UP)
    assert not await table.end(second, RecordState.MADE, b"token", b"", Event.RECORDED)
    assert await table.to_make() == 0
    other = EvidenceTable((await connect_store(uuid4())).database, uuid4())
    assert await other.claim(5, 60.0) == []


async def test_a_claim_lasts_for_as_long_as_the_record_is_made(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another instance that reads the payload begins anew, then this one again, and no record is made that takes longer."""
    begun, go_on, digests = asyncio.Event(), asyncio.Event(), Recording.digests

    async def slowly(self: Recording, claimed: ClaimedRecord) -> dict[int, bytes]:
        begun.set()
        await go_on.wait()
        return await digests(self, claimed)

    async def lasts_until() -> datetime:
        until: datetime = await sees_all_rows.fetchval("SELECT next_try_at FROM evidence_records")
        return until

    monkeypatch.setattr(Recording, "digests", slowly)
    authority, _ = authority_of(tmp_path)
    short = replace(QUICK_RECORDING, claim_seconds=1.0)
    async with (
        authority.serve() as address,
        running(connect_store, tmp_path / "s", authority, address, pace=short) as house,
    ):
        row, _ = await house.finished((await house.submit("long", PDFS)).id)
        async with asyncio.timeout(120):
            await begun.wait()
        first = await lasts_until()

        async def is_renewed() -> bool:
            return await lasts_until() > first

        await eventually(is_renewed)
        go_on.set()
        assert (await house.recorded(row)).of(0) is not None


async def test_callers_wait_for_a_next_try_and_not_for_a_claim(connect_store: Connect, tmp_path: Path) -> None:
    """A record that is being made may be there within a second, however long its claim would last."""
    authority, _ = authority_of(tmp_path)
    nobody = replace(QUICK_RECORDING, records=0)
    async with (
        authority.serve() as address,
        running(connect_store, tmp_path / "s", authority, address, pace=nobody) as house,
    ):
        row, _ = await house.finished((await house.submit("waited for", PDFS)).id)
        table = EvidenceTable((await connect_store(INSTANCE)).database, INSTANCE)

        async def due() -> float:
            found = await table.state(row.id, row.created_at, caller=row.client_service)
            assert found is not None and found.state is RecordState.TO_MAKE
            return found.due_seconds

        assert await due() == 0.0
        (claimed,) = await table.claim(5, 300.0)
        assert await due() == 0.0
        assert await table.postpone(claimed, 4000.0)
        assert 3000.0 < await due() <= 4000.0


async def test_no_caller_sees_the_record_of_another(connect_store: Connect, tmp_path: Path) -> None:
    authority, _ = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, _ = await house.finished((await house.submit("mine", PDFS)).id)
        await house.recorded(row)
        limited = EvidenceTable((await connect_store(INSTANCE, everything=False)).database, INSTANCE)
        assert await limited.whole(row.id, row.created_at, caller="somebody else") is None
        found = await limited.whole(row.id, row.created_at, caller=row.client_service)
        assert found is not None and found.state is RecordState.MADE and len(found.ordinals) == 5


async def test_the_trail_has_the_root_of_the_tree(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection
) -> None:
    authority, _ = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("told", PDFS)).id)
        record = (await house.recorded(row)).of(3)
        imprint = verify(record or b"", documents[3]).info["message_imprint"]["hashed_message"].native
        query = "SELECT digest FROM audit_pending WHERE operation_id = $1 AND event = $2"
        assert await sees_all_rows.fetchval(query, row.id, Event.RECORDED) == imprint


async def test_a_payload_stays_until_its_record_is_made(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection
) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "503"
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, _ = await house.finished((await house.submit("kept", PDFS)).id)
        await house.parts.store.mark_fetched(row.client_service, [row.id])
        await sees_all_rows.execute("DELETE FROM audit_pending")  # as where its end has entered the chain
        upkeep = Upkeep(house.parts.store.database, INSTANCE)
        assert await upkeep.purgeable(0, 0) == {} and await upkeep.purgeable_for_room("A") == {}
        authority.fault = ""
        await house.recorded(row)
        # A result that is fetched at that moment is kept for an hour, and so is the record.
        assert await upkeep.purgeable(3600, 0) == {}
        assert (await upkeep.purgeable(0, 0)).keys() == {row.id} == (await upkeep.purgeable_for_room("A")).keys()
        assert (await upkeep.mark_purged([row.id])).keys() == {row.id}
        # The record goes with the partition of its day, as signatures do.
        assert await sees_all_rows.fetchval("SELECT count(*) FROM evidence_records") == 1
        await sees_all_rows.execute("UPDATE operations SET created_at = created_at - interval '2 days'")
        day, gone = day_of(row.created_at), "SELECT to_regclass($1) IS NULL"
        assert not await sees_all_rows.fetchval(gone, f"batchseal.evidence_records_{day:%Y_%m_%d}")
        past = day - timedelta(days=2)
        await sees_all_rows.execute("SELECT make_signatures_partition($1)", past)
        assert not await sees_all_rows.fetchval(gone, f"batchseal.evidence_records_{past:%Y_%m_%d}")
        assert await sees_all_rows.fetchval("SELECT drop_signatures($1)", past)
        assert await sees_all_rows.fetchval(gone, f"batchseal.evidence_records_{past:%Y_%m_%d}")


async def test_documents_that_are_handed_in_again_are_in_a_new_record(connect_store: Connect, tmp_path: Path) -> None:
    authority, _ = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        calls = 0

        def fault(path: str, number: int) -> str:
            nonlocal calls
            calls += path == "signHash"
            return "400" if path == "signHash" and calls > 1 else ""

        house.double.fault = fault
        row, documents = await house.finished((await house.submit("twice", [*PDFS, *PDFS_MORE])).id)
        assert row.status is OperationStatus.EXECUTION_FAILED and 0 < len(documents) < len([*PDFS, *PDFS_MORE])
        first = await house.recorded(row)
        assert [first.of(ordinal) is not None for ordinal in range(10)] == [n in documents for n in range(10)]
        house.double.fault = lambda path, number: ""
        row, documents = await house.finished((await house.submit("twice", [*PDFS, *PDFS_MORE])).id)
        assert row.status is OperationStatus.EXECUTED and len(documents) == 10
        await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)
        assert authority.calls == 2
