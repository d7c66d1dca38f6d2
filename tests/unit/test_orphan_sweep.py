"""The duty that sweeps what instances share: what it does at the start, and while the store is away."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.object_stores import SweptFolder, new_state

from batchseal.admission.ledger import Ledger
from batchseal.errors import ConfigurationError
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.orphans import claim, owner_of
from batchseal.payloads.shared import FolderPlace, SharedPayloads
from batchseal.settings.load import Settings
from batchseal.signer.duties.orphans import OrphanSweep
from batchseal.signer.duties.purging import Purging
from batchseal.store.identity import DatabaseState


class Database:
    """Says who it is, and counts the sweeps."""

    def __init__(self) -> None:
        self.state = new_state()
        self.asked = 0

    def connection(self) -> "Database":
        return self

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def fetchrow(self, query: str) -> dict[str, Any]:
        self.asked += 1
        if "UPDATE" in query:
            self.state = replace(self.state, sweeps=self.state.sweeps + 1)
        state: DatabaseState = self.state
        return {
            "id": state.database,
            "system_identifier": state.system_identifier,
            "timeline": state.timeline,
            "sweeps": state.sweeps,
        }

    def transaction(self) -> "Database":
        return self

    async def cursor(self, query: str) -> "Database":
        return self

    async def fetch(self, count: int) -> list[Any]:
        return []


def duty(database: Database, payloads: Any) -> OrphanSweep:
    return OrphanSweep(database, payloads, Settings())  # type: ignore[arg-type]


async def test_a_store_of_one_instance_alone_asks_nothing(tmp_path: Path) -> None:
    database = Database()
    sweep = duty(database, LocalPayloads(tmp_path))
    await sweep.claim()
    await sweep.sweep()
    assert (database.asked, sweep.said) == (0, "")


async def test_a_store_that_is_away_at_the_start_gets_its_marker_later(tmp_path: Path) -> None:
    database, volume = Database(), tmp_path / "volume"
    sweep = duty(database, SharedPayloads(volume))
    await sweep.claim()
    volume.mkdir()
    await sweep.claim_later()
    assert owner_of(FolderPlace(volume, set)) == database.state.database
    asked = database.asked
    await sweep.claim_later()
    assert database.asked == asked, "once is enough"


async def test_a_store_of_another_database_is_refused_at_the_start_and_named_later(tmp_path: Path) -> None:
    claim(FolderPlace(tmp_path, set), new_state())
    sweep = duty(Database(), SharedPayloads(tmp_path))
    with pytest.raises(ConfigurationError):
        await sweep.claim()
    await sweep.claim_later()
    assert "belongs to the database" in sweep.said


async def test_what_stopped_a_sweep_is_said_until_one_goes_through(tmp_path: Path) -> None:
    database = Database()
    payloads = SweptFolder(tmp_path)
    database.state = payloads.database.now
    sweep = duty(database, payloads)
    await sweep.sweep()
    assert sweep.said == ""
    database.state = replace(database.state, timeline=2)
    await sweep.sweep()
    assert "timeline" in sweep.said
    database.state = replace(database.state, timeline=1)
    await sweep.sweep()
    assert (sweep.said, database.state.sweeps) == ("", 2), "a sweep that was stopped counts"


class Due:
    """Rows of which one payload has had its time, another one could make room, and an operator wants a third one purged."""

    def __init__(self) -> None:
        self.rows = {"due": {1: object()}, "for room": {2: object()}, "asked": {3: object()}}
        self.marked = list[list[int]]()
        self.backed_up = False

    async def is_being_backed_up(self) -> bool:
        return self.backed_up

    async def purgeable(self, *_: float, shared: bool = False) -> dict[int, Any]:
        return self.rows["due"]

    async def purge_asked(self, *, shared: bool = False) -> dict[int, Any]:
        return self.rows["asked"]

    async def purgeable_for_room(self, client_service: str) -> dict[int, Any]:
        return self.rows["for room"]

    async def mark_purged(self, operation_ids: list[int], *, unless_backed_up: bool = False) -> dict[int, Any]:
        self.marked.append(operation_ids)
        self.rows = {name: {} for name in self.rows}
        return {}


@pytest.mark.parametrize(
    ("change", "keeps"),
    [({}, False), ({"timeline": 2}, False), ({"system_identifier": 77}, True), ({"sweeps": 0}, True)],
    ids=["as it was", "a standby was promoted", "a copy in another cluster", "its files were put back"],
)
async def test_a_database_of_another_time_purges_nothing_that_instances_share(
    tmp_path: Path, change: dict[str, Any], keeps: bool
) -> None:
    """Else a copy of the database would delete what the one that it was made of still needs."""
    database, rows = Database(), Due()
    (tmp_path / "volume").mkdir()
    payloads = SweptFolder(tmp_path / "volume")
    database.state = payloads.database.now
    sweep = duty(database, payloads)
    await sweep.sweep()
    database.state = replace(database.state, **change)
    with ThreadPoolExecutor(1) as pool:
        ledger = Ledger(tmp_path / "ledger")
        purging = Purging(rows, payloads, ledger, pool, sweep.keeps)  # type: ignore[arg-type]
        await purging.purge_due(1, 1, shared=True)
        rows.rows["for room"] = {2: object()}
        await purging.make_room(1)
        rows.rows["asked"] = {3: object()}
        await purging.purge_asked(shared=True)
        ledger.close()
    assert rows.marked == ([] if keeps else [[1], [2], [3]])
    assert ("payloads are not purged" in sweep.said) == keeps
    database.state = replace(payloads.database.now, sweeps=9)
    assert (await sweep.keeps(), sweep.said) == ("", "")


async def test_nothing_is_purged_while_a_backup_is_made(tmp_path: Path) -> None:
    """Neither what has had its time, nor what an operator wants purged, nor what would make room: it has still to be read."""
    rows = Due()
    with ThreadPoolExecutor(1) as pool:
        ledger = Ledger(tmp_path / "ledger")
        purging = Purging(rows, LocalPayloads(tmp_path), ledger, pool)  # type: ignore[arg-type]
        rows.backed_up = True
        await purging.purge_asked()
        await purging.purge_due(1, 1)
        await purging.make_room(1)
        assert rows.marked == []
        rows.backed_up = False
        await purging.purge_asked()
        ledger.close()
    assert rows.marked == [[3]]
