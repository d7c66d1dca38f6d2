"""What others do to the folders that the service keeps in an input folder, and what must not be left there for ever."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.hot_folders import CLIENT, Folders, below, left_over, put
from tests.support.hot_folders import SigningDouble
from tests.support.power_cut import PowerCut

from batchseal.entries import files, publishing
from batchseal.entries.asked import Asking
from batchseal.entries.batch import BatchRun
from batchseal.entries.claims import Batch, batches
from batchseal.entries.context import Context, Counts
from batchseal.entries.files import opened
from batchseal.entries.folder_place import FolderPlace
from batchseal.entries.looks import Ready
from batchseal.entries.publishing import Folder
from batchseal.entries.threads import Threads
from batchseal.intake.schema import Limits
from batchseal.operation import ContentType
from batchseal.signature import NO_DEFAULTS
from batchseal.system.backoff import Backoff


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders.make(tmp_path)
    put(folders, "a.bin", b"one")
    put(folders, "deep/b.bin", b"two")
    return folders


def seen(folders: Folders) -> list[Ready]:
    with opened(folders.input) as root:
        found = list(files.walk(root, lambda name: name.startswith(".")))
    return [Ready(one, ContentType.OTHER, 1.0) for one in sorted(found, key=lambda one: one.path)]


def claimed(folders: Folders) -> Batch:
    with opened(folders.input) as root:
        return Batch.claim(root, seen(folders))


async def go_on(folders: Folders, service: SigningDouble, is_ours: Callable[[], bool] = lambda: True) -> None:
    """A start: the batches that were left, and then a batch of what lies in the input folder."""
    context = Context(
        client_service=CLIENT,
        place=FolderPlace(str(folders.input), Folder(folders.output, 0o664), Folder(folders.backup, 0o664)),
        asking=Asking(folders.asked(), NO_DEFAULTS, Limits(), 4000),
        service=service,  # type: ignore[arg-type]
        threads=Threads(),
        failure_pattern="{name}.txt",
        description_characters=100,
        is_ours=is_ours,
        counts=Counts(),
    )
    try:
        with opened(folders.input) as root:
            left = batches(root)
        async with asyncio.timeout(120):
            for batch in left:
                await BatchRun(context, batch).run()
            if below(folders.input):
                await BatchRun(context, claimed(folders).id).run()
    finally:
        context.threads.close()


def judge(folders: Folders, contents: dict[str, bytes]) -> None:
    assert below(folders.input) == {}
    assert below(folders.backup) == contents
    assert below(folders.output) == {f"{name}.p7m": content + b" signed" for name, content in contents.items()}
    assert left_over(folders) == []


def test_a_file_that_was_to_go_back_when_the_process_ended_goes_back_later(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, service = claimed(folders), SigningDouble()
    path = folders.input / ".batchseal" / str(batch.id) / "files" / "a.bin"
    written: Callable[..., None] = Batch.write_list

    def write_and_change(self: Batch, listed: Any) -> None:
        written(self, listed)
        if path.read_bytes() == b"one":
            path.write_bytes(b"one and more")

    def cut(*_: Any) -> None:
        raise PowerCut

    monkeypatch.setattr(Batch, "write_list", write_and_change)
    monkeypatch.setattr(Batch, "give_back", cut)
    with pytest.raises(PowerCut):
        asyncio.run(go_on(folders, service))
    monkeypatch.undo()
    asyncio.run(go_on(folders, service))
    judge(folders, {"a.bin": b"one and more", "deep/b.bin": b"two"})


def test_what_an_instance_claims_after_the_list_was_written_goes_back(folders: Folders) -> None:
    batch, service = claimed(folders), SigningDouble()
    with opened(folders.input) as root:
        again = Batch(root, batch.id)
        again.write_list([])
    asyncio.run(go_on(folders, service))
    judge(folders, {"a.bin": b"one", "deep/b.bin": b"two"})


def test_a_link_that_takes_the_place_of_a_file_is_not_claimed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def swapped(source: Any, target: Any, **more: Any) -> None:
        """Somebody is faster than the claim, once for each file."""
        path = folders.input / "a.bin"
        if source == "a.bin" and not path.is_symlink():
            path.unlink()
            path.symlink_to("/etc/hostname")
        rename(source, target, **more)

    ready = seen(folders)
    monkeypatch.setattr(os, "rename", swapped)
    with opened(folders.input) as root:
        Batch.claim(root, ready)
    monkeypatch.undo()
    assert (folders.input / "a.bin").is_symlink()
    (folders.input / "a.bin").unlink()
    asyncio.run(go_on(folders, SigningDouble()))
    judge(folders, {"deep/b.bin": b"two"})


@pytest.mark.parametrize("kind", ["a link", "a new file"])
def test_what_takes_the_place_of_a_file_goes_back_although_its_name_is_taken(
    kind: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, path = os.rename, folders.input / "a.bin"

    def swapped(source: Any, target: Any, **more: Any) -> None:
        """Somebody writes another file at the moment of the claim, and a third one after it."""
        if source != "a.bin":
            rename(source, target, **more)
            return
        monkeypatch.setattr(os, "rename", rename)
        path.unlink()
        if kind == "a link":
            path.symlink_to("/etc/hostname")
        else:
            path.write_bytes(b"half of")
        rename(source, target, **more)
        put(folders, "a.bin", b"third")

    ready = seen(folders)
    monkeypatch.setattr(os, "rename", swapped)
    with opened(folders.input) as root:
        Batch.claim(root, ready)
    monkeypatch.undo()
    came_back = folders.input / "a (changed).bin"
    if kind == "a link":
        assert came_back.is_symlink()
        came_back.unlink()
    else:
        assert came_back.read_bytes() == b"half of"
        came_back.write_bytes(b"half of it, and the rest")
    asyncio.run(go_on(folders, SigningDouble()))
    expected = {"a.bin": b"third", "deep/b.bin": b"two"}
    judge(folders, expected if kind == "a link" else {**expected, "a (changed).bin": b"half of it, and the rest"})


def test_what_is_no_file_is_not_left_in_a_batch_for_ever(folders: Folders) -> None:
    """A link that took the place of a file, when the process ended before it was put back."""
    batch = claimed(folders)
    place = folders.input / ".batchseal" / str(batch.id) / "files"
    (place / "link").symlink_to("/etc/hostname")
    os.mkfifo(place / "deep" / "pipe")
    asyncio.run(go_on(folders, SigningDouble()))
    for name in ("link", "deep/pipe"):
        (folders.input / name).unlink()
    judge(folders, {"a.bin": b"one", "deep/b.bin": b"two"})


def test_a_file_goes_back_although_its_folder_is_a_file_now(folders: Folders) -> None:
    batch = claimed(folders)
    with opened(folders.input) as root:
        Batch(root, batch.id).write_list([])
    (folders.input / "deep").rmdir()
    (folders.input / "deep").write_bytes(b"three")
    asyncio.run(go_on(folders, SigningDouble()))
    judge(folders, {"a.bin": b"one", "b.bin": b"two", "deep": b"three"})


def test_one_that_has_lost_its_lease_leaves_the_list_alone(folders: Folders) -> None:
    batch, ours = claimed(folders), True
    path = folders.input / ".batchseal" / str(batch.id) / "files" / "a.bin"

    class Losing(SigningDouble):
        async def take_in(self, *arguments: Any, **more: Any) -> Any:
            nonlocal ours
            path.unlink()  # another instance has signed it and moved it away
            ours = False
            return await super().take_in(*arguments, **more)

    asyncio.run(go_on(folders, Losing(), lambda: ours))
    with opened(folders.input) as root:
        listed = Batch(root, batch.id).read_list()
    assert listed is not None
    assert [one.path for one in listed] == ["a.bin", "deep/b.bin"]


def test_a_folder_that_loses_what_we_keep_in_it_is_still_leased_under_the_same_name(folders: Folders) -> None:
    place = FolderPlace(str(folders.input), Folder(folders.output, 0o664), Folder(folders.backup, 0o664))
    before = place.identity()
    shutil.rmtree(folders.input / ".batchseal")
    place.claim(seen(folders))
    assert place.identity() == before


@pytest.mark.parametrize("which", ["output", "backup"])
def test_nothing_is_left_in_a_folder_that_was_away_when_its_batch_ended(
    which: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = getattr(folders, which)
    away = place.with_name("away")
    pauses = list[int]()

    def take_away(site: str) -> None:
        if site == "files-kept" and not pauses:
            place.rename(away)

    def bring_back(_: Backoff, failures: int) -> float:
        pauses.append(failures)
        away.rename(place)
        return 0.0

    monkeypatch.setattr(publishing, "crash_site", take_away)
    monkeypatch.setattr(Backoff, "pause_seconds", bring_back)
    asyncio.run(go_on(folders, SigningDouble()))
    assert pauses == [1]
    judge(folders, {"a.bin": b"one", "deep/b.bin": b"two"})
