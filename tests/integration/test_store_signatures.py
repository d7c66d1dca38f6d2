"""Signatures in the database: under the fence, durable, seen by their caller alone, in partitions that go as a whole."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.house import ALL_ROWS
from tests.support.memory_payloads import MemoryPayloads
from tests.support.parts import Connect

from batchseal.admission.ledger import Ledger
from batchseal.document import DocumentOutcome, Evidence, Refusal
from batchseal.errors import NoSpace
from batchseal.operation import ContentType, Mode, SignError
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.operation import record_bytes
from batchseal.signer.duties.expiry import Expiry
from batchseal.signer.duties.purging import Purging
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.columns import day_of
from batchseal.store.materials import MaterialTable
from batchseal.store.queries import QUERIES
from batchseal.store.rows import SignatureRow
from batchseal.store.upkeep import Upkeep

SIGNATURE = bytes(range(256)) + bytes(128)
REFUSED = Refusal(SignError.CERT_SERVICE_GLOBAL_ERROR, "refused")
OLD_DAY = date(2025, 3, 5)


@dataclass
class Database:
    store: Store
    instance: UUID
    owner: asyncpg.Connection
    connect: Connect

    async def claimed(
        self, count: int = 3, *, mode: Mode = Mode.ASYNC, caller: str = "A", day: date | None = None
    ) -> tuple[OperationRow, int]:
        """An operation under lease, and its fence. With `day` as if it had been registered then."""
        documents = [NewDocument(i, f"d{i}", f"{i}.pdf", ContentType.PDF, 9) for i in range(count)]
        new = NewOperation(uuid4(), caller, str(uuid4()), "", mode, self.instance, "h", 1)
        row = await self.store.register(new, documents)
        if day is not None:
            await self.set_back(row, day)
        claimed = await self.store.claim_one(row.id, 30)
        assert claimed is not None
        return claimed.row, claimed.fence

    async def set_back(self, row: OperationRow, day: date) -> None:
        first = day.replace(day=1)
        await self.owner.execute("SELECT make_partition($1)", first)
        await self.owner.execute(
            "UPDATE operations SET created_at = $2 WHERE id = $1",
            row.id,
            datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
        )
        await self.owner.execute("UPDATE documents SET month = $2 WHERE operation_id = $1", row.id, first)

    async def partitions(self) -> set[str]:
        children = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'signatures'::regclass"
        return {record["name"].removeprefix("batchseal.") for record in await self.owner.fetch(children)}

    async def keep(self, row: OperationRow, fence: int, *kept: SignatureRow) -> bool:
        return await self.store.record_outcomes(row.id, row.created_at, fence, [], kept)

    async def kept(self, row: OperationRow) -> dict[int, SignatureRow]:
        return await self.store.evidence(row.id, row.created_at, range(row.documents_total))


@pytest.fixture
async def database(connect_store: Connect, database_url: str) -> AsyncIterator[Database]:
    instance = uuid4()
    owner = await asyncpg.connect(database_url.replace("//batchseal@", "//batchseal_owner@"), server_settings=ALL_ROWS)
    yield Database(await connect_store(instance), instance, owner, connect_store)
    await owner.close()


# --- what is kept -----------------------------------------------------------------------------------------------------


async def test_evidence_comes_back_as_it_was_kept(database: Database) -> None:
    row, fence = await database.claimed()
    first, second = SignatureRow(0, Evidence(b"s0"), 1), SignatureRow(1, Evidence(b"s1", (b"t1", b"t2")), 2)
    assert await database.keep(row, fence, first, second)
    assert await database.keep(row, fence, SignatureRow(2, tries=40_000))
    assert await database.kept(row) == {
        0: SignatureRow(0, Evidence(b"s0"), 1),
        1: SignatureRow(1, Evidence(b"s1", (b"t1", b"t2")), 2),
        2: SignatureRow(2, None, (1 << 15) - 1),
    }
    # Tries alone leave a signature as it is.
    assert await database.keep(row, fence, SignatureRow(1, tries=3))
    assert (await database.kept(row))[1] == SignatureRow(1, Evidence(b"s1", (b"t1", b"t2")), 3)
    assert set(await database.store.evidence(row.id, row.created_at, [1])) == {1}


async def test_a_new_signature_takes_the_old_ones_time_stamps_with_it(database: Database) -> None:
    row, fence = await database.claimed()
    assert await database.keep(row, fence, SignatureRow(0, Evidence(b"old", (b"stamp of the old one",)), 1))
    assert await database.keep(row, fence, SignatureRow(0, Evidence(b"new"), 2))
    assert (await database.kept(row))[0] == SignatureRow(0, Evidence(b"new"), 2)


async def test_a_stale_fence_writes_no_signature(database: Database) -> None:
    row, fence = await database.claimed()
    assert await database.keep(row, fence, SignatureRow(0, Evidence(b"before")))
    await database.owner.execute("UPDATE operations SET lease_until = now() WHERE id = $1", row.id)
    taken = await database.store.claim_one(row.id, 30)
    assert taken is not None
    store, created_at = database.store, row.created_at
    late = [SignatureRow(0, Evidence(b"late")), SignatureRow(1, Evidence(b"late"), 7)]
    assert not await store.record_outcomes(row.id, created_at, fence, [DocumentOutcome(0, 9)], late)
    everything = [DocumentOutcome(ordinal, 9) for ordinal in range(3)]
    assert await store.finish(row.id, created_at, fence, everything, late) is None
    assert not await store.add_payload(row.id, created_at, fence, b"record", [0])
    assert await database.kept(row) == {0: SignatureRow(0, Evidence(b"before"))}
    now = await store.operation("A", row.id)
    assert now is not None
    assert (now.further_payloads, now.documents_signed) == ((), 0)
    assert await database.keep(row, taken.fence, *late)


async def test_a_further_payload_forgets_the_signatures_of_its_documents(database: Database) -> None:
    row, fence = await database.claimed()
    assert await database.keep(row, fence, *(SignatureRow(n, Evidence(b"old", (b"stamp",)), 2) for n in range(3)))
    assert await database.store.add_payload(row.id, row.created_at, fence, b"record", [0, 2])
    assert await database.kept(row) == {
        0: SignatureRow(0, None, 2),
        1: SignatureRow(1, Evidence(b"old", (b"stamp",)), 2),
        2: SignatureRow(2, None, 2),
    }


async def test_a_failed_end_keeps_no_signature(database: Database) -> None:
    """The payload of a synchronous operation could not be made durable."""
    row, fence = await database.claimed(1, mode=Mode.SYNC)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(NoSpace("the disk is full"))
    outcomes, kept = [DocumentOutcome(0, 9)], [SignatureRow(0, Evidence(b"s"))]
    with pytest.raises(NoSpace):
        await database.store.finish(row.id, row.created_at, fence, outcomes, kept, commit_after=failed)
    assert await database.kept(row) == {}
    ended = await database.store.finish(row.id, row.created_at, fence, outcomes, kept)
    assert ended is not None
    assert await database.kept(row) == {0: SignatureRow(0, Evidence(b"s"))}


async def test_2500_signatures_in_one_statement(database: Database) -> None:
    row, fence = await database.claimed(2500)
    await database.keep(row, fence, SignatureRow(0, tries=1))  # the partition exists
    kept = [SignatureRow(ordinal, Evidence(SIGNATURE), 1) for ordinal in range(2500)]
    await database.owner.execute("CREATE TABLE statements (at timestamptz)")
    await database.owner.execute(
        "CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal"
        " AS $$ BEGIN INSERT INTO statements VALUES (now()); RETURN NULL; END $$;"
        " CREATE TRIGGER counted AFTER INSERT ON signatures FOR EACH STATEMENT EXECUTE FUNCTION count_statement()"
    )
    assert await database.keep(row, fence, *kept)
    assert await database.owner.fetchval("SELECT count(*) FROM statements") == 1
    assert await database.owner.fetchval("SELECT count(*) FROM signatures WHERE signature = $1", SIGNATURE) == 2500
    best = 1e9
    for _ in range(10):  # a commit waits for the disk, which may be busy
        began = time.perf_counter()
        assert await database.keep(row, fence, *kept)
        best = min(best, time.perf_counter() - began)
        if best < 2:
            break
    assert best < 2, f"{best:.2f} s, where 25 ms are usual"


# --- which commits wait for the disk ----------------------------------------------------------------------------------


NOTE_COMMITS = """
CREATE TABLE commits (transaction xid8 PRIMARY KEY, setting text NOT NULL);
CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal AS $$
BEGIN
    INSERT INTO commits VALUES (pg_current_xact_id(), current_setting('synchronous_commit')) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER noted AFTER INSERT OR UPDATE ON operations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_commit();
CREATE CONSTRAINT TRIGGER noted AFTER INSERT OR UPDATE ON signatures
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_commit();
"""


async def test_a_commit_that_carries_signatures_waits_for_the_disk(database: Database) -> None:
    """A deferred trigger reads the setting at the commit itself. What a power cut may take is not waited for."""
    assert await database.owner.fetchval("SHOW fsync") == "on"
    await database.owner.execute(NOTE_COMMITS)
    store = database.store

    async def noted() -> list[str]:
        found = [record["setting"] for record in await database.owner.fetch("SELECT setting FROM commits")]
        await database.owner.execute("DELETE FROM commits")
        return found

    row, fence = await database.claimed(4)
    assert sorted(await noted()) == ["off", "on"]  # registered, then claimed
    assert await database.keep(row, fence, SignatureRow(0, tries=1))
    assert await noted() == ["off"]
    assert await store.record_outcomes(row.id, row.created_at, fence, [DocumentOutcome(0, refusal=REFUSED)])
    assert await noted() == ["off"]
    assert await store.add_payload(row.id, row.created_at, fence, b"record", [])
    assert await noted() == ["off"]
    assert await database.keep(row, fence, SignatureRow(1, tries=1), SignatureRow(2, Evidence(b"signature"), 1))
    assert await noted() == ["on"]
    assert await store.record_outcomes(
        row.id, row.created_at, fence, [DocumentOutcome(2, 9)], [SignatureRow(2, tries=1)]
    )
    assert await noted() == ["off"]
    stamped = [SignatureRow(2, Evidence(b"signature", (b"stamp",)), 1)]
    assert await store.record_outcomes(row.id, row.created_at, fence, [], stamped)
    assert await noted() == ["on"]
    assert await store.finish(row.id, row.created_at, fence, [DocumentOutcome(1, 9), DocumentOutcome(3, 9)])
    assert await noted() == ["on"]
    await store.mark_fetched(row.client_service, [row.id])
    assert await noted() == ["off"]
    # What one statement relaxed does not stay so on its connection.
    single = await database.connect(database.instance, pool_size=1)
    row, fence = await database.claimed(1, mode=Mode.SYNC)
    assert await noted() == ["off", "off"]
    assert await single.record_outcomes(row.id, row.created_at, fence, [], [SignatureRow(0, tries=1)])
    assert await single.record_outcomes(row.id, row.created_at, fence, [], [SignatureRow(0, Evidence(b"s"), 1)])
    assert sorted(await noted()) == ["off", "on"]
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    ended = await single.finish(row.id, row.created_at, fence, [DocumentOutcome(0, 9)], commit_after=done)
    assert ended is not None
    assert await noted() == ["on"]


# --- who sees them ------------------------------------------------------------------------------------------------------


async def test_a_caller_sees_the_signatures_of_its_own_operations_alone(database: Database, database_url: str) -> None:
    rows = {}
    for caller in ("A", "B"):
        row, fence = await database.claimed(2, caller=caller)
        assert await database.keep(row, fence, *(SignatureRow(n, Evidence(caller.encode()), 1) for n in range(2)))
        rows[caller] = row
    of_callers = await database.connect(database.instance, everything=False)
    for caller, other in (("A", "B"), ("B", "A")):
        own = await of_callers.evidence(rows[caller].id, rows[caller].created_at, range(10), caller=caller)
        assert [one.evidence for one in own.values()] == [Evidence(caller.encode())] * 2
        assert await of_callers.evidence(rows[other].id, rows[other].created_at, range(10), caller=caller) == {}
        assert await of_callers.evidence(rows[caller].id, rows[caller].created_at, range(10)) == {}
    # Whatever is asked, in the words of the role itself.
    said_nothing = {"search_path": "batchseal"}
    connection = await asyncpg.connect(database_url, server_settings=said_nothing)
    try:
        assert await connection.fetch("SELECT * FROM signatures") == []
        assert await connection.execute("UPDATE signatures SET tries = 9") == "UPDATE 0"
        await connection.execute("SELECT set_config('batchseal.client_service', 'A', false)")
        seen = await connection.fetch("SELECT DISTINCT operation_id FROM signatures")
        assert [record["operation_id"] for record in seen] == [rows["A"].id]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO signatures VALUES ($1, 7, $2)", rows["B"].id, day_of(rows["B"].created_at)
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM signatures")
        (partition,) = await database.partitions()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM {partition}")
    finally:
        await connection.close()


# --- daily partitions ------------------------------------------------------------------------------------------------------


async def test_partitions_are_made_when_they_are_needed(database: Database) -> None:
    """By a store that lives over the end of a day, and by several stores at once."""
    assert await database.partitions() == set()
    row, fence = await database.claimed()
    assert await database.store.evidence(row.id, row.created_at, range(10)) == {}
    assert await database.store.record_outcomes(row.id, row.created_at, fence, [DocumentOutcome(0, 9)])
    assert await database.partitions() == set(), "nothing needed one"
    others = [await database.connect(database.instance) for _ in range(4)]
    for day in (OLD_DAY, OLD_DAY + timedelta(days=1)):
        made = [await database.claimed(day=day) for _ in range(5)]
        stores = [database.store, *others]
        assert all(
            await asyncio.gather(
                *(
                    store.record_outcomes(row.id, row.created_at, fence, [], [SignatureRow(0, Evidence(b"s"), 1)])
                    for store, (row, fence) in zip(stores, made, strict=True)
                )
            )
        )
    assert await database.partitions() == {"signatures_2025_03_05", "signatures_2025_03_06"}
    # An operation of the day before goes on after midnight.
    row, fence = await database.claimed(day=OLD_DAY)
    assert await database.keep(row, fence, SignatureRow(0, Evidence(b"s"), 1))
    assert await database.owner.fetchval("SELECT count(*) FROM signatures_2025_03_05") == 6


async def test_a_partition_goes_with_the_last_payload_of_its_day(database: Database, tmp_path: Path) -> None:
    """The database is as small afterwards as it was before."""

    async def signature_bytes() -> int:
        sizes = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname LIKE 'signatures_2%'"
        return int(await database.owner.fetchval(sizes))

    payloads, upkeep = MemoryPayloads(), Upkeep(database.store.database, database.instance)
    pool, ledger = ThreadPoolExecutor(1), Ledger(tmp_path / "ledger")
    purging, expiry = Purging(upkeep, payloads, ledger, pool), Expiry(upkeep)
    before, rows = await signature_bytes(), []
    for _ in range(2):
        upload = payloads.create(uuid4())
        upload.begin()
        upload.append([(FrameKind.DOCUMENT, 0, b"content")])
        record = record_bytes(upload.commit(durable=True))
        upload.release()
        row, fence = await database.claimed(1000, day=OLD_DAY)
        await database.owner.execute(
            "UPDATE operations SET payload_id = $2, payload_record = $3 WHERE id = $1",
            row.id,
            upload.payload_id,
            record,
        )
        kept = [SignatureRow(n, Evidence(SIGNATURE), 1) for n in range(1000)]
        assert await database.keep(row, fence, *kept)
        rows.append((row, fence))
    assert await signature_bytes() > 2 * 1000 * len(SIGNATURE)
    assert await upkeep.signature_days() == [OLD_DAY]
    day = "signatures_2025_03_05"

    async def ended(row: OperationRow, fence: int) -> None:
        outcomes = [DocumentOutcome(n, 9) for n in range(1000)]
        assert await database.store.finish(row.id, row.created_at, fence, outcomes)

    await ended(*rows[0])
    await database.owner.execute("UPDATE operations SET fetched_at = now() - interval '2 days' WHERE status = 2")
    await database.owner.execute("DELETE FROM audit_pending")  # as where they have entered the chain
    await purging.purge_due(86_400, 7 * 86_400)
    await expiry.drop_signatures()
    assert await database.partitions() == {day}, "an operation of the day is not finished"
    await ended(*rows[1])
    await expiry.drop_signatures()
    assert await database.partitions() == {day}, "an operation of the day has its payload"
    assert len(await database.kept(rows[1][0])) == 1000
    await database.owner.execute("UPDATE operations SET fetched_at = now() - interval '2 days' WHERE status = 2")
    await database.owner.execute("DELETE FROM audit_pending")  # as where they have entered the chain
    await purging.purge_due(86_400, 7 * 86_400)
    assert payloads.stored == {}
    await expiry.drop_signatures()
    assert await database.partitions() == set()
    assert await signature_bytes() == before == 0
    # A day that has begun stays, whatever was purged of it.
    row, fence = await database.claimed(1)
    assert await database.store.finish(
        row.id, row.created_at, fence, [DocumentOutcome(0, 9)], [SignatureRow(0, Evidence(b"s"))]
    )
    await database.owner.execute("UPDATE operations SET payload_purged = true")
    await expiry.drop_signatures()
    assert len(await database.partitions()) == 1
    pool.shutdown()
    ledger.close()


async def test_only_what_sees_all_rows_may_drop_a_day(database: Database) -> None:
    row, fence = await database.claimed(day=OLD_DAY)
    assert await database.keep(row, fence, SignatureRow(0, Evidence(b"s")))
    with pytest.raises(asyncpg.RaiseError):
        async with database.store.database.connection("A") as connection:
            await connection.fetchval("SELECT drop_signatures($1)", OLD_DAY)
    refused: Any = await Upkeep(database.store.database, database.instance).drop_signatures(OLD_DAY)
    assert refused is False


@pytest.mark.parametrize("together", [True, False])
async def test_a_commit_that_waits_for_the_disk_still_does_after_material(
    connect_store: Connect, together: bool
) -> None:
    """Storing material alone need not wait. In one transaction with the signatures that refer to it, the commit is theirs too."""
    store, day = await connect_store(), date.today()
    async with store.database.connection() as connection:
        await connection.execute(QUERIES["make_signatures_partition"], day)
    kept = [SignatureRow(0, Evidence(b"signature", (b"stamp",), b"chain"))]
    database = store.database
    async with database.transaction() if together else database.connection() as connection:
        await MaterialTable().keep(connection, day, kept)
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
