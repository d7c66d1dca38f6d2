"""A disk that fails to write data tells so once. Whoever tries again must not hear that all is well with data that is on no disk.

`Kernel` does what Linux does with pages that could not be written: it takes them for clean.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord

DOCUMENT = FrameKind.DOCUMENT
CONTENT = bytes(range(256)) * 10_000
Span = tuple[int, int]


class Kernel:
    """Which bytes of one file are in its cache alone, and which are on the disk. `failures` are those of the next syncs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, dirty: Span) -> None:
        self._inode = path.stat().st_ino
        self.dirty, self.durable = set(range(*dirty)), set[int]()
        self.failures: list[int] = []
        self.takes_writes = True
        self._write = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._syncing(getattr(os, name)))

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        if not self.takes_writes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        written = self._write(descriptor, data, offset)
        if os.fstat(descriptor).st_ino == self._inode:
            self.dirty |= set(range(offset, offset + written))
        return written

    def _syncing(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            if os.fstat(descriptor).st_ino != self._inode:
                return sync(descriptor)
            written, self.dirty = self.dirty, set()
            if self.failures:
                number = self.failures.pop(0)
                raise OSError(number, os.strerror(number))
            self.durable |= written
            return None

        return synced


@pytest.fixture(params=["file", "segment"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadsBySize:
    folder = tmp_path / "payloads"
    folder.mkdir()
    store = PayloadsBySize(folder, small_bytes=4 << 20 if request.param == "segment" else 1)
    assert store.writer.make_ready()
    return store


def committed(store: PayloadsBySize) -> PayloadRecord:
    """A payload that is not durable yet, and that its worker leaves to another process."""
    upload = store.create(uuid4(), len(CONTENT))
    upload.begin()
    upload.append([(DOCUMENT, 0, CONTENT)])
    record = upload.commit(durable=False)
    upload.release()
    return record


def place(store: PayloadsBySize, record: PayloadRecord) -> tuple[Path, Span]:
    if record.segment is None:
        path = store.files.path(record.id)
        return path, (0, path.stat().st_size)
    return store.segments.path(record.segment), (record.offset, record.offset + record.length)


@pytest.mark.parametrize("failures", [[errno.EIO], [errno.ENOSPC, errno.EIO]])
def test_what_a_failed_sync_lost_is_written_before_the_next_one(
    store: PayloadsBySize, monkeypatch: pytest.MonkeyPatch, failures: list[int]
) -> None:
    record = committed(store)
    path, span = place(store, record)
    kernel = Kernel(monkeypatch, path, span)
    kernel.failures = list(failures)
    for _ in failures:
        with pytest.raises(PayloadUnavailable, match="cannot be synced"):
            store.make_durable(record)
        assert not kernel.durable
    store.make_durable(record)
    assert set(range(*span)) <= kernel.durable
    with store.open(record) as reader:
        assert reader.read(DOCUMENT, 0) == CONTENT


def test_what_cannot_be_written_again_is_found_to_be_damaged(
    store: PayloadsBySize, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = committed(store)
    kernel = Kernel(monkeypatch, *place(store, record))
    kernel.failures, kernel.takes_writes = [errno.EIO], False
    with pytest.raises(PayloadUnavailable):
        store.make_durable(record)
    kernel.takes_writes = True
    store.make_durable(record)
    with pytest.raises(PayloadDamaged), store.open(record) as reader:
        reader.read(DOCUMENT, 0)


def test_a_payload_that_was_deleted_meanwhile_does_not_come_back(
    store: PayloadsBySize, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, other = committed(store), committed(store)
    kernel = Kernel(monkeypatch, *place(store, record))
    kernel.failures = [errno.EIO]
    store.delete([record])
    if record.segment is not None:
        with pytest.raises(PayloadUnavailable):
            store.make_durable(record)
    store.make_durable(record)
    with pytest.raises(PayloadDamaged), store.open(record) as reader:
        reader.read(DOCUMENT, 0)
    with store.open(other) as reader:
        assert reader.read(DOCUMENT, 0) == CONTENT
