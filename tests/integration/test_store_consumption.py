"""What client services used, month by month, against an independent count over the audit trail."""

import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
from tests.support.operators import AWAY, WHO, chained, operators, registered

from batchseal.audit.chain import as_line
from batchseal.document import DocumentOutcome, Evidence
from batchseal.operation import DocumentStatus, OperationStatus
from batchseal.signature import Level
from batchseal.store import OperationRow, Store
from batchseal.store.backups import HeldOperations
from batchseal.store.columns import month_of
from batchseal.store.operator import OperatorStore
from batchseal.store.rows import SignatureRow
from batchseal.store.samples import CONSUMPTION_SECONDS, SampleTable
from batchseal.store.trail import AuditTrail

Connect = Callable[..., Awaitable[Store]]
Key = tuple[str, date]  # a client service and a month
OPERATIONS = 60


async def set_back(owner: asyncpg.Connection, row: OperationRow, created_at: datetime) -> OperationRow:
    """The operation as if it had been registered then."""
    await owner.execute("SELECT make_partition($1)", month_of(created_at))
    await owner.execute("UPDATE operations SET created_at = $2 WHERE id = $1", row.id, created_at)
    await owner.execute("UPDATE documents SET month = $2 WHERE operation_id = $1", row.id, month_of(created_at))
    return replace(row, created_at=created_at)


@dataclass
class Signer:
    """Ends operations by chance, and counts what it uses, by client service and month."""

    store: Store
    chance: random.Random
    stamps: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    content: dict[Key, int] = field(default_factory=lambda: defaultdict(int))

    async def end(self, row: OperationRow) -> None:
        """Signs or fails what is open, each document at a level of its own."""
        claimed = await self.store.claim_one(row.id, 30)
        assert claimed is not None
        key = row.client_service, month_of(row.created_at)
        outcomes, kept = list[DocumentOutcome](), list[SignatureRow]()
        for one in await self.store.documents(row.id, row.created_at):
            if one.status is not DocumentStatus.RECEIVED:
                continue
            if self.chance.random() < 0.3:
                outcomes.append(DocumentOutcome(one.ordinal, refusal=AWAY))
                continue
            level = self.chance.choice(list(Level))
            outcomes.append(DocumentOutcome(one.ordinal, 9, level=level))
            kept.append(SignatureRow(one.ordinal, Evidence(b"s"), 1))
            self.stamps[key] += {Level.B: 0, Level.LTA: 2}.get(level, 1)
            self.content[key] += one.content_bytes
        half = len(outcomes) // 2
        assert await self.store.record_outcomes(row.id, row.created_at, claimed.fence, outcomes[:half], kept)
        assert await self.store.finish(row.id, row.created_at, claimed.fence, outcomes[half:]) is not None

    async def try_again(self, row: OperationRow, operator: OperatorStore | None) -> bool:
        """Has a failed operation signed again, by an operator or by its caller. False if it has not failed."""
        found = await self.store.operation(row.client_service, row.id)
        assert found is not None
        if found.status is not OperationStatus.EXECUTION_FAILED:
            return False
        if operator is not None:
            (done,) = await operator.retry(WHO, [row.id], everything=True)
            assert done.result == "done"
        else:
            documents = await self.store.documents(row.id, row.created_at)
            failed = [one.ordinal for one in documents if one.status is DocumentStatus.ERROR_SIGNING]
            assert await self.store.reopen(found, failed) is not None
        await self.end(row)
        return True


async def counted(trail: AuditTrail, months: dict[int, date]) -> dict[Key, list[int]]:
    """What the audit trail says: signed and failed at the last end of each operation, in the month of its registration.

    It is counted from the lines of an export, as somebody does who has nothing of ours.
    """
    last: dict[int, tuple[str, int, int]] = {}
    async for entry in trail.read():
        line = json.loads(as_line(entry))
        if line["event"] == "FINISHED":
            last[line["operation"]] = line["clientService"], line["signed"], line["failed"]
    found = defaultdict[Key, list[int]](lambda: [0, 0])
    for operation_id, (service, signed, failed) in last.items():
        found[service, months[operation_id]][0] += signed
        found[service, months[operation_id]][1] += failed
    return found


async def test_an_end_counts_once_whichever_release_chains_it(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """While an upgrade is under way, an instance of release 0.1 chains its own ends, and knows of no consumption."""
    me = uuid4()
    store = await connect_store(me)
    signer, rows = Signer(store, random.Random(3)), [await registered(store, me, 10) for _ in range(3)]
    for row in rows:
        await signer.end(row)
    earlier, left, ours = (row.id for row in rows)
    # What release 0.1 writes of an end says nothing of what was used.
    await sees_all_rows.execute(
        "UPDATE audit_pending SET signed_more = NULL, failed_more = NULL, time_stamps = NULL, signed_bytes = NULL"
        " WHERE operation_id = ANY ($1)",
        [earlier, left],
    )
    # How release 0.1 takes entries out before it chains them.
    await sees_all_rows.fetch(
        "DELETE FROM audit_pending WHERE id = ANY ($1) RETURNING id",
        [
            one["id"]
            for one in await sees_all_rows.fetch("SELECT id FROM audit_pending WHERE operation_id = $1", earlier)
        ],
    )
    await chained(AuditTrail(store.database, me))
    found = await sees_all_rows.fetch("SELECT client_service, signatures, failures FROM consumption")
    ended = await sees_all_rows.fetchrow(
        "SELECT sum(documents_signed)::integer AS signed, sum(documents_failed)::integer AS failed FROM operations"
    )
    assert [tuple(one) for one in found] == [("A", ended["signed"], ended["failed"])]
    assert await sees_all_rows.fetchval("SELECT content_bytes > 0 FROM consumption"), f"operation {ours} has told all"


async def test_three_months_equal_an_independent_count(
    connect_store: Connect, database_url: str, sees_all_rows: asyncpg.Connection
) -> None:
    """Operations that are signed, fail, are tried again by an operator or by their caller, are cancelled, and are held after a
    restore and then resumed or cancelled.
    """
    me, chance = uuid4(), random.Random(7)
    store = await connect_store(me)
    trail, signer = AuditTrail(store.database, me), Signer(store, chance)
    now = datetime.now(UTC).replace(day=15)
    starts = [now, now - timedelta(days=31), now - timedelta(days=62)]
    rows = list[OperationRow]()
    async with operators(database_url) as operator:
        for number in range(OPERATIONS):
            refused = [0] * (number % 5 == 0)
            row = await registered(store, me, chance.randint(1, 6), client_service="AB"[number % 2], refused=refused)
            row = await set_back(sees_all_rows, row, starts[number % 3])
            rows.append(row)
            if number % 6 == 5:
                await HeldOperations(store).hold()
                assert await store.claim_one(row.id, 30) is None
                await (operator.resume if number % 4 == 1 else operator.cancel)(WHO, [row.id])
                await signer.end(row) if number % 4 == 1 else None
            elif number % 7 == 0:
                await operator.cancel(WHO, [row.id])
            else:
                await signer.end(row)
            if number % 4 == 0:
                await chained(trail)
        for number, row in enumerate(rows):
            for _ in range(chance.randint(0, 2)):
                if not await signer.try_again(row, None if number % 2 else operator):
                    break
        await chained(trail)
        months = {row.id: month_of(row.created_at) for row in rows}
        expected = await counted(trail, months)
        lines = await operator.consumption(min(months.values()), max(months.values()))
        assert len(lines) == 6
        for line in lines:
            key = line.client_service, line.month
            assert [line.signatures, line.failures] == expected[key]
            assert line.documents == sum(expected[key])
            assert (line.time_stamps, line.content_bytes) == (signer.stamps[key], signer.content[key])
        only = await operator.consumption(max(months.values()), max(months.values()), "A")
        assert [(line.client_service, line.month) for line in only] == [("A", max(months.values()))]


async def test_an_evidence_record_is_a_time_stamp(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    me = uuid4()
    store = await connect_store(me)
    row = await registered(store, me)
    nobody = uuid4()
    for digest in (b"root", b""):  # the second one had nothing to stamp
        await sees_all_rows.execute(
            "INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)"
            " VALUES ($1, $2, $3, 6, 4, 0, 'A', $4)",
            row.id,
            me,
            nobody,
            digest,
        )
    await chained(AuditTrail(store.database, me))
    assert await sees_all_rows.fetchval("SELECT time_stamps FROM consumption WHERE client_service = 'A'") == 1


async def test_figures_go_after_their_time(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    store = await connect_store()
    await sees_all_rows.execute(
        "INSERT INTO samples (at, metric, value) SELECT now() - d * interval '1 day', 1, 1 FROM unnest(ARRAY[1, 29, 31]) d"
    )
    await sees_all_rows.execute(
        "INSERT INTO upstream_calls SELECT 1, now() - d * interval '1 day', 1, 1, 'signed' FROM unnest(ARRAY[1, 32]) d"
    )
    await sees_all_rows.execute(
        "INSERT INTO consumption (client_service, month)"
        " SELECT 'A', (now() - y * interval '1 year')::date FROM unnest(ARRAY[9, 11]) y"
    )
    await SampleTable(store.database).drop_old()
    left = [
        await sees_all_rows.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("samples", "upstream_calls", "consumption")
    ]
    assert left == [2, 1, 1]
    assert CONSUMPTION_SECONDS > 10 * 365 * 86_400
