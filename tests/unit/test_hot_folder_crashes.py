"""A batch that is cut off at every single call that changes a file: the next start goes on, and each file ends exactly once."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness.hot_folders import CLIENT, Folders, below, left_over, put
from tests.support.hot_folders import SigningDouble
from tests.support.power_cut import Power, PowerCut

from batchseal.entries import files
from batchseal.entries.asked import Asking
from batchseal.entries.batch import BatchRun
from batchseal.entries.claims import Batch, batches
from batchseal.entries.context import Context, Counts
from batchseal.entries.files import opened
from batchseal.entries.folder_place import FolderPlace
from batchseal.entries.looks import Looks
from batchseal.entries.notes import Noted, Notes
from batchseal.entries.published import Published
from batchseal.entries.publishing import Folder
from batchseal.entries.retention import prune
from batchseal.entries.threads import Threads
from batchseal.intake.schema import Limits
from batchseal.signature import NO_DEFAULTS

FILES = {
    "fatura.pdf": b"%PDF- one",
    "2026/fatura.pdf": b"%PDF- two",
    "2026/11/nota.xml": b"<three/>",
    "2026/bad.txt": b"bad four",
    "large.bin": b"five" * 300,
    "\udcff\n.txt": b"six",
    "refused.bin": b"x" * 5000,
}
CHANGING = ("open", "rename", "unlink", "mkdir", "rmdir", "write", "fsync", "fchmod", "link")


@contextmanager
def power(calls: int | None) -> Iterator[Power]:
    """Counts the calls, and cuts them off after so many."""
    counted = Power(calls)

    def guarded(call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        reads = call is originals["open"] and not arguments[1] & (os.O_CREAT | os.O_WRONLY)
        if not reads:
            counted.count()
        return call(*arguments, **more)

    originals = {name: getattr(os, name) for name in CHANGING}
    rename_new = files.rename_new
    with pytest.MonkeyPatch.context() as patch:
        for name, call in originals.items():
            patch.setattr(os, name, partial(guarded, call))
        patch.setattr(files, "rename_new", partial(guarded, rename_new))
        yield counted


def context_of(folders: Folders, service: SigningDouble, *, other_types: bool = True) -> Context:
    hot = folders.asked(other_types=other_types)
    return Context(
        client_service=CLIENT,
        place=FolderPlace(str(folders.input), Folder(folders.output, 0o664), Folder(folders.backup, 0o664)),
        asking=Asking(hot, NO_DEFAULTS, Limits(), 4000),
        service=service,  # type: ignore[arg-type]
        threads=Threads(),
        failure_pattern="{name}.txt",
        description_characters=100,
        is_ours=lambda: True,
        counts=Counts(),
    )


def claim(folders: Folders) -> Batch:
    """What the look of a hot folder does once its files are due."""
    looks = Looks("rename", (".*",), 600)
    with opened(folders.input) as root:
        ready = looks.look(files.walk(root, looks.is_ignored), 1.0, lambda file: judged(root, file))
        return Batch.claim(root, ready)


def judged(root: int, file: files.Seen) -> Any:
    from batchseal.entries.content import Content
    from batchseal.operation import ContentType

    return Content(ContentType.OTHER)


async def start(folders: Folders, service: SigningDouble) -> None:
    """A start: what was left goes on, and what lies in the input folder is claimed."""
    context = context_of(folders, service)
    try:
        with opened(folders.input) as root:
            left = batches(root)
            context.published.load(root)
        for batch in left:
            await BatchRun(context, batch).run()
        await BatchRun(context, claim(folders).id).run()
    finally:
        context.threads.close()


def cut_off(folders: Folders, service: SigningDouble, calls: int | None) -> Power:
    with power(calls) as counted:
        try:
            asyncio.run(start(folders, service))
        except PowerCut:
            pass
    return counted


def judge(folders: Folders, service: SigningDouble) -> None:
    """Each file has ended once: signed or with a reason, and its original is in the backup folder."""
    assert below(folders.input) == {}
    output, backup = below(folders.output), below(folders.backup)
    texts = {"2026/bad.txt.txt": b"Cause: it is bad", "refused.bin.txt": b"has 5000 bytes, the limit is 4000"}
    for name, cause in texts.items():
        assert cause in output.pop(name)
        assert cause in backup.pop(name)
    assert backup == FILES
    signed = {name: content for name, content in FILES.items() if f"{name}.txt" not in texts}
    suffix = {name: "" if name.endswith(("pdf", "xml")) else ".p7m" for name in signed}
    assert output == {name + suffix[name]: content + service.SIGNATURE for name, content in signed.items()}
    contents = service.signed_contents()
    assert len(contents) == len(set(contents)), "a file was handed in twice"
    assert left_over(folders) == []


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], Folders]:
    def made(name: str) -> Folders:
        folders = Folders.make(tmp_path / name)
        for path, content in FILES.items():
            put(folders, path, content)
        return folders

    return made


def test_every_file_ends_once_without_a_crash(place: Callable[[str], Folders]) -> None:
    folders, service = place("whole"), SigningDouble()
    asyncio.run(start(folders, service))
    judge(folders, service)
    assert service.fetched_ids == [1]
    mode = (folders.output / "2026" / "fatura.pdf").stat().st_mode
    assert mode & 0o777 == 0o664


def test_it_goes_on_wherever_it_was_cut_off(place: Callable[[str], Folders]) -> None:
    service = SigningDouble()
    calls = cut_off(place("counted"), service, None).calls
    assert calls > 80
    for number in range(calls):
        folders, service = place(f"cut {number}"), SigningDouble()
        cut_off(folders, service, number)
        asyncio.run(start(folders, service))
        judge(folders, service)


def test_it_goes_on_where_its_second_start_was_cut_off_too(place: Callable[[str], Folders]) -> None:
    for number in range(10, 90, 7):
        folders, service = place(f"cut {number}"), SigningDouble()
        for more in (number, 9, 21, 14):
            cut_off(folders, service, more)
        asyncio.run(start(folders, service))
        judge(folders, service)


def test_it_goes_on_where_the_commit_was_made_and_nobody_was_told(place: Callable[[str], Folders]) -> None:
    folders, service = place("told"), SigningDouble()

    class Unsure(SigningDouble):
        async def take_in(self, *arguments: Any, **more: Any) -> Any:
            await super().take_in(*arguments, **more)
            raise PowerCut

    unsure = Unsure()
    with pytest.raises(PowerCut):
        asyncio.run(start(folders, unsure))
    service.operations = unsure.operations
    asyncio.run(start(folders, service))
    judge(folders, service)


def test_backup_and_output_may_be_other_mounts(
    place: Callable[[str], Folders], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename from the input folder to the backup folder is refused, as between two mounts."""
    import errno

    take = Folder.take

    def refused(*_: Any) -> Any:
        raise OSError(errno.EXDEV, "another mount")

    monkeypatch.setattr(Folder, "take", refused)
    service = SigningDouble()
    calls = cut_off(place("counted"), service, None).calls
    for number in range(0, calls, 7):
        folders, service = place(f"cut {number}"), SigningDouble()
        cut_off(folders, service, number)
        asyncio.run(start(folders, service))
        judge(folders, service)
    assert take is not Folder.take
    times = (folders.backup / "fatura.pdf").stat().st_mtime_ns
    put(folders, "kept.pdf", b"%PDF- kept")
    os.utime(folders.input / "kept.pdf", (1, 1))
    asyncio.run(start(folders, service))
    assert times > (folders.backup / "kept.pdf").stat().st_mtime_ns == 1_000_000_000


def test_names_are_durable_before_what_relies_on_them(
    place: Callable[[str], Folders], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of folders that hold nothing but folders: a file system may lose any name whose folder was not fsynced."""
    folders, fsync, synced = place("synced"), os.fsync, list[str]()

    def noted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    batch = claim(folders)
    files_of, private = folders.input / ".batchseal" / str(batch.id), folders.output / ".batchseal"
    assert {str(files_of / "files" / one) for one in ("", "2026", "2026/11")} <= set(synced)
    assert synced.index(str(files_of / "files" / "2026" / "11")) < synced.index(str(folders.input / "2026" / "11"))
    asyncio.run(start(folders, SigningDouble()))
    first_note = synced.index(str(files_of / "notes"))
    assert {str(private), str(private / str(batch.id)), str(folders.output)} <= set(synced[:first_note])
    assert str(folders.output / "2026") in synced[first_note:]


def test_existing_names_are_never_overwritten(place: Callable[[str], Folders]) -> None:
    folders, service = place("names"), SigningDouble()
    for folder in (folders.output, folders.backup):
        (folder / "2026").write_text("a file in the place of a folder")
        (folder / "fatura.pdf").write_text("was there")
    asyncio.run(start(folders, service))
    for folder, content in ((folders.output, b"%PDF- one signed"), (folders.backup, b"%PDF- one")):
        found = below(folder)
        assert found["2026"] == b"a file in the place of a folder"
        assert found["fatura.pdf"] == b"was there"
        assert found["fatura (1).pdf"] == content
        assert found["2026 (folder)/fatura.pdf"].startswith(b"%PDF- two")
    assert left_over(folders) == []
    put(folders, "fatura.pdf", b"%PDF- one again")
    asyncio.run(start(folders, service))
    assert below(folders.output)["fatura (2).pdf"] == b"%PDF- one again signed"


def test_whoever_takes_results_away_at_once_breaks_nothing(place: Callable[[str], Folders]) -> None:
    """After a crash nobody looks whether the file is still there: the note decides."""
    calls = cut_off(place("counted"), SigningDouble(), None).calls
    for number in range(20, calls, 5):
        folders, service = place(f"cut {number}"), SigningDouble()
        cut_off(folders, service, number)
        taken = below(folders.output)
        for name in taken:
            (folders.output / name).unlink()
        asyncio.run(start(folders, service))
        later = below(folders.output)
        assert not taken.keys() & later.keys(), f"cut {number}: a result came twice"
        assert {*taken, *later} == {
            *("fatura.pdf", "2026/fatura.pdf", "2026/11/nota.xml", "large.bin.p7m", "\udcff\n.txt.p7m"),
            *("2026/bad.txt.txt", "refused.bin.txt"),
        }


def test_what_was_signed_in_this_folder_is_not_signed_again(place: Callable[[str], Folders]) -> None:
    """A program that keeps two folders the same brings the results, and the texts, back into the input folder."""
    folders, service = place("loop"), SigningDouble()
    asyncio.run(start(folders, service))
    judge(folders, service)
    before = below(folders.output)
    for name, content in before.items():
        put(folders, f"again/{name}", content)
    put(folders, "new.pdf", b"%PDF- as long as x")
    asyncio.run(start(folders, service))
    contents = service.signed_contents()
    assert len(contents) == len(FILES), "all but the refused one, and one that is new"
    output = below(folders.output)
    assert output["new.pdf"] == b"%PDF- as long as x signed"
    for name in before:
        if name.endswith(".txt"):
            assert f"again/{name}.txt" not in output, "a text about a text would come back too"
        else:
            text = output[f"again/{name}.txt"]
            assert b"came back, and was not signed again" in text and b"is a result of this hot folder" in text
        assert f"again/{name}" in below(folders.backup)
    days = folders.input / ".batchseal" / "published"
    (today,) = days.iterdir()
    with opened(folders.input) as root:
        (days / "2020-01-01").write_bytes(b"x" * 24)
        with today.open("ab") as file:
            file.write(b"torn")
        Published().keep(root, [(7, b"d" * 16)])
        known = Published()
        known.load(root)
        assert not (days / "2020-01-01").exists()
        assert known.may_have(7) and known.may_have(len(before["fatura.pdf"])) and not known.may_have(8)


def test_a_result_that_is_no_longer_kept_is_a_reason(place: Callable[[str], Folders]) -> None:
    folders, service = place("expired"), SigningDouble()
    service.expired = {1}
    asyncio.run(start(folders, service))
    assert b"no longer kept" in below(folders.output)["fatura.pdf.txt"]
    assert len(below(folders.backup)) == 2 * len(FILES)


def test_a_file_that_changes_after_it_was_claimed_is_given_back(
    place: Callable[[str], Folders], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, service = place("changed"), SigningDouble()
    batch = claim(folders)
    claimed = folders.input / ".batchseal" / str(batch.id) / "files" / "large.bin"
    context = context_of(folders, service)

    async def run() -> None:
        run = BatchRun(context, batch.id)
        await run.run()
        context.threads.close()

    written, changes = Batch.write_list, iter([True])

    def write_and_change(self: Batch, listed: Any) -> None:
        written(self, listed)
        if next(changes, False):
            with claimed.open("ab") as file:
                file.write(b" and more")

    monkeypatch.setattr(Batch, "write_list", write_and_change)
    asyncio.run(run())
    assert below(folders.input) == {"large.bin": FILES["large.bin"] + b" and more"}
    assert "large.bin.p7m" not in below(folders.output)
    assert "fatura.pdf" in below(folders.output)
    monkeypatch.undo()
    asyncio.run(start(folders, service))
    assert below(folders.output)["large.bin.p7m"] == FILES["large.bin"] + b" and more signed"
    assert left_over(folders) == []


def test_a_note_that_a_power_cut_has_cut_off_is_no_note(place: Callable[[str], Folders]) -> None:
    folders = place("torn")
    with opened(folders.input) as root:
        batch = Batch.claim(root, [])
        batch.write_list([])
        first = Noted(1, "result", "1.result.x", "output", "a\n\udcff.pdf")
        Notes(batch).add([first])
        path = folders.input / ".batchseal" / str(batch.id) / "notes"
        with path.open("ab") as file:
            file.write(b'{"ordinal": 2, "kind": "result", "dra')
        assert Notes(batch).drafts == {(1, "result"): first}
        third = Noted(3, "text", "3.text.x", "backup", "b.txt")
        notes = Notes(batch)
        notes.add([third])
        assert Notes(batch).drafts == notes.drafts == {(1, "result"): first, (3, "text"): third}
        notes.add([first], void=True)
        assert Notes(batch).drafts == {(3, "text"): third}


def test_old_files_are_removed_and_hidden_ones_and_folders_stay(tmp_path: Path) -> None:
    for name in ("a.pdf", "deep/b.pdf", ".batchseal/x/draft", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1, 1))  # the time of the content is that of the source
    folder, now = Folder(tmp_path, 0o664), (tmp_path / "a.pdf").stat().st_ctime
    assert prune(folder, 3, now + 2.9 * 86_400) == 0
    assert prune(folder, 3, now + 3.1 * 86_400) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".batchseal", ".hidden", "deep"]


def test_one_that_loses_its_lease_stops_and_another_one_goes_on(place: Callable[[str], Folders]) -> None:
    folders, service = place("lease"), SigningDouble()
    batch, asked = claim(folders), 0

    def is_ours() -> bool:
        nonlocal asked
        asked += 1
        return asked < 4

    from dataclasses import replace

    async def run() -> None:
        context = replace(context_of(folders, service), is_ours=is_ours)
        await BatchRun(context, batch.id).run()
        context.threads.close()

    asyncio.run(run())
    assert below(folders.output) == {}, "nothing is published without the lease"
    asyncio.run(start(folders, service))
    judge(folders, service)
