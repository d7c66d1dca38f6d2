"""Payloads, rows, references and audit entries go when their time has come, and not a moment before."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from batchseal.admission.ledger import Ledger
from batchseal.audit.chain import Event, Verifier, documents_digest, make_link
from batchseal.audit.writer import AuditWriter
from batchseal.document import DocumentOutcome, Prepared, Refusal
from batchseal.errors import ReferenceTaken
from batchseal.operation import ContentType, Mode, SignError
from batchseal.payloads import records
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.operation import record_bytes
from batchseal.signature import Level
from batchseal.signer.duties.counting import Counting
from batchseal.signer.duties.purging import Purging
from batchseal.signer.duties.rounds import Retention, Rounds
from batchseal.signer.duties.sweeping import Sweeping
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.erasure import Erasure, Named
from batchseal.store.rows import OperationEnd
from batchseal.store.trail import AuditTrail
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]
DAY = 86_400
PREPARED = Prepared(0, "pades", b"digest", b"document digest", b"fingerprint", Level.B, 9, b"plan")
ALL_ROWS = {"batchseal.scope": "*", "search_path": "batchseal"}


@dataclass
class House:
    store: Store
    instance: UUID
    folder: Path
    payloads: LocalPayloads
    rounds: Rounds
    purging: Purging
    sweeping: Sweeping
    trail: AuditTrail
    writer: AuditWriter
    owner: asyncpg.Connection

    async def operation(self, name: str, *, days_ago: float = 0, fetched_days_ago: float | None = None) -> OperationRow:
        """A finished one with a payload of 4 KB, its times set back."""
        row = await self.unfinished(name)
        assert (await self.end(row, DocumentOutcome(0, 9))).failed == 0
        await self.owner.execute(
            "UPDATE operations SET finished_at = now() - $2 * interval '1 day',"
            " fetched_at = now() - $3::float8 * interval '1 day' WHERE id = $1",
            *(row.id, days_ago, fetched_days_ago),
        )
        return row

    async def end(self, row: OperationRow, outcome: DocumentOutcome) -> OperationEnd:
        claimed = await self.store.claim_one(row.id, 30)
        assert claimed is not None
        await self.store.record_outcomes(row.id, row.created_at, claimed.fence, [outcome])
        ended = await self.store.finish(row.id, row.created_at, claimed.fence)
        assert ended is not None
        return ended

    async def unfinished(self, name: str) -> OperationRow:
        upload = self.payloads.create(uuid4())
        upload.begin()
        upload.append([records.prepared_frame(PREPARED)])
        record = upload.commit(durable=True)
        row = await self.store.register(
            NewOperation(
                *(record.id, "A", name, "", Mode.ASYNC, self.instance, "h", 1),
                documents_digest=documents_digest([b"d"]),
                payload_record=record_bytes(record),
            ),
            [NewDocument(0, "d", "d.pdf", ContentType.PDF, 4096)],
        )
        upload.release()
        return row

    def stored(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*.spill")}


@pytest.fixture
async def house(connect_store: Connect, database_url: str, tmp_path: Path):
    instance, pool = uuid4(), ThreadPoolExecutor(1)
    store = await connect_store(instance)
    (spill := tmp_path / "spill").mkdir()
    trail = AuditTrail(store.database, instance)
    payloads, upkeep, ledger = LocalPayloads(spill), Upkeep(store.database, instance), Ledger(tmp_path / "ledger")
    writer = AuditWriter(trail, payloads, tmp_path / "audit", pool)
    retention = Retention(DAY, 7 * DAY, 31 * DAY, 3650 * DAY, 400 * DAY, 400 * DAY)
    purging = Purging(upkeep, payloads, ledger, pool)
    counting, sweeping = Counting(upkeep, payloads, ledger, pool), Sweeping(store, payloads, instance)
    rounds = Rounds(upkeep, counting, sweeping, purging, writer, retention)
    owner = await asyncpg.connect(database_url.replace("//batchseal@", "//batchseal_owner@"), server_settings=ALL_ROWS)
    yield House(store, instance, spill, payloads, rounds, purging, sweeping, trail, writer, owner)
    await owner.close()
    pool.shutdown()
    ledger.close()


async def test_payloads_go_when_their_time_has_come(house: House) -> None:
    gone = [
        await house.operation("fetched long ago", days_ago=2, fetched_days_ago=1.1),
        await house.operation("never fetched", days_ago=7.1),
    ]
    kept = [
        await house.operation("fetched lately", days_ago=6, fetched_days_ago=0.9),
        await house.operation("not fetched yet", days_ago=6.9),
        await house.unfinished("unfinished"),
    ]
    await house.writer.chain()
    await house.rounds.round()
    assert house.stored() == {str(row.payload_id) for row in kept}
    for row in gone:
        stored = await house.store.operation("A", row.id)
        assert stored is not None and stored.payload_purged
    # Purged or not, the same reference is not sealed twice by accident.
    with pytest.raises(ReferenceTaken):
        await house.unfinished("never fetched")


async def test_that_a_failed_one_was_fetched_counts_no_more_once_it_was_handed_in_again(house: House) -> None:
    row = await house.unfinished("again")
    await house.end(row, DocumentOutcome(0, refusal=Refusal(SignError.CERT_SERVICE_GLOBAL_ERROR, "refused")))
    await house.owner.execute("UPDATE operations SET fetched_at = now() - interval '0.9 days'")
    reopened = await house.store.reopen(row, [0])
    assert reopened is not None
    assert (await house.end(reopened, DocumentOutcome(0, 9))).failed == 0
    await house.owner.execute("UPDATE operations SET fetched_at = fetched_at - interval '0.2 days'")
    await house.rounds.round()
    assert await house.purging.make_room(1 << 40) == 0
    assert house.stored() == {str(row.payload_id)}


async def test_for_want_of_space_fetched_ones_go_oldest_first(house: House) -> None:
    await house.operation("1", fetched_days_ago=0.3)
    await house.operation("2", fetched_days_ago=0.2)
    others = [
        await house.operation("3", fetched_days_ago=0.1),
        await house.operation("4"),
        await house.unfinished("5"),
    ]
    await house.writer.chain()
    assert await house.purging.make_room(5000) == 8192
    assert house.stored() == {str(row.payload_id) for row in others}
    await house.purging.make_room(1 << 40)
    assert house.stored() == {str(row.payload_id) for row in others[1:]}


async def test_a_clock_that_jumped_suspends_purging(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.rounds.round()
    await house.operation("old", days_ago=8)
    for seconds in (7200.0, -7200.0, -400.0 * DAY):
        seen = await house.owner.fetchrow("SELECT * FROM housekeeping")
        # The clock is ahead of what the machine's uptime allows, or behind.
        await house.owner.execute("UPDATE housekeeping SET seen_at = seen_at - $1 * interval '1 second'", seconds)
        await house.rounds.round()
        assert len(house.stored()) == 1, "purged by a clock that jumped"
        noted = await house.owner.fetchrow("SELECT * FROM housekeeping")
        assert noted["purge_not_before"] > seen["seen_at"]
        await house.rounds.round()
        assert len(house.stored()) == 1, "the suspension does not last"
    await house.owner.execute("UPDATE housekeeping SET purge_not_before = now()")
    await house.rounds.round()
    assert house.stored() == set()


async def test_months_are_dropped_once_nothing_in_them_lives(house: House) -> None:
    await house.owner.execute("SELECT make_partition('2025-03-01')")
    row = await house.operation("old", days_ago=400, fetched_days_ago=399)
    await house.owner.execute("UPDATE operations SET created_at = '2025-03-05' WHERE id = $1", row.id)
    await house.owner.execute("UPDATE documents SET month = '2025-03-01'")
    upkeep = Upkeep(house.store.database, house.instance)
    month = date(2025, 3, 1)
    assert await upkeep.document_months(31 * DAY) == [month]
    assert not await upkeep.drop_documents(month), "dropped with a payload still there"
    await house.rounds.round()
    assert await upkeep.document_months(31 * DAY) == []
    assert await house.owner.fetchval("SELECT count(*) FROM documents") == 0
    assert await house.store.operation("A", row.id) is not None
    with pytest.raises(asyncpg.RaiseError):
        async with house.store.database.connection("A") as connection:
            await connection.fetchval("SELECT drop_documents('2025-04-01')")


async def test_references_are_free_after_ten_years(house: House) -> None:
    await house.operation("ancient", days_ago=3651)
    await house.operation("old", days_ago=3600)
    await house.rounds.round()
    assert await house.store.reference_holder("A", "ancient") is None
    assert await house.store.reference_holder("A", "old") is not None


# --- texts -------------------------------------------------------------------------------------------------------

TEXTS = {"description": "For Ms Maria", "name": "Maria.pdf", "cause": "Maria.pdf: no", "external_reference": "Maria 1"}
NONE_LEFT = dict.fromkeys(TEXTS, "")


async def with_texts(house: House, row: OperationRow) -> OperationRow:
    await house.owner.execute("UPDATE operations SET description = $2 WHERE id = $1", row.id, TEXTS["description"])
    await house.owner.execute(
        "UPDATE documents SET name = $2, cause = $3, external_reference = $4 WHERE operation_id = $1",
        *(row.id, TEXTS["name"], TEXTS["cause"], TEXTS["external_reference"]),
    )
    return row


async def texts(house: House, row: OperationRow) -> dict[str, str]:
    columns = "o.description, d.name, d.cause, d.external_reference"
    query = f"SELECT {columns} FROM operations o JOIN documents d ON d.operation_id = o.id WHERE o.id = $1"
    return dict(await house.owner.fetchrow(query, row.id))


async def test_texts_of_operations_go_after_their_time_and_the_rest_stays(house: House) -> None:
    old = await with_texts(house, await house.operation("old", days_ago=401))
    young = await with_texts(house, await house.operation("young", days_ago=399))
    unfinished = await with_texts(house, await house.unfinished("unfinished"))
    await house.owner.execute(
        "UPDATE operations SET created_at = created_at - interval '2 hours' WHERE id = $1", old.id
    )
    # Which may be the month before.
    await house.owner.execute("SELECT make_partition((now() - interval '2 hours')::date)")
    await house.owner.execute(
        "UPDATE documents d SET month = date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date FROM operations o"
        " WHERE o.id = d.operation_id"
    )
    before = await house.store.operation("A", old.id)
    for _ in range(2):
        await house.rounds.round()
    assert await texts(house, old) == NONE_LEFT | {"external_reference": TEXTS["external_reference"]}
    assert await texts(house, young) == await texts(house, unfinished) == TEXTS
    after = await house.store.operation("A", old.id)
    assert before is not None
    assert after == replace(before, description="", payload_purged=True, payload_record=b"", further_payloads=())
    with pytest.raises(ReferenceTaken):
        await house.unfinished("old")


async def test_texts_stay_as_long_as_a_payload_does(house: House) -> None:
    row = await with_texts(house, await house.operation("old", days_ago=401))
    assert await Upkeep(house.store.database, house.instance).remove_old_texts(400 * DAY) == 0
    assert await texts(house, row) == TEXTS


async def test_texts_that_an_operator_erases_are_gone_at_once(house: House) -> None:
    erasure = Erasure(house.store.database)
    one, other = [await with_texts(house, await house.operation(name)) for name in ("one", "other")]
    unfinished = await with_texts(house, await house.unfinished("unfinished"))
    found = Named(one.id, "A", True, False, True, None, one.payloads)
    assert await erasure.find("one", None) == await erasure.find("one", "A") == [found]
    assert await erasure.find("one", "B") == await erasure.find("two", None) == []
    await house.writer.chain()
    assert await erasure.find("one", "A") == [replace(found, entry_waits=False)]
    # What is under way, and a result that may still be fetched, are not taken away by accident.
    assert await erasure.erase([unfinished.id], with_payloads=True) == []
    assert await erasure.erase([one.id], with_payloads=False) == []
    entries = await erasure.erase([one.id], with_payloads=True)
    assert [Event(entry.event) for entry in entries] == [Event.PURGED, Event.ERASED]
    assert await house.trail.chain([(entry, b"", b"") for entry in entries], make_link) == 2
    assert (await chained(house)).problems == []
    assert [await texts(house, row) for row in (one, other, unfinished)] == [NONE_LEFT, TEXTS, TEXTS]
    assert await house.store.operation_of_document("A", TEXTS["external_reference"]) is None
    await house.sweeping.sweep()
    assert house.stored() == {str(other.payload_id), str(unfinished.payload_id)}
    with pytest.raises(ReferenceTaken):
        await house.unfinished("one")
    # Once more is no harm, and is told once more.
    assert [Event(entry.event) for entry in await erasure.erase([one.id], with_payloads=False)] == [Event.ERASED]
    assert await house.writer.chain() == 1
    assert (await chained(house)).problems == []


# --- the audit trail ---------------------------------------------------------------------------------------------


async def chained(house: House) -> Verifier:
    verifier = Verifier()
    await verifier.take_all(house.trail.read())
    return verifier


async def test_events_are_chained_in_order(house: House) -> None:
    row = await house.operation("one", days_ago=8)
    await house.store.mark_fetched("A", [row.id])
    await house.store.mark_fetched("A", [row.id])
    await house.rounds.round()
    assert await house.writer.chain() == 4
    entries = [entry async for entry in house.trail.read()]
    assert [Event(entry.event) for entry in entries] == [Event.REGISTERED, Event.FINISHED, Event.FETCHED, Event.PURGED]
    assert entries[0].digest == documents_digest([b"d"])
    assert (await chained(house)).problems == []


async def test_an_entry_whose_payload_cannot_be_read_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the later ones of its operation, but nobody else's, however many wait."""
    monkeypatch.setattr("batchseal.store.trail.ENTRIES_AT_ONCE", 2)
    away, gone, other = [await house.operation(name) for name in ("away", "gone", "other")]
    await house.store.mark_fetched("A", [away.id, other.id])
    (house.folder / f"{gone.payload_id}.spill").unlink()
    path = house.folder / f"{away.payload_id}.spill"
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(path)  # ELOOP: neither there nor gone
    for _ in range(4):
        await house.writer.chain()
    entries = [entry async for entry in house.trail.read()]
    chained_events = {(entry.operation_id, Event(entry.event)): entry for entry in entries}
    finished = [(row.id, event) for row in (gone, other) for event in (Event.REGISTERED, Event.FINISHED)]
    assert set(chained_events) == {(away.id, Event.REGISTERED), *finished, (other.id, Event.FETCHED)}
    assert chained_events[gone.id, Event.FINISHED].digest == b""
    path.unlink()
    path.with_suffix(".kept").rename(path)
    assert await house.writer.chain() == 2
    last = [entry async for entry in house.trail.read()][-2:]
    assert [(one.operation_id, one.event) for one in last] == [(away.id, Event.FINISHED), (away.id, Event.FETCHED)]
    assert last[0].digest == chained_events[other.id, Event.FINISHED].digest == documents_digest([b"document digest"])
    assert last[0].credential == b"fingerprint"


async def test_instances_that_chain_side_by_side_make_one_chain(house: House, connect_store: Connect) -> None:
    writers = [house.writer]
    others, pool = [await connect_store(uuid4()) for _ in range(3)], ThreadPoolExecutor(1)
    for number, store in enumerate(others):
        trail = AuditTrail(store.database, UUID(int=number))
        writers.append(AuditWriter(trail, house.payloads, house.folder, pool))
        for n in range(20):
            new = NewOperation(uuid4(), "A", f"{number} {n}", "", Mode.ASYNC, UUID(int=number), "h", 1)
            await store.register(new, [])
    await asyncio.gather(*(writer.chain() for writer in writers * 3))
    pool.shutdown()
    verifier = await chained(house)
    assert (verifier.entries, verifier.problems) == (60, [])


@pytest.mark.parametrize(
    "tampering", ["UPDATE audit SET signed = 7 WHERE position = 3", "DELETE FROM audit WHERE position = 3"]
)
async def test_tampering_is_found(house: House, tampering: str) -> None:
    for n in range(3):
        await house.operation(str(n))
    await house.writer.chain()
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await house.owner.execute(tampering)
    # Even an owner who takes the trigger away cannot mend the chain.
    await house.owner.execute("ALTER TABLE audit DISABLE TRIGGER append_only")
    for partition in await house.owner.fetch(
        "SELECT inhrelid::regclass::text AS t FROM pg_inherits WHERE inhparent = 'audit'::regclass"
    ):
        await house.owner.execute(f"ALTER TABLE {partition['t']} DISABLE TRIGGER append_only")
    await house.owner.execute(tampering)
    assert (await chained(house)).problems != []


async def test_a_month_is_exported_before_it_goes(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts: a month may have more entries than fit into the memory."""
    monkeypatch.setattr("batchseal.store.trail.EXPORTED_AT_ONCE", 4)
    for n in range(3):
        await house.operation(str(n))
    await house.writer.chain()
    # As if all that had been in March of last year.
    old = date(2025, 3, 1)
    await house.owner.execute("SELECT make_partition('2025-03-01')")
    entries = [replace(entry, month=old) async for entry in house.trail.read()]
    await house.owner.execute("TRUNCATE audit")
    verifier, link = Verifier(), bytes(32)
    for entry in entries:
        link = make_link(link, entry)
        await house.owner.execute(
            "INSERT INTO audit VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            *(entry.position, entry.at, entry.operation_id, old, entry.signed, entry.failed, entry.event),
            *(entry.client_service, entry.digest, entry.credential, link),
        )
    assert not await house.trail.drop(old), "dropped without an anchor"
    async with aclosing(house.trail.read_month(old)) as parts:
        assert len(await anext(parts)) == 4
    await house.writer.export_and_drop(100 * DAY)
    (path,) = (tmp_path / "audit").iterdir()
    verifier.take_lines(path.read_bytes().splitlines(), path.name)
    assert (verifier.problems, verifier.entries, verifier.link) == ([], 6, link)
    (anchor,) = await house.trail.anchors()
    assert (anchor.last_position, anchor.last_link) == (6, link)
    # The chain goes on from the anchor.
    await house.operation("new")
    await house.writer.chain()
    going_on = Verifier(anchor.last_position, anchor.last_link)
    await going_on.take_all(house.trail.read())
    assert (going_on.entries, going_on.problems) == (2, [])
