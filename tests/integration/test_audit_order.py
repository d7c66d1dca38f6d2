"""What the audit trail waits for, and what waits for the audit trail."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from tests.support.house import House, running_house
from tests.support.memory_payloads import MemoryPayloads
from tests.support.parts import Connect
from tests.support.upstream import CONTENTS

from batchseal.audit.chain import Event
from batchseal.audit.verification import DailyVerification
from batchseal.audit.writer import AuditWriter
from batchseal.errors import ConfigurationError
from batchseal.store.trail import AuditTrail

DAY = 86_400


@pytest.fixture
async def house(connect_store: Connect, database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(connect_store, database_url, MemoryPayloads(), tmp_path) as house:
        yield house


async def digests(house: House) -> dict[int, bytes]:
    """Those of the ends that are in the chain, by operation."""
    trail = AuditTrail(house.parts.store.database, house.parts.store.instance)
    return {entry.operation_id: entry.digest async for entry in trail.read() if entry.event == Event.FINISHED}


async def test_a_fetched_result_is_not_purged_before_its_end_is_in_the_audit_trail(house: House) -> None:
    """The entry is computed from the payload."""
    row = await house.submit("fetched", CONTENTS[:2])
    await house.finished(row.id)
    await house.owner.execute("UPDATE operations SET fetched_at = now() - interval '2 days'")
    for purged in (False, True):
        if not purged:
            assert await house.purging.make_room(1 << 40) == 0
        await house.purging.purge_due(DAY, 7 * DAY)
        assert (await house.row(row.id)).payload_purged == purged
        await house.audit.chain()
    assert len((await digests(house))[row.id]) == 32


async def test_how_long_a_result_may_stay_at_most_holds_whatever_is_in_the_way_of_the_trail(
    house: House, tmp_path: Path
) -> None:
    row = await house.submit("old", CONTENTS[:2])
    await house.finished(row.id)
    await house.owner.execute("UPDATE operations SET finished_at = now() - interval '8 days', fetched_at = now()")
    await house.purging.purge_due(DAY, 7 * DAY)
    assert (await house.row(row.id)).payload_purged
    with ThreadPoolExecutor(1) as pool:  # the signer of another start, which does not know what it has signed
        await AuditWriter(house.trail, house.parts.payloads, tmp_path, pool).chain()
    assert (await digests(house))[row.id] == b""


async def test_an_entry_of_an_event_that_only_a_later_release_knows_waits(
    house: House, sees_all_rows: asyncpg.Connection
) -> None:
    """While a rolling upgrade lasts, an instance of the later release writes such entries, and chains them."""
    later, other = [(await house.submit(name, CONTENTS[:1])).id for name in ("later", "other")]
    for row_id in (later, other):
        await house.finished(row_id)
    await sees_all_rows.execute("UPDATE audit_pending SET event = 99 WHERE operation_id = $1 AND event = 1", later)
    trail = AuditTrail(house.parts.store.database, house.parts.store.instance)
    assert await house.audit.chain() == 2
    assert await house.audit.chain() == 0
    entries = [entry async for entry in trail.read()]
    assert [(e.operation_id, e.event) for e in entries] == [(other, Event.REGISTERED), (other, Event.FINISHED)]
    waiting = await trail.pending()
    assert [(e.operation_id, e.event) for e in waiting] == [(later, 99), (later, Event.FINISHED)]
    # Of a chain that has one, this release cannot say whether it is intact. It says so, and calls nothing broken.
    await trail.chain([(waiting[0], b"", b"")], lambda link, entry: bytes(32))
    with pytest.raises(ConfigurationError, match="later release"):
        await DailyVerification(trail).go_on_if_due()
    assert await trail.verified() is None
