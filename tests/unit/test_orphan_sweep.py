"""The duty that sweeps what instances share: what it does at the start, and while the store is away."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.object_stores import SweptFolder, new_state

from batchseal.errors import ConfigurationError
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.orphans import claim, owner_of
from batchseal.payloads.shared import FolderPlace, SharedPayloads
from batchseal.settings.load import Settings
from batchseal.signer.duties.orphans import OrphanSweep
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

    async def fetch(self, query: str) -> list[Any]:
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
    database.state = payloads.state
    sweep = duty(database, payloads)
    await sweep.sweep()
    assert sweep.said == ""
    database.state = replace(database.state, timeline=2)
    await sweep.sweep()
    assert "timeline" in sweep.said
    database.state = replace(database.state, timeline=1)
    await sweep.sweep()
    assert (sweep.said, database.state.sweeps) == ("", 3)
