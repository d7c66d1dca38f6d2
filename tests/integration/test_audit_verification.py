"""The end of the audit chain, and its daily verification: what it notes, and what it notices."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.operators import WHO, chained, operators, registered

from batchseal.audit.verification import DailyVerification, checked
from batchseal.store import Store
from batchseal.store.rows import AuditEntry
from batchseal.store.sessions import Session
from batchseal.store.trail import Anchor, AuditTrail
from batchseal.store.upkeep import Upkeep

Connect = Callable[..., Awaitable[Store]]
ALWAYS = 0.0


class House:
    """An instance with a chain of entries."""

    def __init__(self, store: Store, me: UUID) -> None:
        self.store, self.me = store, me
        self.trail = AuditTrail(store.database, me)
        self.upkeep = Upkeep(store.database, me)

    async def enter(self, count: int) -> None:
        for _ in range(count):
            await registered(self.store, self.me)
        await chained(self.trail)

    async def verify(self, **more: int) -> str:
        """A whole verification. Returns the first problem."""
        verification = DailyVerification(self.trail, every_seconds=ALWAYS, **more)
        before = await self.trail.verified()
        for _ in range(20):
            await verification.go_on_if_due()
            verified = await self.trail.verified()
            if verified is not None and (before is None or verified.at > before.at):
                return verified.problem
        raise AssertionError("the verification does not end")


@pytest.fixture
async def house(connect_store: Connect) -> House:
    me = uuid4()
    return House(await connect_store(me), me)


async def test_chaining_looks_at_the_end_of_the_chain_alone(
    house: House, sees_all_rows: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on in the month of the last entry, and no statement reads all entries of a month to find that out."""
    month: date = await sees_all_rows.fetchval(
        "SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')::date"
    )
    await sees_all_rows.execute(
        "INSERT INTO audit SELECT n, now(), 1, $1::date, 0, 0, 1, 'A', ''::bytea, ''::bytea, ''::bytea"
        " FROM generate_series(1, 20000) n",
        month,
    )
    await sees_all_rows.execute("ANALYZE audit")
    plans, fetch = list[str](), Session.fetch

    def explaining(asked: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(self: Session, query: str, *values: Any, **more: Any) -> Any:
            if "FROM audit\n" in query or query.endswith("FROM audit"):
                plans.extend(record[0] for record in await fetch(self, f"EXPLAIN {query}", *values))
            return await asked(self, query, *values, **more)

        return ask

    for name in ("fetch", "fetchrow", "fetchval"):
        monkeypatch.setattr(Session, name, explaining(getattr(Session, name)))
    await house.enter(1)
    assert any(f"audit_{month:%Y_%m}" in line for line in plans)
    assert not any(f"Seq Scan on audit_{month:%Y_%m}" in line for line in plans)
    assert await sees_all_rows.fetchval("SELECT month FROM audit WHERE position = 20001") == month


async def test_it_is_noted_when_the_chain_was_found_intact(house: House, database_url: str) -> None:
    assert (await house.upkeep.waiting()).verified_at == 0
    assert await house.verify() == ""
    await house.enter(7)
    assert await house.verify(entries_at_once=3) == ""
    verified = await house.trail.verified()
    assert verified is not None and verified.intact_at is not None
    assert (verified.position, verified.entries) == (7, 7)
    assert (await house.upkeep.waiting()).verified_at == pytest.approx(verified.intact_at.timestamp(), abs=0.01)
    # One that begins before the end looks at the last entries alone.
    assert await house.verify(most_entries=2) == ""
    verified = await house.trail.verified()
    assert verified is not None and (verified.position, verified.entries) == (7, 2)
    async with operators(database_url) as operator:
        assert (await operator.audit_state()).verified == verified
        assert await operator.alarms() == []


async def test_no_entry_is_left_out_however_many_have_come(house: House, database_url: str) -> None:
    """A million operations an hour make more entries in a day than a verification looks at again."""
    await house.enter(3)
    assert await house.verify(most_entries=2) == ""
    await house.enter(6)
    assert (await house.upkeep.waiting()).unverified == 6
    assert await house.verify(most_entries=2) == ""
    verified = await house.trail.verified()
    assert verified is not None and (verified.position, verified.entries) == (9, 6)
    assert (await house.upkeep.waiting()).unverified == 0
    # What comes next to an entry that was looked at is compared with it.
    await house.enter(6)
    await rewritten(database_url, "UPDATE audit SET signed = 99 WHERE position = 10")
    assert await house.verify(most_entries=2) == "entry 10 or the one before it was changed"


async def test_a_verification_of_many_entries_has_larger_parts(house: House) -> None:
    """It would take longer than a day otherwise."""
    await house.enter(9)
    verification = DailyVerification(house.trail, every_seconds=ALWAYS, entries_at_once=1, parts=2)
    for _ in range(2):
        await verification.go_on_if_due()
    assert await house.trail.verified() is None
    await verification.go_on_if_due()
    verified = await house.trail.verified()
    assert verified is not None and verified.entries == 9


async def test_it_is_not_due_twice_a_day(house: House) -> None:
    await house.enter(1)
    await house.verify()
    first = await house.trail.verified()
    await DailyVerification(house.trail).go_on_if_due()
    assert await house.trail.verified() == first


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE audit SET signed = 99 WHERE position = 3", "entry 3 or the one before it was changed"),
        ("DELETE FROM audit WHERE position = 3", "entry 3 is missing: 4 follows 2"),
        ("DELETE FROM audit WHERE position > 3", "the chain ends at entry 3, and had 5 when it was last verified"),
    ],
)
async def test_what_the_owner_of_the_database_changes_is_noticed(
    house: House, database_url: str, change: str, problem: str
) -> None:
    await house.enter(5)
    assert await house.verify() == ""
    intact = (await house.upkeep.waiting()).verified_at
    await rewritten(database_url, change)
    assert await house.verify() == problem
    assert (await house.upkeep.waiting()).verified_at == intact, "it counts only when the chain was intact"
    async with operators(database_url) as operator:
        assert [(one.kind, one.values["problem"]) for one in await operator.alarms()] == [("audit broken", problem)]


async def test_a_chain_that_was_written_anew_is_noticed(house: House, database_url: str) -> None:
    """Each of its links is right, but none is the one that the last verification has seen."""
    await house.enter(5)
    assert await house.verify() == ""
    statements = "DELETE FROM audit; DELETE FROM audit_anchors"
    await rewritten(database_url, statements)
    await house.enter(6)
    assert await house.verify() == "entry 5 had another link when the chain was last verified"


@pytest.mark.parametrize("change", ["DELETE FROM audit", "DELETE FROM audit WHERE position > 3"])
async def test_a_chain_that_was_cut_or_written_anew_stays_an_alarm_until_it_is_acknowledged(
    house: House, database_url: str, change: str
) -> None:
    await house.enter(5)
    assert await house.verify() == ""
    await rewritten(database_url, change)
    for count in (6, 1, 1):  # it grows beyond where it ended, and goes on
        await house.enter(count)
        assert await house.verify() == "entry 5 had another link when the chain was last verified"
    assert (await house.upkeep.waiting()).is_broken
    async with operators(database_url) as operator:
        (alarm,) = await operator.alarms()
        assert await operator.accept_chain(WHO) == alarm.values["problem"]
        assert (await operator.alarms(), await operator.accept_chain(WHO)) == ([], "")
        assert (
            (await operator.audit()).rows[0].detail.startswith("acknowledged that the audit trail is broken: entry 5")
        )
    assert not (await house.upkeep.waiting()).is_broken
    await house.enter(1)
    assert await house.verify() == ""
    await rewritten(database_url, "UPDATE audit SET signed = 99 WHERE position = (SELECT max(position) FROM audit)")
    assert "was changed" in await house.verify(), "what breaks later is an alarm again"


async def test_what_was_acknowledged_is_still_told_to_who_asks(house: House, database_url: str) -> None:
    await house.enter(5)
    await rewritten(database_url, "UPDATE audit SET signed = 99 WHERE position = 3")
    assert "entry 3" in await house.verify()
    async with operators(database_url) as operator:
        await operator.accept_chain(WHO)
    await house.enter(1)
    assert await house.verify() == ""
    verifier, problems = await checked(house.trail)
    assert (problems, verifier.acknowledged) == ([], ["entry 3 or the one before it was changed"])


async def test_what_was_broken_is_not_intact_since_it_was_exported(house: House, database_url: str) -> None:
    """Nor does a verification of the newest entries alone end the alarm; one does that finds all of it as it was."""
    await house.enter(5)
    await rewritten(database_url, "UPDATE audit SET signed = 99 WHERE position = 3")
    problem = await house.verify()
    assert problem
    assert await house.verify(most_entries=1) == problem
    await rewritten(database_url, "UPDATE audit SET signed = 0 WHERE position = 3")
    assert await house.verify() == ""
    await rewritten(database_url, "UPDATE audit SET signed = 99 WHERE position = 3")
    assert await house.verify() == problem
    (*_, last) = [entry async for entry in house.trail.read()]
    await house.trail.anchor(Anchor(last.month, 5, 5, last.link, "audit.jsonl"))
    await house.enter(1)
    assert await house.verify() == problem


async def test_what_is_exported_meanwhile_is_left_to_the_export(house: House, database_url: str) -> None:
    """A verification that is under way goes on behind the export: the entries before it may be gone."""
    await house.enter(6)
    verification = DailyVerification(house.trail, every_seconds=ALWAYS, entries_at_once=2)
    await verification.go_on_if_due()
    entries = [entry async for entry in house.trail.read()]
    await house.trail.anchor(Anchor(entries[3].month, 4, 4, entries[3].link, "audit.jsonl"))
    await rewritten(database_url, "DELETE FROM audit WHERE position <= 4")
    await verification.go_on_if_due()
    await verification.go_on_if_due()
    verified = await house.trail.verified()
    assert verified is not None and (verified.position, verified.problem) == (6, "")


async def test_what_is_exported_during_a_check_of_all_is_not_missing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.enter(6)
    entries = [entry async for entry in house.trail.read()]

    async def read(after: int = 0) -> AsyncIterator[AuditEntry]:
        """The entries 3 and 4 are exported and dropped once the first two were read."""
        for entry in entries[after:] if after else entries[:2] + entries[4:]:
            yield entry
            if entry.position == 2:
                await house.trail.anchor(Anchor(entries[3].month, 4, 4, entries[3].link, "audit.jsonl"))

    monkeypatch.setattr(house.trail, "read", read)
    verifier, problems = await checked(house.trail)
    assert (problems, verifier.position, verifier.entries) == ([], 6, 2)


async def test_whoever_asks_for_it_is_in_the_audit_trail(house: House, database_url: str) -> None:
    await house.enter(2)
    async with operators(database_url) as operator:
        await house.verify()
        verified = await house.trail.verified()
        assert verified is not None
        await operator.note_verified(WHO, verified, 0)
        (entry, *_) = (await operator.audit()).rows
        assert (entry.actor, entry.origin, entry.detail) == (
            *(WHO.name, WHO.origin),
            "checked 2 entries of the audit trail: intact",
        )


async def rewritten(database_url: str, statements: str) -> None:
    """Does what whoever owns the database can do."""
    connection = await asyncpg.connect(database_url.replace("//batchseal@", "//postgres@"))
    try:
        await connection.execute("SET search_path = batchseal; SET session_replication_role = replica")
        await connection.execute(statements)
    finally:
        await connection.close()
