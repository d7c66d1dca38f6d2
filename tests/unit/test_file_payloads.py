"""Payloads as files: what the operating system says and does. What holds for every store stands in tests/conformance."""

import errno
import fcntl
import os
import random
import resource
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import xxhash
import zstandard

from batchseal.errors import NoSpace, PayloadDamaged, PayloadUnavailable
from batchseal.payloads import local
from batchseal.payloads.frames import HEADER_BYTES, ZSTD, FrameHeader, FrameKind, pack_header, unpack_header
from batchseal.payloads.interface import Encryption, PayloadRecord
from batchseal.payloads.local import LocalPayloads
from batchseal.payloads.operation import OperationReader
from batchseal.payloads.reader import FileReader
from batchseal.payloads.writer import FileUpload

RANDOM = random.Random(7)
DOCUMENT = FrameKind.DOCUMENT


def begun(payloads: LocalPayloads) -> FileUpload:
    upload = payloads.create(uuid4())
    upload.begin()
    return upload


def stored(payloads: LocalPayloads, contents: list[bytes]) -> PayloadRecord:
    upload = begun(payloads)
    upload.append((DOCUMENT, n, content) for n, content in enumerate(contents))
    record = upload.commit(durable=True)
    upload.release()
    return record


@pytest.fixture
def payloads(tmp_path: Path) -> LocalPayloads:
    return LocalPayloads(tmp_path)


@contextmanager
def no_descriptor_lost(folder: Path) -> Iterator[None]:
    """What is open in `folder` is the same before and after. Threads of other tests may open and close something else."""
    before = open_below(folder)
    yield
    assert open_below(folder) == before


def open_below(folder: Path) -> list[str]:
    """The paths in `folder`, and its own, that descriptors of this process stand for."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # another thread has closed it
            paths.append(os.readlink(f"/proc/self/fd/{name}"))
    return sorted(path for path in paths if path.startswith(str(folder)))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


# --- frames in a file --------------------------------------------------------------------------------------------


def test_only_what_shrinks_is_compressed(payloads: LocalPayloads) -> None:
    upload = begun(payloads)
    deflated, xml = RANDOM.randbytes(200_000), b"<line>12.50</line>" * 10_000
    sizes = upload.append([(DOCUMENT, 0, deflated), (DOCUMENT, 1, xml)])
    assert sizes[0] == len(deflated)
    assert sizes[1] < len(xml) / 10
    assert upload.stored_bytes == sum(sizes) + 2 * HEADER_BYTES == upload.path.stat().st_size
    upload.abandon()


def test_a_large_document_is_stored_as_it_is(payloads: LocalPayloads) -> None:
    """Unpacking it would hold a window of 2 MB for everybody who fetches it."""
    upload = begun(payloads)
    largest, larger = b"<line>12.50</line>" * 58_254, b"<line>12.50</line>" * 58_255
    sizes = upload.append([(DOCUMENT, 0, largest), (DOCUMENT, 1, larger)])
    assert len(largest) <= 1 << 20 < len(larger)
    assert sizes[0] < len(largest) / 10
    assert sizes[1] == len(larger)
    upload.abandon()


def test_a_large_document_that_an_earlier_release_compressed_is_read_in_pieces(payloads: LocalPayloads) -> None:
    content, payload_id = RANDOM.randbytes(1_500_000).hex().encode(), uuid4()
    packed = zstandard.ZstdCompressor(level=3).compress(content)
    header = FrameHeader(DOCUMENT, ZSTD, 0, len(content), len(packed), xxhash.xxh3_64_intdigest(packed))
    payloads.path(payload_id).write_bytes(pack_header(header, payload_id, 0) + packed)
    with payloads.open(PayloadRecord(payload_id)) as reader:
        checked = reader.checked(DOCUMENT, 0)
        assert checked.total_bytes == len(content)
        assert b"".join(checked.read(at, at + 49_152) for at in range(0, len(content), 49_152)) == content
        assert checked.read(1_000_000, 1_000_050) == content[1_000_000:1_000_050]
        assert checked.read(10, 20) == content[10:20]
        flip(payloads.path(payload_id), HEADER_BYTES + 100_000)
        with pytest.raises(PayloadDamaged, match="changed"):
            checked.read(0, len(content))


@pytest.mark.parametrize("place", ["header", "content"])
def test_damage_is_recognised_and_neighbours_stay(payloads: LocalPayloads, place: str) -> None:
    contents = [RANDOM.randbytes(5000) for _ in range(5)]
    record = stored(payloads, contents)
    frame = HEADER_BYTES + 5000
    flip(payloads.path(record.id), 2 * frame + (10 if place == "header" else HEADER_BYTES + 99))
    with payloads.open(record) as reader:
        with pytest.raises(PayloadDamaged, match="2"):
            reader.read(DOCUMENT, 2)
        for n in (0, 1, 3, 4):
            assert reader.read(DOCUMENT, n) == contents[n]


def test_any_flipped_bit_of_a_small_file_is_caught(payloads: LocalPayloads) -> None:
    contents = [b"<xml/>" * 30, RANDOM.randbytes(60)]
    record = stored(payloads, contents)
    path = payloads.path(record.id)
    whole = path.read_bytes()
    for offset in range(len(whole)):
        flip(path, offset)
        with payloads.open(record) as reader:
            good = 0
            for n, content in enumerate(contents):
                try:
                    assert reader.read(DOCUMENT, n) == content
                    good += 1
                except PayloadDamaged:
                    pass
            assert good == 1, offset
        path.write_bytes(whole)


def test_a_half_written_last_frame_is_left_out_wherever_it_ends(payloads: LocalPayloads) -> None:
    record = stored(payloads, [b"one" * 100, b"two" * 100])
    path = payloads.path(record.id)
    first_bytes = HEADER_BYTES + path.read_bytes().index(b"BSF1", 1) - HEADER_BYTES
    for cut in reversed(range(first_bytes, path.stat().st_size)):
        os.truncate(path, cut)
        with payloads.open(record) as reader:
            assert reader.ordinals(DOCUMENT) == {0}
            assert reader.read(DOCUMENT, 0) == b"one" * 100


def test_bytes_of_a_document_never_pass_for_a_header() -> None:
    payload, other = uuid4(), uuid4()
    header = FrameHeader(DOCUMENT, 0, 3, 10, 10, 1)
    packed = pack_header(header, payload, 640)
    assert unpack_header(packed, payload, 640) == header
    assert unpack_header(packed, payload, 641) is None
    assert unpack_header(packed, other, 640) is None


# --- what the operating system cannot give just now ---------------------------------------------------------------


def test_a_folder_that_is_not_there_is_tried_again(payloads: LocalPayloads) -> None:
    record, folder = stored(payloads, [b"content"]), payloads.folder
    away = folder.with_name("away")
    folder.rename(away)
    with pytest.raises(PayloadUnavailable, match="folder"):
        payloads.open(record)
    with pytest.raises(PayloadUnavailable, match="folder"):
        payloads.make_durable(record)
    away.rename(folder)
    with payloads.open(record) as reader:
        assert reader.read(DOCUMENT, 0) == b"content"
    payloads.make_durable(record)


def test_without_a_free_descriptor_it_is_tried_again(payloads: LocalPayloads) -> None:
    record = stored(payloads, [b"content"])
    reader = payloads.open(record)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for attempt in (payloads.open, payloads.make_durable):
            with pytest.raises(PayloadUnavailable, match="Too many open files"):
                attempt(record)
        with pytest.raises(PayloadUnavailable, match="Too many open files"):
            payloads.stored_bytes()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert reader.read(DOCUMENT, 0) == b"content"
    reader.close()


@pytest.mark.parametrize("number", [errno.ENFILE, errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM, errno.ENOTDIR])
def test_other_reasons_are_tried_again(payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    record = stored(payloads, [b"content"])

    def failing(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(PayloadUnavailable):
            payloads.open(record)


@pytest.mark.parametrize("call", ["fsync", "unlink", "statvfs", "stat"])
def test_other_calls_that_fail_are_tried_again(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    record = stored(payloads, [b"content"])
    attempts: dict[str, Callable[[], object]] = {
        "fsync": lambda: payloads.make_durable(record),
        "unlink": lambda: payloads.delete([record]),
        "statvfs": payloads.free_bytes,
        "stat": payloads.stored_bytes,
    }

    def failing(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, no_descriptor_lost(payloads.folder):
        patch.setattr(os, call, failing)
        with pytest.raises(PayloadUnavailable, match="Input/output error"):
            attempts[call]()


@pytest.mark.parametrize("problem", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_read_that_fails_is_tried_again(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    record = stored(payloads, [b"content"])
    with no_descriptor_lost(payloads.folder), payloads.open(record) as reader, monkeypatch.context() as patch:

        def failing(*_: object) -> bytes:
            raise problem

        patch.setattr(os, "pread", failing)
        for attempt in (
            lambda: reader.read(DOCUMENT, 0),
            lambda: reader.ordinals(DOCUMENT),
            lambda: payloads.open(record),
        ):
            with pytest.raises(PayloadUnavailable):
                attempt()


def test_a_read_that_stops_in_the_middle_is_no_damage(payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch) -> None:
    """In front of a page that the disk cannot give now, a system call returns what it has."""
    contents, pread = [RANDOM.randbytes(9000) for _ in range(3)], os.pread
    record = stored(payloads, contents)
    monkeypatch.setattr(os, "pread", lambda descriptor, count, offset: pread(descriptor, min(count, 7), offset))
    with payloads.open(record) as reader:
        assert [reader.read(DOCUMENT, n) for n in range(3)] == contents


def test_several_payloads_that_cannot_all_be_opened_leave_none_open(payloads: LocalPayloads) -> None:
    first, second = stored(payloads, [b"first"]), stored(payloads, [b"second"])
    first = msgspec.structs.replace(first, encryption=Encryption("a key that is not here", b"", b""))
    with no_descriptor_lost(payloads.folder), pytest.raises(PayloadUnavailable):
        OperationReader(payloads, [first, second]).open()


# --- an upload that the disk refuses ------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_synced_is_no_space(payloads: LocalPayloads) -> None:
    upload = begun(payloads)
    away = payloads.folder.with_name("away")
    payloads.folder.rename(away)
    with pytest.raises(NoSpace):
        upload.publish()
    with pytest.raises(NoSpace):
        upload.commit(durable=True)
    upload.release()
    with pytest.raises(NoSpace):
        payloads.create(uuid4()).begin()


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_file_that_cannot_be_synced_is_no_space(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    upload = begun(payloads)

    def failing(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(NoSpace, match="No space left"):
        upload.flush() if call == "fdatasync" else upload.commit(durable=True)
    upload.abandon()
    assert not list(payloads.folder.iterdir())


# --- the lock that tells a sweep who writes -------------------------------------------------------------------------


def unlocked(payloads: LocalPayloads) -> FileUpload:
    """As an upload's file is for the moment between its creation and its lock, and after its release."""
    upload = payloads.create(uuid4())
    upload.path.touch()
    return upload


async def swept(payloads: LocalPayloads, *answers: Callable[[], set[PayloadRecord]]) -> list[UUID]:
    """A sweep that is told what is live by each of `answers` in turn."""
    said = iter(answers)

    async def live() -> AsyncGenerator[set[PayloadRecord], None]:
        yield next(said)()

    return await payloads.sweep(live)


async def test_an_upload_that_was_seen_before_its_lock_stays(payloads: LocalPayloads) -> None:
    uploading, descriptors = unlocked(payloads), list[int]()

    def none_yet() -> set[PayloadRecord]:
        descriptors.append(os.open(uploading.path, os.O_WRONLY))
        fcntl.flock(descriptors[0], fcntl.LOCK_EX)
        return set()

    assert await swept(payloads, none_yet) == []
    assert uploading.path.exists()
    os.close(descriptors[0])


async def test_one_that_is_registered_by_then_stays(payloads: LocalPayloads) -> None:
    registered = unlocked(payloads)
    assert await swept(payloads, set, lambda: {PayloadRecord(registered.payload_id)}) == []
    assert registered.path.exists()


def test_a_file_that_was_swept_before_its_lock_is_made_again(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, flock, removed = payloads.create(uuid4()), fcntl.flock, list[Path]()

    def after_the_sweep(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(upload.path)
            upload.path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_sweep)
    with no_descriptor_lost(payloads.folder):
        upload.begin()
        upload.append([(DOCUMENT, 0, b"content")])
        with FileReader(upload.path, upload.payload_id) as reader:
            assert reader.read(DOCUMENT, 0) == b"content"
        upload.abandon()
    assert removed
    assert not list(payloads.folder.iterdir())


async def test_a_file_of_another_name_is_left_alone(payloads: LocalPayloads) -> None:
    others = [payloads.folder / "notes.spill", payloads.folder / f"{uuid4()}.kept"]
    for path in others:
        path.write_text("somebody else's")
    assert await swept(payloads, set, set) == []
    assert all(path.exists() for path in others)


async def test_without_a_free_descriptor_it_is_left_to_the_next_sweep(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it has opened until then is closed: the process lives on."""
    orphans, opened, lock = [unlocked(payloads) for _ in range(3)], list[Path](), local._lock

    def locked(path: Path) -> int:
        opened.append(path)
        if len(opened) == 5:  # the second one of those that it is about to remove
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return lock(path)

    monkeypatch.setattr(local, "_lock", locked)
    with no_descriptor_lost(payloads.folder):
        assert await swept(payloads, set, set) == []
    assert all(orphan.path.exists() for orphan in orphans)
    assert len(await swept(payloads, set, set)) == 3
    assert not any(orphan.path.exists() for orphan in orphans)


async def test_a_sweep_holds_no_more_descriptors_than_it_may(
    payloads: LocalPayloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left over comes with the next sweep."""
    monkeypatch.setattr(local, "SWEPT_AT_ONCE", 4)
    orphans = [unlocked(payloads) for _ in range(6)]
    assert len(await swept(payloads, set, set)) == 4
    assert len(await swept(payloads, set, set)) == 2
    assert not any(orphan.path.exists() for orphan in orphans)
