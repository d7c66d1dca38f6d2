"""A hot folder while it runs: when it takes files, what holds it up, and that it goes on."""

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.hot_folders import CLIENT, Folders, below, left_over, put
from harness.waiting import eventually, turns
from tests.support.hot_folders import SigningDouble

from batchseal.entries.asked import Asking
from batchseal.entries.claims import Batch
from batchseal.entries.context import Context, Counts
from batchseal.entries.files import Seen, opened
from batchseal.entries.folder_place import FolderPlace
from batchseal.entries.hot_folder import Due, HotFolder, Rules
from batchseal.entries.published import Published
from batchseal.entries.publishing import Folder
from batchseal.entries.threads import Threads
from batchseal.errors import PayloadUnavailable
from batchseal.intake.schema import Limits
from batchseal.settings import cron
from batchseal.signature import NO_DEFAULTS
from batchseal.system.backoff import Backoff

LOOK = 0.02
RULES = Rules(
    threshold=1000,
    cron=cron.parse("-"),
    flush=0.1,
    flush_at_cron=False,
    look=LOOK,
    ready_by="still",
    ignored=(".*",),
    unfinished=600,
    output_days=0,
    backup_days=0,
)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.make(tmp_path)


@asynccontextmanager
async def running(
    folders: Folders,
    service: Any,
    rules: Rules = RULES,
    is_ours: Callable[[], bool] = lambda: True,
    due: Due | None = None,
) -> AsyncIterator[HotFolder]:
    context = Context(
        client_service=CLIENT,
        place=FolderPlace(str(folders.input), Folder(folders.output, 0o664), Folder(folders.backup, 0o664)),
        asking=Asking(folders.asked(), NO_DEFAULTS, Limits(), service.largest_document_bytes),
        service=service,
        threads=Threads(),
        failure_pattern="{name}.txt",
        description_characters=100,
        is_ours=is_ours,
        counts=Counts(),
        again=Backoff(0.02, 0.05),
    )
    folder = HotFolder(context, rules, uuid4(), due=due)
    task = asyncio.create_task(folder.run())
    try:
        yield folder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_file_is_signed_after_the_flush_time(folders: Folders) -> None:
    async with running(folders, SigningDouble(), replace(RULES, flush=0.5)) as folder:
        put(folders, "letter.txt", b"one")
        began = time.monotonic()
        await eventually(lambda: "letter.txt.p7m" in below(folders.output))
        seconds = time.monotonic() - began
        assert seconds > 0.4, "it comes after the flush time"
        # The look after the batch sets the numbers, and a batch in memory may end before it.
        await eventually(lambda: (folder.batches, folder.waiting, folder.oldest_seconds) == (0, 0, 0.0))
        assert folder.context.counts.signed == 1
    assert left_over(folders) == []


async def test_a_folder_waits_for_its_threshold_and_for_the_time(folders: Folders) -> None:
    service, rules = SigningDouble(), replace(RULES, threshold=3, flush=0, cron=cron.parse("* * * * * *"))
    async with running(folders, service, rules) as folder:
        put(folders, "1.bin", b"1")
        put(folders, "2.bin", b"2")
        await eventually(lambda: folder.waiting == 2)
        for number in range(3, 7):
            put(folders, f"{number}.bin", os.urandom(4))
        await eventually(lambda: len(below(folders.output)) == 6)
    sizes = [row.documents_total for row, _, _ in service.operations.values()]
    assert sum(sizes) == 6 and max(sizes) <= 3, "an operation takes at most as many as the threshold"


async def test_without_the_lease_nothing_is_touched(folders: Folders) -> None:
    ours = False
    async with running(folders, SigningDouble(), is_ours=lambda: ours):
        put(folders, "a.bin", b"a")
        await asyncio.gather(eventually(lambda: True), turns())
        assert not (folders.input / ".batchseal").exists()
        ours = True
        await eventually(lambda: "a.bin.p7m" in below(folders.output))


async def test_nothing_is_looked_at_before_it_is_known_what_was_published(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, is_away = Published.load, iter([True])

    def load_later(self: Published, root: int) -> None:
        if next(is_away, False):
            raise OSError(errno.EIO, "not now")
        load(self, root)

    with opened(folders.input) as root:
        Published().keep(root, [(len(b"result"), hashlib.sha256(b"result").digest()[:16])])
    monkeypatch.setattr(Published, "load", load_later)
    service = SigningDouble()
    async with running(folders, service):
        put(folders, "back.bin", b"result")
        await eventually(lambda: "back.bin.txt" in below(folders.output))
    assert service.operations == {}


async def test_while_results_cannot_be_put_down_files_stay_where_they_are(folders: Folders) -> None:
    service, away = SigningDouble(), folders.output.with_name("away")
    async with running(folders, service) as folder:
        folders.output.rename(away)
        put(folders, "first.bin", b"first")
        await eventually(lambda: folder.context.counts.stalled)
        put(folders, "second.bin", b"second")
        await eventually(lambda: folder.waiting == 1)
        assert below(folders.input) == {"second.bin": b"second"}
        away.rename(folders.output)
        await eventually(lambda: len(below(folders.output)) == 2)
        await eventually(lambda: not folder.context.counts.stalled)
    assert service.signed_contents() == [b"first", b"second"]


async def test_a_folder_that_cannot_be_listed_for_a_moment_is_listed_a_moment_later(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, is_away = Batch.claimed_files, iter([True])

    def listed_later(self: Batch) -> list[Seen]:
        if next(is_away, False):
            raise OSError(errno.EIO, "Input/output error", 7)  # as os.scandir(7) does
        return listed(self)

    monkeypatch.setattr(Batch, "claimed_files", listed_later)
    async with running(folders, SigningDouble()):
        put(folders, "a.bin", b"a")
        await eventually(lambda: "a.bin.p7m" in below(folders.output))


async def test_a_time_that_comes_while_results_cannot_be_put_down_counts_afterwards(folders: Folders) -> None:
    rules = replace(RULES, threshold=1, flush=0, cron=cron.parse("0 0 3 * * *"))
    clock, asked = [0.0], 0
    due, away = Due(rules, lambda: clock[0]), folders.output.with_name("away")

    def is_ours() -> bool:
        nonlocal asked
        asked += 1
        return True

    async with running(folders, SigningDouble(), rules, is_ours, due) as folder:
        folders.output.rename(away)
        put(folders, "first.bin", b"first")
        await eventually(lambda: folder.waiting == 1)
        clock[0] = 86_400.0
        await eventually(lambda: folder.context.counts.stalled and folder.waiting == 0)
        put(folders, "second.bin", b"second")
        await eventually(lambda: folder.waiting == 1)
        clock[0], before = 2 * 86_400.0, asked  # the time of the next day
        await eventually(lambda: asked > before + 100)  # each look asks, and so does each try of the batch
        away.rename(folders.output)
        await eventually(lambda: len(below(folders.output)) == 2)


async def test_what_was_cut_off_by_a_stop_goes_on(folders: Folders) -> None:
    class Slow(SigningDouble):
        slow = True

        async def wait(self, *_: Any) -> bool:
            if self.slow:
                await asyncio.Event().wait()
            return True

        async def status(self, *arguments: Any) -> Any:
            found = await super().status(*arguments)
            return [replace(one, status=type(one.status)(1)) for one in found] if self.slow else found

        async def take_in(self, *arguments: Any, **more: Any) -> Any:
            row = await super().take_in(*arguments, **more)
            return replace(row, status=type(row.status)(1))

    service = Slow()
    async with running(folders, service):
        put(folders, "a.bin", b"a")
        await eventually(lambda: service.operations)
    assert below(folders.output) == below(folders.input) == {}
    service.slow = False
    async with running(folders, service):
        await eventually(lambda: "a.bin.p7m" in below(folders.output))
        await eventually(lambda: left_over(folders) == [])
    assert len(service.operations) == 1


async def test_a_batch_whose_documents_another_instance_has_holds_nobody_up(folders: Folders) -> None:
    class Elsewhere(SigningDouble):
        async def deliver(self, operation: Any, rows: Any, *, encoding: str) -> Any:
            if operation.id == 1:
                raise PayloadUnavailable("another instance has them")
            async for delivered in super().deliver(operation, rows, encoding=encoding):
                yield delivered

    async with running(folders, Elsewhere()) as folder:
        put(folders, "theirs.bin", b"theirs")
        await eventually(lambda: (folders.input / ".batchseal").exists() and folder.batches == 0)
        await eventually(lambda: below(folders.input) == {} and folder.batches == 0)
        put(folders, "ours.bin", b"ours")
        await eventually(lambda: "ours.bin.p7m" in below(folders.output))
        # The folder of our batch is removed after its files have their names.
        await eventually(lambda: len(list((folders.input / ".batchseal").glob("*-*"))) == 1)
    assert "theirs.bin.p7m" not in below(folders.output)
    (batch,) = (folders.input / ".batchseal").glob("*-*")
    assert (batch / "files" / "theirs.bin").read_bytes() == b"theirs"


async def test_a_mount_may_know_neither_fsync_of_a_folder_nor_permissions(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "not on this mount")

    fsync = os.fsync

    def of_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "not on this mount")
        fsync(descriptor)

    monkeypatch.setattr(os, "fchmod", refused)
    monkeypatch.setattr(os, "fchown", refused)
    monkeypatch.setattr(os, "fsync", of_files)
    async with running(folders, SigningDouble()):
        put(folders, "deep/a.bin", b"a")
        put(folders, "bad.bin", b"bad")
        await eventually(lambda: {"deep/a.bin.p7m", "bad.bin.txt"} <= below(folders.output).keys())
        await eventually(lambda: left_over(folders) == [])


async def test_a_folder_may_have_the_name_of_a_file(folders: Folders) -> None:
    path = put(folders, "closed.bin", b"closed")
    path.unlink()
    path.mkdir()  # a folder with the name of a file holds files of its own
    put(folders, "closed.bin/inside.bin", b"inside")
    async with running(folders, SigningDouble()):
        await eventually(lambda: "closed.bin/inside.bin.p7m" in below(folders.output))
    assert path.is_dir()
