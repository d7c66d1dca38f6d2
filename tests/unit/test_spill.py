"""The spill file: what is written is what is read, or a clear refusal."""

import errno
import os
import random
import resource
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from batchseal.errors import NoSpace, PayloadUnavailable, SpillDamaged
from batchseal.payloads.frames import HEADER_BYTES, FrameHeader, FrameKind, pack_header, unpack_header
from batchseal.payloads.reader import SpillReader
from batchseal.payloads.writer import SpillWriter, sync_file

RANDOM = random.Random(7)


def create(folder: Path, payload: UUID) -> SpillWriter:
    writer = SpillWriter.to_create(folder, payload)
    writer.create()
    return writer


def write(folder: Path, contents: list[bytes]) -> UUID:
    payload = uuid4()
    writer = create(folder, payload)
    writer.append((FrameKind.DOCUMENT, n, content) for n, content in enumerate(contents))
    writer.sync()
    writer.close()
    return payload


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


def test_documents_come_back_as_they_were(tmp_path: Path) -> None:
    contents = [RANDOM.randbytes(200_000), b"<a>text</a>" * 20_000, b"", b"x"]
    with SpillReader(tmp_path, write(tmp_path, contents)) as reader:
        assert [reader.read(FrameKind.DOCUMENT, n) for n in range(4)] == contents


def test_only_what_shrinks_is_compressed(tmp_path: Path) -> None:
    writer = create(tmp_path, uuid4())
    deflated, xml = RANDOM.randbytes(200_000), b"<line>12.50</line>" * 10_000
    stored = writer.append([(FrameKind.DOCUMENT, 0, deflated), (FrameKind.DOCUMENT, 1, xml)])
    writer.close()
    assert stored[0] == len(deflated)
    assert stored[1] < len(xml) / 10
    assert writer.raw_bytes == len(deflated) + len(xml)


def test_more_frames_than_one_writev_takes(tmp_path: Path) -> None:
    contents = [str(n).encode() * 50 for n in range(3000)]
    with SpillReader(tmp_path, write(tmp_path, contents)) as reader:
        assert reader.ordinals(FrameKind.DOCUMENT) == set(range(3000))
        assert reader.read(FrameKind.DOCUMENT, 2999) == contents[2999]


def test_a_later_frame_replaces_an_earlier_one(tmp_path: Path) -> None:
    payload = write(tmp_path, [b"first"])
    reader = SpillReader(tmp_path, payload)
    writer = SpillWriter.reopen(reader)
    writer.append([(FrameKind.DOCUMENT, 0, b"second")])
    writer.close()
    reader.refresh()
    assert reader.read(FrameKind.DOCUMENT, 0) == b"second"
    reader.close()


@pytest.mark.parametrize("place", ["header", "content"])
def test_damage_is_recognised_and_neighbours_stay(tmp_path: Path, place: str) -> None:
    contents = [RANDOM.randbytes(5000) for _ in range(5)]
    payload = write(tmp_path, contents)
    frame = HEADER_BYTES + 5000
    flip(tmp_path / f"{payload}.spill", 2 * frame + (10 if place == "header" else HEADER_BYTES + 99))
    with SpillReader(tmp_path, payload) as reader:
        with pytest.raises(SpillDamaged, match="2"):
            reader.read(FrameKind.DOCUMENT, 2)
        for n in (0, 1, 3, 4):
            assert reader.read(FrameKind.DOCUMENT, n) == contents[n]


def test_any_flipped_bit_of_a_small_file_is_caught(tmp_path: Path) -> None:
    contents = [b"<xml/>" * 30, RANDOM.randbytes(60)]
    payload = write(tmp_path, contents)
    path = tmp_path / f"{payload}.spill"
    whole = path.read_bytes()
    for offset in range(len(whole)):
        flip(path, offset)
        with SpillReader(tmp_path, payload) as reader:
            good = 0
            for n, content in enumerate(contents):
                try:
                    assert reader.read(FrameKind.DOCUMENT, n) == content
                    good += 1
                except SpillDamaged:
                    pass
            assert good == 1, offset
        path.write_bytes(whole)


def test_a_half_written_frame_is_cut_off_and_written_over(tmp_path: Path) -> None:
    payload = write(tmp_path, [b"one" * 100, b"two" * 100])
    path = tmp_path / f"{payload}.spill"
    whole = path.stat().st_size
    for cut in range(HEADER_BYTES + 300 + 1, whole):
        os.truncate(path, cut)
        reader = SpillReader(tmp_path, payload)
        assert reader.ordinals(FrameKind.DOCUMENT) == {0}
        writer = SpillWriter.reopen(reader)
        writer.append([(FrameKind.DOCUMENT, 1, b"two" * 100)])
        writer.close()
        reader.refresh()
        assert reader.read(FrameKind.DOCUMENT, 1) == b"two" * 100
        reader.close()


def test_bytes_of_a_document_never_pass_for_a_header() -> None:
    payload, other = uuid4(), uuid4()
    header = FrameHeader(FrameKind.DOCUMENT, 0, 3, 10, 10, 1)
    packed = pack_header(header, payload, 640)
    assert unpack_header(packed, payload, 640) == header
    assert unpack_header(packed, payload, 641) is None
    assert unpack_header(packed, other, 640) is None


def test_an_aborted_file_is_gone(tmp_path: Path) -> None:
    writer = create(tmp_path, uuid4())
    writer.append([(FrameKind.DOCUMENT, 0, b"x" * 1000)])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    with pytest.raises(SpillDamaged, match="cannot be opened"):
        SpillReader(tmp_path, uuid4())


# --- what the operating system cannot give just now ---------------------------------------------------------------


def test_unavailable_is_not_damaged() -> None:
    assert not issubclass(PayloadUnavailable, SpillDamaged)
    assert not issubclass(SpillDamaged, PayloadUnavailable)


def test_a_folder_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    payload, away = write(tmp_path, [b"content"]), tmp_path.with_name("away")
    tmp_path.rename(away)
    with pytest.raises(PayloadUnavailable, match="folder"):
        SpillReader(tmp_path, payload)
    with pytest.raises(PayloadUnavailable):
        sync_file(tmp_path, payload)
    away.rename(tmp_path)
    with SpillReader(tmp_path, payload) as reader:
        assert reader.read(FrameKind.DOCUMENT, 0) == b"content"
    sync_file(tmp_path, payload)
    sync_file(tmp_path, uuid4())  # a file that is gone needs none


def test_without_a_free_descriptor_it_is_tried_again(tmp_path: Path) -> None:
    payload = write(tmp_path, [b"content"])
    reader = SpillReader(tmp_path, payload)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(PayloadUnavailable, match="Too many open files"):
            SpillReader(tmp_path, payload)
        with pytest.raises(PayloadUnavailable, match="Too many open files"):
            SpillWriter.reopen(reader)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert reader.read(FrameKind.DOCUMENT, 0) == b"content"
    reader.close()


@pytest.mark.parametrize("number", [errno.ENFILE, errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM, errno.ENOTDIR])
def test_other_reasons_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    payload = write(tmp_path, [b"content"])

    def failing(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(PayloadUnavailable):
            SpillReader(tmp_path, payload)


@pytest.mark.parametrize("problem", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_read_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    payload, descriptors = write(tmp_path, [b"content"]), len(os.listdir("/proc/self/fd"))
    with SpillReader(tmp_path, payload) as reader, monkeypatch.context() as patch:

        def failing(*_: object) -> bytes:
            raise problem

        patch.setattr(os, "pread", failing)
        for attempt in (
            lambda: reader.read(FrameKind.DOCUMENT, 0),
            lambda: reader.ordinals(FrameKind.DOCUMENT),
            lambda: SpillReader(tmp_path, payload),
        ):
            with pytest.raises(PayloadUnavailable):
                attempt()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_read_that_stops_in_the_middle_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In front of a page that the disk cannot give now, a system call returns what it has."""
    contents, pread = [RANDOM.randbytes(9000) for _ in range(3)], os.pread
    payload = write(tmp_path, contents)
    monkeypatch.setattr(os, "pread", lambda descriptor, count, offset: pread(descriptor, min(count, 7), offset))
    with SpillReader(tmp_path, payload) as reader:
        assert [reader.read(FrameKind.DOCUMENT, n) for n in range(3)] == contents


def test_a_folder_that_cannot_be_synced_is_no_space(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    writer = create(tmp_path / "folder", uuid4())
    (tmp_path / "folder").rename(tmp_path / "away")
    with pytest.raises(NoSpace):
        writer.sync_name()
    writer.close()
