"""The database around the rows: migrations, partitions, size, and its going away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from time import monotonic
from uuid import uuid4

import asyncpg
import pytest
from harness.waiting import eventually

from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.operation import ContentType, Mode
from batchseal.postgres import EmbeddedPostgres
from batchseal.store import NewDocument, NewOperation, Store
from batchseal.store.database import Database
from batchseal.store.migrations import migrate, migration_files, needed_by, next_month, partition_name
from batchseal.store.queries import QUERIES, load_queries
from batchseal.store.rows import SignatureRow

Connect = Callable[..., Awaitable[Store]]


ALL_ROWS = {"batchseal.scope": "*", "search_path": "batchseal"}


def owner_of(url: str) -> str:
    """The same database, as the role that owns the tables."""
    return url.replace("//batchseal@", "//batchseal_owner@")


async def test_migrate_is_idempotent_and_concurrent(postgres: EmbeddedPostgres, database_url: str) -> None:
    stores = [await Store.connect(owner_of(database_url), instance=uuid4()) for _ in range(4)]
    connection = await asyncpg.connect(owner_of(database_url), server_settings=ALL_ROWS)
    await connection.execute("DROP SCHEMA batchseal CASCADE")
    await asyncio.gather(*(store.migrate() for store in stores))
    await stores[0].migrate()
    assert await connection.fetchval("SELECT count(*) FROM migrations") == len(migration_files())
    # The release after this one has only added: this one still runs. The one after that has taken something away.
    await connection.execute("INSERT INTO migrations (number, name) VALUES (9998, 'adds')")
    await stores[0].migrate()
    await connection.execute("INSERT INTO migrations (number, name, needs) VALUES (9999, 'takes away', 9998)")
    with pytest.raises(ConfigurationError, match="9998"):
        await stores[0].migrate()
    for store in stores:
        await store.close()
    await connection.close()


async def test_a_migration_may_take_longer_than_any_other_statement(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that reads large tables would be cut off at each start, and undone, and no start would succeed."""
    slow = [*migration_files(), (9000, "slow", "SELECT pg_sleep(5.5);")]
    monkeypatch.setattr("batchseal.store.migrations.migration_files", lambda: slow)
    address = owner_of(database_url)
    connection = await asyncpg.connect(address)
    # The commit is an ordinary statement, and a busy disk may keep it for as long as that may take here.
    name = database_url.rpartition("/")[2].partition("?")[0]
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.close()
    one, other = [await Database.open(address, 2, everything=True, command_seconds=5.0) for _ in range(2)]
    try:
        await asyncio.gather(migrate(one), migrate(other))  # one of them waits for the other one
        async with one.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM migrations WHERE number = 9000") == 1
    finally:
        for database in (one, other):
            await database.close()


@pytest.mark.parametrize("role", ["batchseal", 'an "odd" o\'role'])
async def test_migrating_again_grants_what_is_missing_and_nothing_twice(
    postgres: EmbeddedPostgres, database_url: str, role: str
) -> None:
    """Each grant is a new row of the catalog: after a crash, each file of the catalog is one more for the disk."""
    quoted = '"' + role.replace('"', '""') + '"'
    superuser = await asyncpg.connect(postgres.dsn_of("postgres", database_url.rpartition("/")[2].partition("?")[0]))
    if role != "batchseal":
        await superuser.execute(f"CREATE ROLE {quoted} LOGIN")
    rows = (
        "SELECT array_agg(xmin::text || ' ' || ctid::text ORDER BY oid) FROM pg_class"
        " WHERE relnamespace = 'batchseal'::regnamespace"
    )
    store = await Store.connect(owner_of(database_url), instance=uuid4())
    try:
        await store.migrate(role=quoted)
        granted = await superuser.fetchval(rows)
        await store.migrate(role=quoted)
        assert await superuser.fetchval(rows) == granted
        await superuser.execute(f"REVOKE UPDATE ON batchseal.operations FROM {quoted}")
        await store.migrate(role=quoted)
        assert await superuser.fetchval("SELECT has_table_privilege($1, 'batchseal.operations', 'UPDATE')", role)
    finally:
        await store.close()
        if role != "batchseal":
            await superuser.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")
        await superuser.close()


async def test_a_new_month_makes_its_partitions(connect_store: Connect, database_url: str) -> None:
    """As if the process had started two months ago: the first registrations of the month make what is missing, at once."""
    stores = [await connect_store() for _ in range(3)]
    connection = await asyncpg.connect(owner_of(database_url), server_settings=ALL_ROWS)
    for name in await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'documents'::regclass"
    ):
        await connection.execute(f"DROP TABLE {name['name']}")
    documents = [NewDocument(0, "d", "d.pdf", ContentType.PDF, 1)]
    rows = await asyncio.gather(
        *(
            stores[i % 3].register(NewOperation(uuid4(), "A", f"r{i}", "", Mode.SYNC, uuid4(), "h", 1), documents)
            for i in range(12)
        )
    )
    for row in rows:
        assert len(await stores[0].documents(row.id, row.created_at)) == 1
    month = rows[0].created_at.date().replace(day=1)
    for partition in (month, next_month(month)):
        assert await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", partition_name(partition))
    await connection.close()


async def test_a_database_of_before_needs_were_kept(postgres: EmbeddedPostgres, database_url: str) -> None:
    store = await Store.connect(owner_of(database_url), instance=uuid4())
    connection = await asyncpg.connect(owner_of(database_url), server_settings=ALL_ROWS)
    await connection.execute("ALTER TABLE migrations DROP COLUMN needs")
    await store.migrate()
    assert await connection.fetchval("SELECT max(needs) FROM migrations") == 0
    await store.close()
    await connection.close()


def test_a_migration_says_what_it_needs() -> None:
    assert needed_by("-- Takes a column away.\n-- needs 0007\n\nALTER TABLE t DROP COLUMN c;\n") == 7
    # Migration 0005 moved the signatures: release 0.1 must not start after it. All others only add.
    assert {number: needed_by(sql) for number, _, sql in migration_files() if needed_by(sql)} == {5: 5}


def test_months() -> None:
    assert next_month(date(2026, 11, 1)) == date(2026, 12, 1)
    assert next_month(date(2026, 12, 1)) == date(2027, 1, 1)
    assert partition_name(date(2027, 1, 1)) == "documents_2027_01"


def test_every_query_is_named_once() -> None:
    assert load_queries() == QUERIES
    assert all(query.rstrip().endswith(";") for query in QUERIES.values())


async def test_documents_are_small(connect_store: Connect, database_url: str) -> None:
    """Growth of all tables with their indexes over batches 4 to 5, vacuumed between; the goal is 0.35 MB. The signatures, of 384
    bytes each, take less than 0.6 MB more until their day's partition is dropped.
    """
    me = uuid4()
    store = await connect_store(me)
    connection = await asyncpg.connect(owner_of(database_url), server_settings=ALL_ROWS)
    sizes, signatures = [], [SignatureRow(i, Evidence(bytes(384))) for i in range(2_500)]
    for batch in range(5):
        documents = [
            NewDocument(i, f"FT 2021/{batch:03d}{i:05d}-abcd", f"invoice-{i:05d}.pdf", ContentType.PDF, 200_000)
            for i in range(2_500)
        ]
        row = await store.register(NewOperation(uuid4(), "A", f"r{batch}", "", Mode.ASYNC, me, "h", 1), documents)
        assert await store.claim_one(row.id, 30) is not None
        outcomes = [DocumentOutcome(i, 9_000) for i in range(2_500)]
        assert await store.record_outcomes(row.id, row.created_at, 2, outcomes, signatures)
        assert (await store.finish(row.id, row.created_at, 2)).failed == 0  # type: ignore[union-attr]
        await connection.execute("VACUUM")
        sizes.append(
            await connection.fetchrow(
                "SELECT sum(size) FILTER (WHERE NOT signatures)::bigint, sum(size) FILTER (WHERE signatures)::bigint FROM"
                " (SELECT pg_total_relation_size(oid) AS size, relname LIKE 'signatures%' AS signatures FROM pg_class"
                " WHERE relnamespace = 'batchseal'::regnamespace AND relkind = 'r') tables"
            )
        )
    await connection.close()
    assert (sizes[4][0] - sizes[2][0]) / 5 < 350_000
    assert (sizes[4][1] - sizes[2][1]) / 5 < 600_000


async def test_broken_connections_are_replaced(connect_store: Connect, postgres: EmbeddedPostgres) -> None:
    store = await connect_store()
    await asyncio.gather(*(store.ping() for _ in range(4)))
    connection = await asyncpg.connect(postgres.dsn_of("postgres", "batchseal"))
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'batchseal%'"
    )

    async def all_have_ended() -> bool:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'batchseal%'"
        return await connection.fetchval(count) == 0

    await eventually(all_have_ended)
    await connection.close()
    failures = 0
    for _ in range(10):
        try:
            await store.ping()
        except DatabaseUnavailable:
            failures += 1
    assert failures <= 4  # one for each connection of the pool at most
    await store.ping()


async def test_a_connection_lost_in_a_transaction_leaves_nothing(connect_store: Connect, database_url: str) -> None:
    store = await connect_store()
    blocker = await asyncpg.connect(owner_of(database_url), server_settings=ALL_ROWS)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
        registering = asyncio.create_task(
            store.register(
                NewOperation(uuid4(), "A", "r", "", Mode.ASYNC, uuid4(), "h", 1),
                [NewDocument(0, "d", "d.pdf", ContentType.PDF, 1)],
            )
        )
        # Only a superuser sees and ends the sessions of others.
        superuser = await asyncpg.connect(database_url.replace("//batchseal@", "//postgres@"))
        end_waiting = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await eventually(lambda: superuser.fetchval(end_waiting))
        await superuser.close()
        with pytest.raises(DatabaseUnavailable):
            await registering
    await blocker.close()
    assert await store.reference_holder("A", "r") is None


async def test_a_mistake_of_ours_is_no_outage(connect_store: Connect) -> None:
    store = await connect_store()
    with pytest.raises(asyncpg.DataError):
        await store.renew("seven", 1, 1)  # type: ignore[arg-type]
    await store.ping()


async def test_nobody_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("nobody")
    began = monotonic()
    with pytest.raises(DatabaseUnavailable):
        await Store.connect(f"postgresql://batchseal@/batchseal?host={folder}", instance=uuid4())
    assert monotonic() - began < 120


async def test_addresses_that_cannot_be_right(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError):
        await Store.connect("postgresql://[", instance=uuid4())
    with pytest.raises(ConfigurationError):
        await Store.connect(postgres.dsn_of("batchseal", "missing"), instance=uuid4())
    with pytest.raises(ConfigurationError):
        await Store.connect(postgres.dsn_of("stranger", "batchseal"), instance=uuid4())


async def test_a_wrong_address_does_not_show_the_password() -> None:
    """A password that is not written as an address needs it ends early, and what follows is taken for a port."""
    for password in ("s3cret/more", "s3cret#more", "s3cret?more"):
        with pytest.raises(ConfigurationError) as refusal:
            await Store.connect(f"postgresql://batchseal:{password}@localhost/batchseal", instance=uuid4())
        assert "s3cret" not in refusal.value.cause and "%XX" in refusal.value.cause


async def test_a_statement_that_another_transaction_keeps_from_its_lock_can_be_repeated(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """Of signatures that were paid for it is; the connection is as good as before."""
    store, processes = await connect_store(), list[int]()
    lock = "SELECT pg_advisory_xact_lock(1)"

    async def collide() -> None:
        async with store.database.transaction() as connection:
            processes.append(connection.get_server_pid())
            await connection.execute("SET LOCAL lock_timeout = '10ms'")
            await connection.execute(lock)

    async with sees_all_rows.transaction():
        await sees_all_rows.execute(lock)
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await collide()
    async with store.database.connection() as connection:
        assert [connection.get_server_pid()] == processes
