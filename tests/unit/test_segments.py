"""Payloads that share segments: what the disk holds of them, and what a crash or damage leaves.

What holds for every store stands in tests/conformance.
"""

import ctypes
import errno
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.extents import ALIGNMENT, HEADER_BYTES, extents_of
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Upload
from batchseal.payloads.segments import Segments
from batchseal.system.holes import punch

RANDOM = random.Random(7)
DOCUMENT = FrameKind.DOCUMENT
SEGMENT_BYTES = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> PayloadsBySize:
    folder = tmp_path / "payloads"
    folder.mkdir()
    return ready(PayloadsBySize(folder, segment_bytes=SEGMENT_BYTES))


def ready(store: PayloadsBySize) -> PayloadsBySize:
    assert store.writer.make_ready()
    return store


def committed(store: PayloadsBySize, *contents: bytes) -> tuple[Upload, PayloadRecord]:
    upload = store.create(uuid4(), sum(map(len, contents)))
    upload.begin()
    upload.append((DOCUMENT, n, content) for n, content in enumerate(contents))
    return upload, upload.commit(durable=True)


def stored(store: PayloadsBySize, *contents: bytes) -> PayloadRecord:
    upload, record = committed(store, *contents)
    upload.release()
    return record


def read(store: PayloadsBySize, record: PayloadRecord) -> bytes:
    reader = store.open(record)
    try:
        return reader.read(DOCUMENT, 0)
    finally:
        reader.close()


def segment_of(store: PayloadsBySize, record: PayloadRecord) -> Path:
    assert record.segment is not None
    return store.segments.path(record.segment)


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


async def swept(store: PayloadsBySize, *named: PayloadRecord) -> set[UUID]:
    async def live() -> AsyncGenerator[list[PayloadRecord], None]:
        yield list(named)

    return set(await store.sweep(live))


# --- where a payload lies ---------------------------------------------------------------------------------------------


def test_small_payloads_share_a_file_in_which_any_process_finds_them(store: PayloadsBySize) -> None:
    contents = [RANDOM.randbytes(size) for size in (1, 4000, 200_000)]
    records = [stored(store, content) for content in contents]
    assert len({record.segment for record in records}) == 1
    assert not list(store.folder.glob("*.spill"))
    assert all(record.offset % ALIGNMENT == 0 for record in records)
    assert sum(record.stored_bytes for record in records) == store.stored_bytes()
    again = PayloadsBySize(store.folder)
    kept = [msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=PayloadRecord) for record in records]
    assert [read(again, record) for record in kept] == contents


@pytest.mark.parametrize("expected_bytes", [None, (1 << 20) + 1])
def test_what_is_large_or_of_unknown_size_is_a_file(store: PayloadsBySize, expected_bytes: int | None) -> None:
    upload = store.create(uuid4(), expected_bytes)
    assert not upload.begins_at_once
    upload.begin()
    assert upload.commit(durable=True).segment is None


def test_what_turns_out_to_be_large_becomes_a_file(store: PayloadsBySize) -> None:
    contents = [RANDOM.randbytes(900_000) for _ in range(3)]
    upload = store.create(uuid4(), 1000)
    upload.begin()
    for n, content in enumerate(contents):
        upload.append([(DOCUMENT, n, content)])
    record = upload.commit(durable=True)
    assert record.segment is None
    assert upload.stored_bytes == record.stored_bytes
    reader = store.open(record)
    assert [reader.read(DOCUMENT, n) for n in range(3)] == contents
    reader.close()
    upload.abandon()
    assert not list(store.folder.glob("*.spill"))


def test_many_small_frames_are_written_and_read(store: PayloadsBySize) -> None:
    """More buffers than the system takes at once."""
    record = stored(store, *(str(n).encode() * 20 for n in range(2000)))
    assert record.segment is not None
    reader = store.open(record)
    assert reader.ordinals(DOCUMENT) == set(range(2000))
    assert reader.read(DOCUMENT, 1999) == b"1999" * 20
    reader.close()


def test_without_a_segment_small_payloads_are_files_and_nobody_waits(tmp_path: Path) -> None:
    store = PayloadsBySize(tmp_path, segment_bytes=SEGMENT_BYTES)
    upload, record = committed(store, b"the first one")
    assert record.segment is None
    upload.release()
    ready(store)
    assert stored(store, b"the second one").segment is not None


def test_a_full_segment_is_followed_by_the_next(store: PayloadsBySize) -> None:
    records = []
    for _ in range(12):
        records.append(stored(store, RANDOM.randbytes(200_000)))
        ready(store)
    segments = {record.segment for record in records}
    assert len(segments - {None}) >= 3
    for record in records:
        assert len(read(store, record)) == 200_000
    # What was left of a full one went back to the disk.
    used = sum(record.stored_bytes for record in records)
    assert disk_bytes(store.folder) <= used + 2 * SEGMENT_BYTES + 100_000


def test_where_no_segment_can_be_made_small_payloads_are_files(tmp_path: Path) -> None:
    store = PayloadsBySize(tmp_path, segment_bytes=SEGMENT_BYTES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT_BYTES // 2, hard))
    try:
        assert not store.writer.make_ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert stored(store, b"content").segment is None


def test_a_segment_that_others_do_not_find_is_left(store: PayloadsBySize) -> None:
    """Somebody moved the folder away, and made another one."""
    stored(store, b"content")
    away = store.folder.with_name("away")
    store.folder.rename(away)
    store.folder.mkdir()
    try:
        record = stored(store, b"written where it is found")
        assert read(store, record) == b"written where it is found"
        assert not any(away.glob("*.spill"))
    finally:
        store.writer.close()


# --- deleting gives the space back --------------------------------------------------------------------------------------


def test_deleting_gives_the_space_back_at_once_and_the_file_in_the_end(store: PayloadsBySize) -> None:
    records = [stored(store, RANDOM.randbytes(100_000)) for _ in range(4)]
    before = disk_bytes(store.folder)
    freed = store.delete(records[:3])
    assert freed == sum(record.stored_bytes for record in records[:3])
    assert disk_bytes(store.folder) <= before - freed
    assert len(read(store, records[3])) == 100_000
    for record in records[:3]:
        with pytest.raises(PayloadDamaged, match="deleted"):
            store.open(record)
    path = segment_of(store, records[3])
    store.writer.close()
    assert path.exists()
    assert store.delete([records[3]]) == records[3].stored_bytes
    assert list(store.folder.iterdir()) == []
    assert store.delete(records) == 0


async def test_what_is_being_read_is_deleted_by_a_later_sweep(store: PayloadsBySize) -> None:
    record = stored(store, b"content" * 1000)
    reader = store.open(record)
    assert store.delete([record]) == 0
    assert await swept(store) == set()
    assert reader.read(DOCUMENT, 0) == b"content" * 1000
    reader.close()
    assert await swept(store) == {record.id}
    assert store.stored_bytes() == 0


def test_a_file_system_without_holes_gets_zeros(tmp_path: Path) -> None:
    def refuses(*_: object) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    with (tmp_path / "file").open("w+b") as file:
        file.write(b"x" * 300_000)
        file.flush()
        punch(file.fileno(), 4096, 200_000, refuses)
        assert (tmp_path / "file").read_bytes() == b"x" * 4096 + bytes(200_000) + b"x" * 95_904


# --- what a crash leaves ------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from uuid import uuid4
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.operation import record_bytes

store = PayloadsBySize(Path(sys.argv[1]), segment_bytes=1 << 20)
assert store.writer.make_ready()
for number in range(3):
    upload = store.create(uuid4(), 50_000)
    upload.begin()
    upload.append([(FrameKind.DOCUMENT, 0, bytes([number]) * 50_000)])
    print(record_bytes(upload.commit(durable=number == 0)).hex(), flush=True)
    if number == 0:
        upload.release()
sys.stdin.read()
"""


@contextmanager
def writer_process(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", list[PayloadRecord]]]:
    """A process that has committed three payloads. It holds the last two, as if their rows were being committed."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        yield process, [msgspec.msgpack.decode(bytes.fromhex(line), type=PayloadRecord) for line in lines]
    finally:
        process.kill()
        process.communicate()


async def test_a_killed_writer_leaves_what_rows_name_and_nothing_else(tmp_path: Path) -> None:
    store = PayloadsBySize(tmp_path)
    with writer_process(tmp_path) as (process, records):
        # They are read by others while they are registered, and no sweep takes them.
        assert [read(store, record) for record in records] == [bytes([n]) * 50_000 for n in range(3)]
        assert store.stored_bytes() == records[0].stored_bytes
        assert await swept(store, records[0]) == set()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert await swept(store, records[0], records[1]) == {records[2].id}
    assert [read(store, record) for record in records[:2]] == [bytes([n]) * 50_000 for n in range(2)]
    # The space that was made ahead went back to the disk.
    assert store.stored_bytes() == disk_bytes(tmp_path) == records[0].stored_bytes + records[1].stored_bytes
    assert await swept(store) == {records[0].id, records[1].id}
    assert os.listdir(tmp_path) == []


def overwritten(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_page_that_never_reached_the_disk_is_found(store: PayloadsBySize, lost: int) -> None:
    """A power cut left zeros in its place."""
    record = stored(store, RANDOM.randbytes(3000), RANDOM.randbytes(6000))
    overwritten(segment_of(store, record), record.offset + lost * ALIGNMENT, bytes(ALIGNMENT))
    if lost == 0:
        with pytest.raises(PayloadDamaged):
            read(store, record)
        return
    reader = store.open(record)
    assert reader.ordinals(DOCUMENT) == {0}
    with pytest.raises(PayloadDamaged):
        reader.read(DOCUMENT, 1)
    reader.close()


def test_any_flipped_bit_is_caught(store: PayloadsBySize) -> None:
    record = stored(store, RANDOM.randbytes(100), RANDOM.randbytes(100))
    contents = [read(store, record)]
    path = segment_of(store, record)
    good = path.read_bytes()
    for place in range(record.offset, record.offset + HEADER_BYTES + record.length):
        overwritten(path, place, bytes([good[place] ^ (1 << RANDOM.randrange(8))]))
        reader = store.open(record)
        for ordinal in reader.ordinals(DOCUMENT):
            assert ordinal == 1 or reader.read(DOCUMENT, 0) == contents[0]
        assert reader.ordinals(DOCUMENT), "damage of one frame costs that one alone"
        reader.close()
        overwritten(path, place, good[place : place + 1])


async def test_a_sweep_keeps_a_live_payload_whose_header_is_damaged(store: PayloadsBySize) -> None:
    first, last = stored(store, b"first" * 100), stored(store, b"last" * 100)
    path = segment_of(store, first)
    store.writer.close()
    overwritten(path, last.offset, b"damaged")
    assert await swept(store, first, last) == set()
    assert [read(store, first), read(store, last)] == [b"first" * 100, b"last" * 100]
    assert await swept(store, last) == {first.id}
    assert read(store, last) == b"last" * 100


async def test_what_has_lost_its_header_is_given_back(store: PayloadsBySize) -> None:
    """A power cut took the first page of a payload that no row names, and left the others."""
    lost, kept = stored(store, RANDOM.randbytes(20_000)), stored(store, b"kept")
    path = segment_of(store, lost)
    overwritten(path, lost.offset, bytes(ALIGNMENT))
    store.writer.close()
    assert await swept(store, kept) == set()
    assert disk_bytes(store.folder) == kept.stored_bytes
    assert read(store, kept) == b"kept"


def test_documents_that_look_like_places_are_none(store: PayloadsBySize) -> None:
    first = stored(store, b"innocent")
    path = segment_of(store, first)
    with path.open("rb") as file:
        header = os.pread(file.fileno(), HEADER_BYTES, first.offset)
    forged = bytearray(3 * ALIGNMENT)
    for at in range(0, len(forged) - HEADER_BYTES, 8):
        forged[at : at + HEADER_BYTES] = header
    second = stored(store, bytes(RANDOM.randbytes(4000)) + bytes(forged))
    assert first.segment is not None
    with path.open("rb") as file:
        found = {extent.payload_id for extent in extents_of(file.fileno(), first.segment)}
    assert found == {first.id, second.id}


# --- others in the folder -----------------------------------------------------------------------------------------------


async def test_a_segment_that_is_swept_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, list[Path]()

    def after_the_sweep(descriptor: int, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.glob("*.segment"))
            removed[0].unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_sweep)
    store = ready(PayloadsBySize(tmp_path, segment_bytes=SEGMENT_BYTES))
    assert removed
    assert read(store, stored(store, b"content")) == b"content"


def test_nothing_is_done_through_a_link(tmp_path: Path) -> None:
    segment = uuid4()
    (tmp_path / "elsewhere").write_bytes(b"precious" * 1000)
    folder = tmp_path / "spill"
    folder.mkdir()
    (folder / f"{segment}.segment").symlink_to(tmp_path / "elsewhere")
    store, record = Segments(folder), PayloadRecord(uuid4(), segment=segment, length=100)
    acts: list[Callable[[], object]] = [
        lambda: store.open(record),
        lambda: store.delete([record]),
        lambda: store.make_durable(record),
        store.stored_bytes,
    ]
    for act in acts:
        with pytest.raises(PayloadUnavailable):
            act()
    assert (tmp_path / "elsewhere").read_bytes() == b"precious" * 1000


def test_a_writer_that_has_ended_leaves_no_descriptor(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    store = ready(PayloadsBySize(tmp_path, segment_bytes=SEGMENT_BYTES))
    upload, _ = committed(store, b"content")
    store.writer.close()
    upload.release()
    assert set(os.listdir("/proc/self/fd")) <= before
