"""A sweep looks at a bounded number of payloads, and the next one goes on behind them."""

from collections.abc import AsyncGenerator, Collection
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.segments import Segments


def stored(payloads: Payloads, content: bytes) -> PayloadRecord:
    upload = payloads.create(uuid4(), 1_000)
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


async def swept(payloads: Payloads, named: Collection[PayloadRecord]) -> list[UUID]:
    async def live() -> AsyncGenerator[list[PayloadRecord], None]:
        for record in named:
            yield [record]

    return await payloads.sweep(live)


async def test_a_sweep_goes_on_where_the_one_before_has_stopped(
    tmp_path: Path,
) -> None:
    """However many payloads there are, a sweep holds the names of so many."""
    payloads = LocalPayloads(tmp_path, files_at_once=2)
    records = [stored(payloads, b"content") for _ in range(7)]
    named, orphans = (
        {records[2], records[5]},
        sorted(str(one.id) for one in records if one not in (records[2], records[5])),
    )
    removed, sweeps = list[str](), 0
    while len(removed) < len(orphans):
        some = [str(one) for one in await swept(payloads, named)]
        assert len(some) <= 2 and min(some, default="g") > max(removed, default="")
        removed, sweeps = removed + sorted(some), sweeps + 1
        assert sweeps <= 4
    assert removed == orphans
    assert {UUID(path.stem) for path in payloads.folder.iterdir()} == {one.id for one in named}
    late = stored(payloads, b"content")
    for _ in range(2):  # the next one may be the end of the pass before
        await swept(payloads, named)
    assert not payloads.path(late.id).exists(), "the next pass begins anew"


async def test_a_sweep_goes_on_with_the_segments_that_the_one_before_has_left(
    tmp_path: Path,
) -> None:
    """However many payloads there are, a sweep holds so many, and looks for those alone among what is named."""
    store = PayloadsBySize(tmp_path, segment_bytes=64 << 10)
    store.segments = Segments(tmp_path, extents_at_once=1)
    stored_by_segment: dict[Any, list[PayloadRecord]] = {}
    while len(stored_by_segment) < 3:
        assert store.writer.make_ready()
        record = stored(store, b"x" * 9_000)
        stored_by_segment.setdefault(record.segment, []).append(record)
    store.writer.close()
    named = {those[0] for those in stored_by_segment.values()}
    orphans = [[one.id for one in stored_by_segment[segment][1:]] for segment in sorted(stored_by_segment)]
    assert [set(await swept(store, named)) for _ in range(3)] == [set(some) for some in orphans]
    assert [set(await swept(store, named)) for _ in range(3)] == [set(), set(), set()]
    assert {read(store, record) for record in named} == {b"x" * 9_000}
