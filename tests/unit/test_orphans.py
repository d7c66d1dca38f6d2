"""When a sweep of a payload store of several instances deletes something, and when it doubts its rows and does not."""

import os
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.conformance.stores import stored
from tests.support.object_stores import Counted, SweptFolder, new_state

from batchseal.commands.erase import delete_documents
from batchseal.errors import ConfigurationError, PayloadUnavailable
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.orphans import OrphanPolicy, Orphans, accept, claim, owner_of
from batchseal.payloads.shared import FolderPlace
from batchseal.settings.load import Settings
from batchseal.store.identity import DatabaseState

HOUR, DAY = 3600, 86_400


class Volume:
    """A folder with payloads, the sweep of one database over it, and what was said."""

    def __init__(self, folder: Path, policy: OrphanPolicy | None = None) -> None:
        self.folder = folder
        self.payloads = SweptFolder(folder)
        self.database = self.payloads.database
        self.state = self.database.now
        self.rows = set[PayloadRecord]()
        self.alarms = list[str]()
        self.orphans = Orphans(self.payloads.place, policy or OrphanPolicy(), self.alarms.append)

    def create(self, payload_id: UUID):
        return self.payloads.create(payload_id)

    def store(self, *, age_seconds: float = 0) -> PayloadRecord:
        record = stored(self, [(FrameKind.DOCUMENT, 0, b"content")])  # type: ignore[arg-type]
        self.age(self.payloads.path(record.id), age_seconds)
        return record

    def mark(self, record: PayloadRecord) -> Path:
        return self.folder / "aside" / str(record.id)

    def age(self, path: Path, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(path, (then, then))

    async def sweep(self, state: DatabaseState | None = None) -> list[UUID]:
        async def live() -> AsyncGenerator[set[PayloadRecord], None]:
            yield set(self.rows)

        return await self.orphans.sweep(live, Counted(state) if state else self.database)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


# --- the two periods --------------------------------------------------------------------------------------------------


async def test_what_has_no_row_is_marked_after_a_day_and_deleted_a_week_later(volume: Volume) -> None:
    old, new, named = (volume.store(age_seconds=hours * HOUR) for hours in (25, 23, 1000))
    volume.rows.add(named)
    assert await volume.sweep() == []
    assert volume.mark(old).exists()
    assert not volume.mark(new).exists()
    volume.payloads.open(old).close()  # what is marked can be read all the same
    volume.age(volume.mark(old), 6 * DAY)
    assert await volume.sweep() == []
    volume.age(volume.mark(old), 7 * DAY + HOUR)
    assert await volume.sweep() == [old.id]
    assert set(volume.payloads.place.payloads()) == {new.id, named.id}
    assert volume.payloads.place.marks() == {}


async def test_a_row_that_comes_back_takes_the_mark_away(volume: Volume) -> None:
    record = volume.store(age_seconds=2 * DAY)
    await volume.sweep()
    volume.age(volume.mark(record), 30 * DAY)
    volume.rows.add(record)
    assert await volume.sweep() == []
    assert not volume.mark(record).exists()
    volume.payloads.open(record).close()


async def test_a_row_that_comes_in_the_last_moment_counts(volume: Volume) -> None:
    record, asked = volume.store(age_seconds=2 * DAY), 0
    await volume.sweep()
    volume.age(volume.mark(record), 8 * DAY)

    async def live() -> AsyncGenerator[set[PayloadRecord], None]:
        nonlocal asked
        asked += 1
        yield {record} if asked == 2 else set()

    assert await volume.orphans.sweep(live, volume.database) == []
    volume.payloads.open(record).close()


async def test_files_of_uploads_that_were_cut_off_go_after_the_first_period(volume: Volume) -> None:
    uploads = [volume.payloads.create(uuid4()) for _ in range(2)]
    for upload in uploads:
        upload.begin()
        upload.append([(FrameKind.DOCUMENT, 0, b"content")])
        upload.release()  # as a crash leaves it
    old, new = [volume.folder / "payloads" / f"{upload.payload_id}.part" for upload in uploads]
    volume.age(old, 25 * HOUR)
    assert await volume.sweep() == [uploads[0].payload_id]
    assert (old.exists(), new.exists()) == (False, True)


# --- doubts -----------------------------------------------------------------------------------------------------------


RESTORED = {
    "another cluster": {"system_identifier": 77},
    "restored to a point in time, or promoted": {"timeline": 2},
    "its files were put back": {"sweeps": 3},
    "another database": {"database": UUID(int=5)},
}


@pytest.mark.parametrize("change", RESTORED.values(), ids=RESTORED.keys())
async def test_nothing_is_deleted_where_the_rows_may_be_those_of_another_time(
    volume: Volume, change: dict[str, Any]
) -> None:
    state = replace(volume.state, sweeps=9)
    marked = volume.store(age_seconds=30 * DAY)
    await volume.sweep(state)
    volume.age(volume.mark(marked), 30 * DAY)
    unmarked = volume.store(age_seconds=30 * DAY)
    other = replace(state, **{"sweeps": 10, **change})
    volume.database = Counted(other)
    for _ in range(12):  # however often it tries: a sweep that is stopped does not count
        assert await volume.sweep() == []
    assert volume.alarms[-1]
    assert not volume.mark(unmarked).exists()
    volume.payloads.open(marked).close()
    if other.database == state.database:  # an operator has looked, and said so
        accept(volume.payloads.place, other)
        assert await volume.sweep(other) == [marked.id]
        assert volume.alarms[-1] == ""


async def test_each_further_sweep_of_the_same_database_is_trusted(volume: Volume) -> None:
    for sweeps in (1, 2, 5):
        await volume.sweep(replace(volume.state, sweeps=sweeps))
    assert volume.alarms == ["", "", ""]


@pytest.mark.parametrize(("orphans", "named", "stops"), [(3, 0, False), (4, 0, True), (4, 400, False), (6, 400, True)])
async def test_many_orphans_stop_a_sweep(tmp_path: Path, orphans: int, named: int, stops: bool) -> None:
    """However slowly they come: those that are marked already count as well."""
    volume = Volume(tmp_path, OrphanPolicy(most_payloads=3, most_percent=1.25))
    volume.rows |= {volume.store() for _ in range(named)}
    for _ in range(orphans):
        record = volume.store(age_seconds=2 * DAY)
        await volume.sweep()
    assert bool(volume.alarms[-1]) == stops
    assert volume.mark(record).exists() != stops


# --- whose payloads these are -----------------------------------------------------------------------------------------


def test_an_instance_of_another_database_is_refused(tmp_path: Path) -> None:
    place, first, second = FolderPlace(tmp_path, set), new_state(), new_state()
    claim(place, first)
    claim(place, replace(first, sweeps=12))
    with pytest.raises(ConfigurationError, match="belongs to the database"):
        claim(place, second)
    assert owner_of(place) == first.database


def test_of_two_databases_that_write_at_once_one_is_refused(tmp_path: Path) -> None:
    """The other one writes between the first look and the second."""
    first, second = new_state(), new_state()

    class Overtaken(FolderPlace):
        def write(self, name: str, content: bytes) -> None:
            super().write(name, content)
            super().write(name, content.replace(str(first.database).encode(), str(second.database).encode()))

    with pytest.raises(ConfigurationError):
        claim(Overtaken(tmp_path, set), first)
    claim(FolderPlace(tmp_path, set), second)


def test_a_folder_without_the_marker_of_a_database_that_has_stored_before_is_refused(tmp_path: Path) -> None:
    """The volume is not mounted: payloads would go to the disk below it."""
    state = replace(new_state(), sweeps=4)
    with pytest.raises(ConfigurationError, match="not mounted"):
        claim(FolderPlace(tmp_path, set), state)
    assert list(tmp_path.iterdir()) == []
    claim(FolderPlace(tmp_path, set), state, anew=True)
    assert owner_of(FolderPlace(tmp_path, set)) == state.database


def test_a_marker_that_is_damaged_is_not_replaced(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path, set)
    place.write("database.json", b"{")
    with pytest.raises(PayloadUnavailable):
        claim(place, new_state())


async def test_documents_that_are_erased_go_at_once(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    erased, kept = volume.store(), volume.store()
    settings = Settings(payload_store=f"shared:{volume.folder}")
    await delete_documents(settings, {erased.id})
    assert set(volume.payloads.place.payloads()) == {kept.id}
    await delete_documents(Settings(), {kept.id})
    await delete_documents(Settings(payload_store="shared:/nowhere/at/all"), {kept.id})
    assert "still stored" in capsys.readouterr().err


def test_payloads_without_a_marker_are_not_taken_for_ones_own(volume: Volume) -> None:
    """Somebody has removed the marker: a new database must not sweep what another one has stored."""
    record = volume.store()
    place = FolderPlace(volume.folder, set)
    (volume.folder / "database.json").unlink()
    with pytest.raises(ConfigurationError, match="whose they are"):
        claim(place, new_state())
    assert owner_of(place) is None
    claim(place, volume.state, anew=True)
    volume.payloads.open(record).close()
