"""An instance that is given a shared payload store still has what lies in its own folder."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from batchseal.errors import PayloadDamaged
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.operation import record_bytes
from batchseal.payloads.orphans import claim
from batchseal.payloads.stores import payload_store
from batchseal.settings.load import Settings
from batchseal.signer.duties.sweeping import Sweeping
from batchseal.store.identity import DatabaseState
from batchseal.store.rows import PayloadColumns


def written(payloads: Payloads, content: bytes, expected_bytes: int | None = None) -> PayloadRecord:
    upload = payloads.create(uuid4(), expected_bytes)
    upload.begin()
    upload.append([(FrameKind.DOCUMENT, 0, content)])
    record = upload.commit(durable=True)
    upload.release()
    return record


def read(payloads: Payloads, record: PayloadRecord) -> bytes:
    reader = payloads.open(record)
    try:
        return reader.read(FrameKind.DOCUMENT, 0)
    finally:
        reader.close()


def test_what_lies_in_the_folder_of_before_is_read_and_deleted_there(tmp_path: Path) -> None:
    volume, spill = tmp_path / "volume", tmp_path / "spill"
    volume.mkdir()
    spill.mkdir(mode=0o700)
    before = PayloadsBySize(spill)
    before.writer.make_ready()
    records = [written(before, b"a file"), written(before, b"in a segment", 100)]
    assert [record.segment is None for record in records] == [True, False]
    before.writer.close()

    now = payload_store(Settings(temp_folder=tmp_path, payload_store=f"shared:{volume}"))
    assert now.name == "shared"
    assert now.place is not None
    claim(now.place, DatabaseState(uuid4(), 1, 1, 0))
    records.append(written(now, b"on the volume"))
    assert set(now.place.payloads()) == {records[2].id}
    assert [read(now, record) for record in records] == [b"a file", b"in a segment", b"on the volume"]
    for record in records:
        now.make_durable(record)
    assert now.stored_bytes() > before.stored_bytes() > 0
    now.delete(records)
    assert now.stored_bytes() == 0
    assert list(spill.iterdir()) == []
    for record in records:
        with pytest.raises(PayloadDamaged):
            now.open(record)


class Rows:
    """A `Store` of an instance that has an operation in its folder, and shares a payload store in which there is another one."""

    shared = "shared"

    def __init__(self, own: PayloadRecord, others: PayloadRecord) -> None:
        self.own, self.others = ([PayloadColumns(one.id, record_bytes(one), ())] for one in (own, others))

    async def live_payloads(self, instance: UUID) -> AsyncGenerator[list[PayloadColumns], None]:
        yield list(self.own)

    async def live_payloads_in(self, payload_store: str) -> AsyncGenerator[list[PayloadColumns], None]:
        yield list(self.others)


async def test_what_a_crash_has_left_in_the_folder_is_swept_and_nothing_else(tmp_path: Path) -> None:
    volume, spill = tmp_path / "volume", tmp_path / "spill"
    volume.mkdir()
    spill.mkdir(mode=0o700)
    before = PayloadsBySize(spill)
    named = written(before, b"named")
    written(before, b"of an upload that a crash cut off")
    now = payload_store(Settings(temp_folder=tmp_path, payload_store=f"shared:{volume}"))
    assert now.place is not None
    claim(now.place, DatabaseState(uuid4(), 1, 1, 0))
    on_the_volume = written(now, b"on the volume")
    rows: Any = Rows(on_the_volume, on_the_volume)
    await Sweeping(rows, now, uuid4()).sweep()
    assert len(list(spill.iterdir())) == 2, "a database that knows nothing of the folder may be another one"
    rows = Rows(named, on_the_volume)
    await Sweeping(rows, now, uuid4()).sweep()
    assert [path.stem for path in spill.iterdir()] == [str(named.id)]
    assert read(now, named) == b"named"
