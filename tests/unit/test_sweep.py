"""The sweep takes what nobody needs, and nothing else, whenever an upload begins or ends."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from batchseal.payloads.sweep import sweep

from batchseal.payloads import sweep as sweeps
from batchseal.payloads.writer import SpillWriter


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def unlocked(folder: Path) -> SpillWriter:
    """As a writer's file is for the moment after its making, and once its operation is registered."""
    writer = SpillWriter.to_create(folder, uuid4())
    writer.path.touch()
    return writer


async def swept(folder: Path, pool: ThreadPoolExecutor, *answers: Callable[[], set[UUID]]) -> None:
    """A sweep that is told what is live by each of `answers` in turn."""
    said = iter(answers)

    async def live() -> set[UUID]:
        return next(said)()

    await sweep(folder, pool, live)


async def test_an_orphan_goes(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    orphan, live = unlocked(tmp_path), unlocked(tmp_path)
    await swept(tmp_path, pool, lambda: {live.payload_id}, lambda: {live.payload_id})
    assert (orphan.path.exists(), live.path.exists()) == (False, True)


async def test_an_upload_that_was_seen_before_its_lock_stays(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    uploading, descriptors = unlocked(tmp_path), list[int]()

    def none_yet() -> set[UUID]:
        descriptors.append(os.open(uploading.path, os.O_WRONLY))
        fcntl.flock(descriptors[0], fcntl.LOCK_EX)
        return set()

    await swept(tmp_path, pool, none_yet)
    assert uploading.path.exists()
    os.close(descriptors[0])


async def test_one_that_is_registered_by_then_stays(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    registered = unlocked(tmp_path)
    await swept(tmp_path, pool, set, lambda: {registered.payload_id})
    assert registered.path.exists()


def test_a_file_that_was_swept_before_its_lock_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, flock, swept = SpillWriter.to_create(tmp_path, uuid4()), fcntl.flock, list[Path]()

    def after_the_sweep(descriptor: int, operation: int) -> None:
        if not swept:
            swept.append(writer.path)
            writer.path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_sweep)
    writer.create()
    assert os.path.samestat(writer.path.stat(), os.fstat(writer._descriptor))
    writer.abort()
    assert not list(tmp_path.iterdir())


async def test_without_a_free_descriptor_it_is_left_to_the_next_sweep(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it has opened until then is closed: the process lives on."""
    orphans, opened, lock = [unlocked(tmp_path) for _ in range(3)], list[Path](), sweeps._lock

    def locked(path: Path) -> int:
        opened.append(path)
        if len(opened) == 5:  # of those that it is about to remove the second one
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return lock(path)

    monkeypatch.setattr(sweeps, "_lock", locked)
    descriptors = len(os.listdir("/proc/self/fd"))
    await swept(tmp_path, pool, set, set)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert all(orphan.path.exists() for orphan in orphans)
    await swept(tmp_path, pool, set, set)
    assert not any(orphan.path.exists() for orphan in orphans)
