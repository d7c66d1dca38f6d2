"""The daily partitions of the table of signatures come and go without losing a signature."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.parts import Connect

from batchseal.document import DocumentOutcome, Evidence, Refusal
from batchseal.errors import PayloadUnavailable
from batchseal.operation import ContentType, Mode, SignError
from batchseal.postgres import EmbeddedPostgres
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.columns import day_of
from batchseal.store.rows import SignatureRow
from batchseal.store.upkeep import Upkeep

INSTANCE = UUID(int=5)
FAILED = DocumentOutcome(0, refusal=Refusal(SignError.TIMESTAMP_SIGN_ERROR, "no time stamp"))


@dataclass
class Held:
    """An operation of two documents that this process holds the lease of."""

    store: Store
    row: OperationRow
    fence: int

    async def record(self, *kept: SignatureRow) -> bool:
        return await self.store.record_outcomes(self.row.id, self.row.created_at, self.fence, kept=kept)

    async def kept(self) -> dict[int, SignatureRow]:
        return await self.store.evidence(self.row.id, self.row.created_at, [0, 1])


async def held(store: Store, name: str = "one") -> Held:
    operation = NewOperation(uuid4(), "A", name, "d", Mode.ASYNC, INSTANCE, "h", 1)
    documents = [NewDocument(n, f"{name} {n}", "n.pdf", ContentType.PDF, 9) for n in range(2)]
    row = await store.register(operation, documents)
    claimed = await store.claim_one(row.id, 30)
    assert claimed is not None
    return Held(store, row, claimed.fence)


@pytest.fixture
async def store(connect_store: Connect) -> Store:
    return await connect_store(INSTANCE)


@pytest.fixture
async def owner(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the role that owns the tables."""
    name = database_url.rpartition("/")[2].partition("?")[0]
    settings = {"batchseal.scope": "*", "search_path": "batchseal"}
    connection = await asyncpg.connect(postgres.dsn_of("batchseal_owner", name), server_settings=settings)
    yield connection
    await connection.close()


async def test_an_end_that_was_rolled_back_takes_no_partition_with_it(store: Store) -> None:
    """The first end of the day makes the partition. Its payload cannot be synced, so the transaction is rolled back."""
    one = await held(store)
    unsynced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    unsynced.set_exception(PayloadUnavailable("the disk reports a fault"))
    outcomes = [DocumentOutcome(n) for n in range(2)]
    kept = [SignatureRow(n, Evidence(b"value")) for n in range(2)]
    with pytest.raises(PayloadUnavailable):
        await store.finish(one.row.id, one.row.created_at, one.fence, outcomes, kept, commit_after=unsynced)
    assert await one.record(*kept)
    assert await store.finish(one.row.id, one.row.created_at, one.fence, outcomes) is not None
    assert len(await one.kept()) == 2


async def test_a_reopening_that_was_rolled_back_takes_no_partition_with_it(
    store: Store, connect_store: Connect, owner: asyncpg.Connection
) -> None:
    of_callers = await connect_store(INSTANCE, everything=False)
    one = await held(store)
    refused = [FAILED, DocumentOutcome(1, refusal=FAILED.refusal)]
    assert await store.finish(one.row.id, one.row.created_at, one.fence, refused) is not None
    await owner.execute("REVOKE UPDATE ON signatures FROM batchseal")
    with pytest.raises(Exception, match="lacks a right"):
        await of_callers.reopen(one.row, [0, 1])
    await owner.execute("GRANT UPDATE ON signatures TO batchseal")
    assert await of_callers.reopen(one.row, [0, 1]) is not None


async def test_a_partition_that_went_away_is_made_again(store: Store, owner: asyncpg.Connection) -> None:
    """The clock of the database was ahead, so housekeeping took the day for over, and then it was set back."""
    one = await held(store)
    assert await one.record(SignatureRow(0, Evidence(b"value")))
    await owner.execute(f"DROP TABLE signatures_{day_of(one.row.created_at):%Y_%m_%d}")
    with pytest.raises(asyncpg.CheckViolationError):
        await one.record(SignatureRow(1, Evidence(b"value")))
    assert await one.record(SignatureRow(1, Evidence(b"value")))


async def test_a_day_is_dropped_an_hour_after_its_end(store: Store, owner: asyncpg.Connection) -> None:
    """A registration may still be under way when its day ends, and clocks are set back by a little."""
    day = datetime.now(UTC).date() - timedelta(days=1)
    await owner.execute("SELECT make_signatures_partition($1)", day)
    upkeep = Upkeep(store.database, INSTANCE)
    passed = (datetime.now(UTC) - datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)).total_seconds()
    assert await upkeep.signature_days() == ([day] if passed >= 3600 else [])
    definition = await owner.fetchval("SELECT pg_get_functiondef('drop_signatures'::regproc)")
    for seconds, dropped in ((-1, False), (1, True)):
        await owner.execute(
            definition.replace("now()", f"(($1 + 1)::timestamp AT TIME ZONE 'UTC' + interval '1 hour {seconds} s')")
        )
        assert await upkeep.drop_signatures(day) is dropped


async def test_a_day_that_somebody_reads_is_dropped_later(store: Store, owner: asyncpg.Connection) -> None:
    """A backup holds its locks for long. The other duties of the round do not wait for it, and none of them fails."""
    day = datetime.now(UTC).date() - timedelta(days=3)
    await owner.execute("SELECT make_signatures_partition($1)", day)
    upkeep = Upkeep(store.database, INSTANCE)
    async with owner.transaction():
        await owner.execute(f"LOCK TABLE signatures_{day:%Y_%m_%d} IN ACCESS SHARE MODE")
        assert not await upkeep.drop_signatures(day)
    assert await upkeep.drop_signatures(day)


async def test_an_end_beside_the_drop_of_a_day_does_not_fail(store: Store, owner: asyncpg.Connection) -> None:
    """It locks the signatures, and then the evidence records, while the drop waits for the signatures."""
    day = datetime.now(UTC).date() - timedelta(days=3)
    await owner.execute("SELECT make_signatures_partition($1)", day)
    upkeep = Upkeep(store.database, INSTANCE)
    async with owner.transaction():
        await owner.execute("LOCK TABLE signatures IN ROW EXCLUSIVE MODE")
        dropping = asyncio.create_task(upkeep.drop_signatures(day))
        await asyncio.wait([dropping], timeout=0.1)
        await owner.execute("LOCK TABLE evidence_records IN ROW EXCLUSIVE MODE")
    await dropping
    await upkeep.drop_signatures(day)
    assert not await owner.fetchval("SELECT to_regclass($1) IS NOT NULL", f"evidence_records_{day:%Y_%m_%d}")


async def test_a_month_that_somebody_reads_is_dropped_later(store: Store, owner: asyncpg.Connection) -> None:
    month = datetime(2025, 3, 1, tzinfo=UTC).date()
    await owner.execute("SELECT make_partition($1)", month)
    upkeep = Upkeep(store.database, INSTANCE)
    async with owner.transaction():
        await owner.execute("LOCK TABLE documents_2025_03 IN ACCESS SHARE MODE")
        assert not await upkeep.drop_documents(month)
    assert await upkeep.drop_documents(month)
