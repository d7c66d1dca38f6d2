"""Evidence records through the real parts: one time stamp for an operation, whatever happens to its authority and its signer."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from harness.waiting import eventually
from tests.integration.test_upstream_timestamps import Connect
from tests.support.evidence_records import verify
from tests.support.parts import QUICK_RECORDING
from tests.support.recorded import OF_ALL_KINDS, PDFS, authority_of, judge, running

from batchseal.audit.chain import Event
from batchseal.errors import NotConfigured, NotFound, RecordGivenUp, RecordPending
from batchseal.operation import Mode, OperationStatus
from batchseal.signature import SignatureDefaults
from batchseal.system.backoff import Backoff


async def test_every_signed_document_has_a_record_and_one_time_stamp_was_spent(
    connect_store: Connect, tmp_path: Path
) -> None:
    authority, root = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("all kinds", OF_ALL_KINDS)).id)
        assert row.status is OperationStatus.EXECUTION_FAILED and documents.keys() == {0, 1, 2, 3, 4, 5, 7}
        records = await house.recorded(row)
        assert records.of(6) is None and records.of(8) is None
        await asyncio.to_thread(judge, records, documents, tmp_path)
        for ordinal, document in documents.items():
            found = verify(records.of(ordinal) or b"", document, root)
            assert found.info["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha256"
        assert authority.calls == 1
        numbers = house.parts.recording.numbers()
        assert numbers["batchseal_evidence_records_made_total"] == 1
        assert numbers["batchseal_evidence_records_late"] == 0


@pytest.mark.parametrize("mode", [Mode.ASYNC, Mode.SYNC])
async def test_a_single_document_is_stamped_itself(connect_store: Connect, tmp_path: Path, mode: Mode) -> None:
    authority, root = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("one", PDFS[:1], mode)).id)
        records = await house.recorded(row)
        found = verify(records.of(0) or b"", documents[0], root)
        assert found.lists == []
        assert found.info["message_imprint"]["hashed_message"].native == hashlib.sha256(documents[0]).digest()
        await asyncio.to_thread(judge, records, documents, tmp_path)


async def test_documents_that_the_signer_prepares_have_records_too(
    connect_store: Connect, tmp_path: Path, unknown_to_the_worker: None
) -> None:
    authority, _ = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("late", OF_ALL_KINDS[:6])).id)
        assert len(documents) == 6 and len(row.further_payloads) == 1
        await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)


async def test_nothing_is_recorded_unless_it_is_asked_for(connect_store: Connect, tmp_path: Path) -> None:
    authority, _ = authority_of(tmp_path)
    configured = SignatureDefaults(evidence_record=True)
    async with authority.serve() as address:
        async with running(connect_store, tmp_path / "s", authority, address) as house:
            row, _ = await house.finished((await house.submit("no", PDFS, evidence_record=False)).id)
            with pytest.raises(NotFound, match="no evidence record was asked for"):
                await house.parts.service.evidence_records(row)
            assert authority.calls == 0
        async with running(connect_store, tmp_path / "s", authority, address, defaults=configured) as house:
            row, documents = await house.finished((await house.submit("yes", PDFS, evidence_record=False)).id)
            await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)
            assert authority.calls == 1


async def test_without_an_authority_the_request_is_refused(connect_store: Connect, tmp_path: Path) -> None:
    async with running(connect_store, tmp_path / "s", None, "") as house:
        with pytest.raises(NotConfigured, match="--timestamp-urls"):
            await house.submit("no", PDFS)
        _, documents = await house.finished((await house.submit("no", PDFS, evidence_record=False)).id)
        assert len(documents) == len(PDFS)


async def test_an_operation_of_which_nothing_was_signed_has_an_empty_record(
    connect_store: Connect, tmp_path: Path
) -> None:
    authority, _ = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("none", OF_ALL_KINDS[6:7])).id)
        assert documents == {}
        assert (await house.recorded(row)).of(0) is None
        assert authority.calls == 0


# --- the authority is away ------------------------------------------------------------------------------------------------


async def test_results_do_not_wait_for_the_authority_and_the_record_follows(
    connect_store: Connect, tmp_path: Path
) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "503"
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("away", PDFS)).id)
        assert row.status is OperationStatus.EXECUTED and len(documents) == len(PDFS)
        with pytest.raises(RecordPending) as pending:
            await house.parts.service.evidence_records(row)
        assert 1 <= (pending.value.retry_after_seconds or 0) <= 60
        recording = house.parts.recording
        await eventually(lambda: recording.numbers()["batchseal_evidence_records_late"] == 1)
        assert any("wait for a time stamp" in remark for remark in recording.remarks())
        authority.fault = ""
        await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)
        assert recording.numbers()["batchseal_evidence_records_late"] == 0 and recording.remarks() == []


async def test_a_record_is_given_up_in_time_with_an_alarm(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection
) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "garbage"
    pace = replace(QUICK_RECORDING, patience_seconds=0.2)
    async with (
        authority.serve() as address,
        running(connect_store, tmp_path / "s", authority, address, pace=pace) as house,
    ):
        row, documents = await house.finished((await house.submit("away", PDFS)).id)
        recording = house.parts.recording
        await eventually(lambda: recording.numbers()["batchseal_evidence_records_given_up_total"] == 1)
        with pytest.raises(RecordGivenUp):
            await house.parts.service.evidence_records(row)
        assert recording.remarks() == [f"1 evidence records were given up, the last of operation {row.id}"]
        # For operators: through the link, as `/health/ready` and `/metrics` show it.
        state = await house.parts.queue.upstream_state()
        assert state["numbers"]["batchseal_evidence_records_given_up_total"] == 1
        assert any("given up" in remark for remark in state["remarks"])
        events = await sees_all_rows.fetch(
            "SELECT event FROM audit_pending WHERE operation_id = $1 ORDER BY id", row.id
        )
        assert [one["event"] for one in events] == [Event.REGISTERED, Event.FINISHED, Event.RECORD_GIVEN_UP]
        authority.fault = ""
        assert len((await house.finished(row.id))[1]) == len(documents)


async def test_a_signer_that_starts_anew_makes_what_the_one_before_it_left(
    connect_store: Connect, tmp_path: Path
) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "503"
    async with authority.serve() as address:
        # The first one would try again in an hour.
        slow = replace(QUICK_RECORDING, between_tries=Backoff(3600.0, 3600.0))
        async with running(connect_store, tmp_path / "s", authority, address, pace=slow) as house:
            row, documents = await house.finished((await house.submit("left", PDFS)).id)
            await eventually(lambda: house.parts.recording.numbers()["batchseal_evidence_records_late"] == 1)
        authority.fault, authority.calls = "", 0
        async with running(connect_store, tmp_path / "s", authority, address) as house:
            await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)
        assert authority.calls == 1
