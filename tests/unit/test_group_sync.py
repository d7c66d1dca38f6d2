"""All who wait for the same file share one fdatasync, and none gets one that began before its call."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.waiting import until

from batchseal.payloads.group_sync import GroupSync

FILE, OTHER = Path("a"), Path("b")


class Disk:
    """Its syncs end when the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.syncs = 0
        self.fails = False

    def sync(self) -> None:
        self.syncs += 1
        self.begun.release()
        assert self.may_end.acquire(timeout=120)
        if self.fails:
            raise OSError(5, "a test said so")


def test_one_sync_serves_all_that_waited_when_it_began() -> None:
    """And none of them relies on the one that had begun before it came."""
    group, disk = GroupSync(), Disk()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(group.run, FILE, disk.sync)
        assert disk.begun.acquire(timeout=120)
        others = [pool.submit(group.run, FILE, disk.sync) for _ in range(5)]
        until(lambda: group.waiting(FILE) == 5)
        assert disk.syncs == 1
        for _ in range(2):
            disk.may_end.release()
        for one in (first, *others):
            one.result(120)
    assert disk.syncs == 2


def test_a_failure_reaches_all_who_shared_it_and_nobody_later() -> None:
    group, disk = GroupSync(), Disk()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group.run, FILE, disk.sync)
        assert disk.begun.acquire(timeout=120)
        others = [pool.submit(group.run, FILE, disk.sync) for _ in range(3)]
        until(lambda: group.waiting(FILE) == 3)
        disk.may_end.release()
        first.result(120)
        assert disk.begun.acquire(timeout=120)
        disk.fails = True
        disk.may_end.release()
        for other in others:
            with pytest.raises(OSError, match="a test said so"):
                other.result(120)
    disk.fails = False
    disk.may_end.release()
    group.run(FILE, disk.sync)


def test_another_file_does_not_wait() -> None:
    group, disk, other = GroupSync(), Disk(), Disk()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(group.run, FILE, disk.sync)
        assert disk.begun.acquire(timeout=120)
        other.may_end.release()
        pool.submit(group.run, OTHER, other.sync).result(120)
        assert not first.done()
        disk.may_end.release()
        first.result(120)
