"""Evidence records through the real parts: one time stamp for an operation, whatever happens to its authority and its signer."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from asn1crypto import pem
from harness.misbehaving import Misbehaving, service
from harness.validators import judging
from harness.validators.ers import bouncy_castle_judges
from tests.integration.test_upstream_timestamps import SHORT, Connect, Stamping
from tests.support.evidence_records import verify
from tests.support.parts import QUICK_RECORDING, Parts, running_parts
from tests.support.upstream import CALLER, CONTENTS
from tests.support.waiting import eventually
from tests.support.xml_documents import INVOICE

from batchseal.audit.chain import Event
from batchseal.errors import NotConfigured, NotFound, RecordGivenUp, RecordPending
from batchseal.operation import Mode, OperationStatus
from batchseal.signature import NO_DEFAULTS, SignatureDefaults
from batchseal.signer.queue import Pace
from batchseal.signer.recording import RecordingPace
from batchseal.store import OperationRow
from batchseal.store.columns import day_of
from batchseal.store.evidence_records import EvidenceTable, RecordState
from batchseal.store.upkeep import Upkeep
from batchseal.system.backoff import Backoff
from batchseal.worker.evidence import OperationRecords

INSTANCE = UUID(int=7)
QUICK = Pace(look_seconds=0.1, between_tries=Backoff(0.02, 0.1))
ALL_ROWS = {"batchseal.scope": "*", "search_path": "batchseal"}
FILE = bytes(range(256)) * 30_000  # larger than a batch of documents that are sent


def entry(number: int, content: bytes, kind: str = "PAdES", **changes: Any) -> dict[str, Any]:
    media_type = {"PAdES": "application/pdf", "XAdES": "text/xml", "CAdES": "application/octet-stream"}[kind]
    request = {"externalReference": f"d{number}", "name": f"{number}", "contentType": media_type}
    request["base64Content"] = base64.b64encode(content).decode()
    return {"documentRequest": request, "signatureInfo": {"signatureType": kind, **changes}}


PDFS = [entry(number, content) for number, content in enumerate(CONTENTS[:5])]
XML = INVOICE.encode()
OF_ALL_KINDS = [
    entry(0, CONTENTS[0]),
    entry(1, CONTENTS[1], reason="Approved"),
    entry(2, XML, "XAdES"),
    entry(3, XML, "XAdES", advancedSignatureInfo={"signatureLocation": "ext:ExtensionContent"}),
    entry(4, FILE, "CAdES"),
    entry(5, b"a file", "CAdES", signaturePackaging="DETACHED"),
    entry(6, b"%PDF-1.7\nnot a PDF at all"),
    entry(7, CONTENTS[1], reason="Approved"),
]


@dataclass
class Running:
    parts: Parts
    double: Misbehaving

    async def submit(
        self, reference: str, documents: list[dict[str, Any]], mode: Mode = Mode.ASYNC, *, evidence_record: bool = True
    ) -> OperationRow:
        data = json.dumps({"externalReference": reference, "description": "d", "documents": documents}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        options: dict[str, Any] = {"form": "json", "media_type": "application/json", "body_bytes": len(data)}
        receive = self.parts.service.receive
        return await receive(CALLER, mode, chunks=chunks(), evidence_record=evidence_record, **options)

    async def finished(self, operation_id: int) -> tuple[OperationRow, dict[int, bytes]]:
        """The row, and the signed documents by ordinal."""
        assert await self.parts.service.wait(operation_id, 30)
        row, rows = await self.parts.service.finished_operation(CALLER, operation_id=operation_id)
        found = {}
        async for one in self.parts.service.deliver(row, rows, encoding="raw"):
            if one.total_bytes:
                found[one.row.ordinal] = b"".join([piece async for piece in one.pieces()])
        return row, found

    async def recorded(self, row: OperationRow) -> OperationRecords:
        """Its records, once they are made."""
        made: list[OperationRecords] = []

        async def is_made() -> bool:
            try:
                made.append(await self.parts.service.evidence_records(row))
            except RecordPending:
                return False
            return True

        await eventually(is_made, 20)
        return made[0]


@asynccontextmanager
async def running(
    connect_store: Connect,
    folder: Path,
    authority: Stamping | None,
    address: str,
    *,
    instance: UUID = INSTANCE,
    defaults: SignatureDefaults = NO_DEFAULTS,
    pace: RecordingPace = QUICK_RECORDING,
) -> AsyncIterator[Running]:
    double = Misbehaving(multisign=5)
    stamps = {"timestamp_urls": address, "timestamp_roots": authority.roots} if authority else {}
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with (
        service(folder, double, upstream_pace=SHORT, **stamps) as upstream,
        running_parts(
            connect_store,
            upstream,
            folder,
            instance=instance,
            pace=QUICK,
            recording_pace=pace,
            signature_defaults=lambda client_service: defaults,
        ) as parts,
    ):
        yield Running(parts, double)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    url = database_url.replace("//batchseal@", "//batchseal_owner@")
    connection = await asyncpg.connect(url, server_settings=ALL_ROWS)
    yield connection
    await connection.close()


def authority_of(tmp_path: Path) -> tuple[Stamping, bytes]:
    """An authority, and the root that it leads to."""
    authority = Stamping(tmp_path)
    return authority, pem.unarmor(Path(authority.roots).read_bytes())[2]


def judge(records: OperationRecords, documents: dict[int, bytes], folder: Path) -> None:
    """Every document has a record, which the tests' verifier and Bouncy Castle take."""
    pairs, tokens = [], set()
    for ordinal, document in documents.items():
        record = records.of(ordinal)
        assert record is not None, ordinal
        tokens.add(verify(record, document).token)
        pairs.append((folder / f"{ordinal}.ers", folder / f"{ordinal}"))
        pairs[-1][0].write_bytes(record)
        pairs[-1][1].write_bytes(document)
    assert len(tokens) == 1
    with judging():
        assert all(one.is_about and one.is_stamped for one in bouncy_castle_judges(pairs))


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
        await eventually(lambda: recording.numbers()["batchseal_evidence_records_late"] == 1, 20)
        assert any("wait for a time stamp" in remark for remark in recording.remarks())
        authority.fault = ""
        await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)
        assert recording.numbers()["batchseal_evidence_records_late"] == 0 and recording.remarks() == []


async def test_a_record_is_given_up_in_time_with_an_alarm(
    connect_store: Connect, tmp_path: Path, owner: asyncpg.Connection
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
        await eventually(lambda: recording.numbers()["batchseal_evidence_records_given_up_total"] == 1, 20)
        with pytest.raises(RecordGivenUp):
            await house.parts.service.evidence_records(row)
        assert recording.remarks() == [f"1 evidence records were given up, the last of operation {row.id}"]
        # For operators: through the link, as `/health/ready` and `/metrics` show it.
        state = await house.parts.queue.upstream_state()
        assert state["numbers"]["batchseal_evidence_records_given_up_total"] == 1
        assert any("given up" in remark for remark in state["remarks"])
        events = await owner.fetch("SELECT event FROM audit_pending WHERE operation_id = $1 ORDER BY id", row.id)
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
            await eventually(lambda: house.parts.recording.numbers()["batchseal_evidence_records_late"] == 1, 20)
        authority.fault, authority.calls = "", 0
        async with running(connect_store, tmp_path / "s", authority, address) as house:
            await asyncio.to_thread(judge, await house.recorded(row), documents, tmp_path)
        assert authority.calls == 1


# --- the rows ---------------------------------------------------------------------------------------------------------------


async def test_only_the_last_who_claimed_a_record_can_write_it(connect_store: Connect, tmp_path: Path) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "503"
    slow = replace(QUICK_RECORDING, between_tries=Backoff(3600.0, 3600.0))
    async with (
        authority.serve() as address,
        running(connect_store, tmp_path / "s", authority, address, pace=slow) as house,
    ):
        row, _ = await house.finished((await house.submit("fenced", PDFS)).id)
        await eventually(lambda: house.parts.recording.numbers()["batchseal_evidence_records_late"] == 1, 20)
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
    connect_store: Connect, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    authority, _ = authority_of(tmp_path)
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, documents = await house.finished((await house.submit("told", PDFS)).id)
        record = (await house.recorded(row)).of(3)
        imprint = verify(record or b"", documents[3]).info["message_imprint"]["hashed_message"].native
        query = "SELECT digest FROM audit_pending WHERE operation_id = $1 AND event = $2"
        assert await owner.fetchval(query, row.id, Event.RECORDED) == imprint


async def test_a_payload_stays_until_its_record_is_made(
    connect_store: Connect, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    authority, _ = authority_of(tmp_path)
    authority.fault = "503"
    async with authority.serve() as address, running(connect_store, tmp_path / "s", authority, address) as house:
        row, _ = await house.finished((await house.submit("kept", PDFS)).id)
        await house.parts.store.mark_fetched(row.client_service, [row.id])
        upkeep = Upkeep(house.parts.store.database, INSTANCE)
        assert await upkeep.purgeable(0, 0) == {} and await upkeep.purgeable_for_room("A") == {}
        authority.fault = ""
        await house.recorded(row)
        # A result that is fetched at that moment is kept for an hour, and so is the record.
        assert await upkeep.purgeable(3600, 0) == {}
        assert (await upkeep.purgeable(0, 0)).keys() == {row.id} == (await upkeep.purgeable_for_room("A")).keys()
        assert (await upkeep.mark_purged([row.id])).keys() == {row.id}
        # The record goes with the partition of its day, as signatures do.
        assert await owner.fetchval("SELECT count(*) FROM evidence_records") == 1
        await owner.execute("UPDATE operations SET created_at = created_at - interval '2 days'")
        day, gone = day_of(row.created_at), "SELECT to_regclass($1) IS NULL"
        assert not await owner.fetchval(gone, f"batchseal.evidence_records_{day:%Y_%m_%d}")
        past = (await owner.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - 2")).strftime("%Y_%m_%d")
        await owner.execute("SELECT make_signatures_partition((now() AT TIME ZONE 'UTC')::date - 2)")
        assert not await owner.fetchval(gone, f"batchseal.evidence_records_{past}")
        assert await owner.fetchval("SELECT drop_signatures((now() AT TIME ZONE 'UTC')::date - 2)")
        assert await owner.fetchval(gone, f"batchseal.evidence_records_{past}")


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


PDFS_MORE = [entry(number, content) for number, content in enumerate(CONTENTS[5:10], 5)]
