"""Files that another file announces: the announcement goes with its file, comes back with it, and counts for no other one."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.hot_folders import Folders, below, left_over, put
from tests.support.hot_folders import SigningDouble
from tests.support.power_cut import PowerCut
from tests.unit.test_hot_folder_crashes import context_of, power

from batchseal.entries.batch import BatchRun
from batchseal.entries.claims import Batch
from batchseal.entries.looks import Looks

FIRST, SECOND = b"the first file", b"the second file, of the same name"


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Folders]:
    def make(name: str) -> Folders:
        folders = Folders.make(tmp_path / name)
        for path in ("a.bin", "deep/b.bin"):
            put(folders, path, FIRST + path.encode())
            put(folders, f"{path}.done", b"")
        return folders

    return make


async def start(folders: Folders, service: SigningDouble) -> None:
    """A start: what was left goes on, and what is announced in the input folder is claimed."""
    context = context_of(folders, service)
    try:
        for batch in context.place.left():
            await BatchRun(context, batch).run()
        if ready := context.place.ready(Looks("done", (".*",), 600)):
            await BatchRun(context, context.place.claim(ready)).run()
    finally:
        context.threads.close()


def run(folders: Folders, service: SigningDouble, calls: int | None = None) -> int:
    with power(calls) as counted:
        try:
            asyncio.run(start(folders, service))
        except PowerCut:
            pass
    return counted.calls


def test_wherever_it_was_cut_off_no_announcement_is_left_for_the_next_file(made: Callable[[str], Folders]) -> None:
    calls = run(made("counted"), SigningDouble())
    assert calls > 40
    for number in range(calls):
        folders, service = made(f"cut {number}"), SigningDouble()
        run(folders, service, number)
        half = folders.input / "a.bin"
        if half.exists():
            continue  # it was not claimed yet
        half.write_bytes(SECOND[:9])  # whoever brings the next one has written a part of it
        run(folders, service)
        assert below(folders.input) == {"a.bin": SECOND[:9]}, f"cut {number}"
        half.write_bytes(SECOND)
        put(folders, "a.bin.done", b"")
        run(folders, service)
        assert below(folders.input) == {}
        assert sorted(service.signed_contents()) == sorted([FIRST + b"a.bin", FIRST + b"deep/b.bin", SECOND])
        assert left_over(folders) == []


def test_wherever_it_was_cut_off_what_was_announced_is_signed(made: Callable[[str], Folders]) -> None:
    for number in range(30):
        folders, service = made(f"cut {number}"), SigningDouble()
        run(folders, service, number)
        run(folders, service)
        run(folders, service)
        assert below(folders.input) == {}, f"cut {number}"
        assert sorted(service.signed_contents()) == [FIRST + b"a.bin", FIRST + b"deep/b.bin"]
        assert left_over(folders) == []


def test_a_file_that_goes_back_is_announced_again(
    made: Callable[[str], Folders], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, service = made("changed"), SigningDouble()
    written, changes = Batch.write_list, iter([True])

    def write_and_change(self: Batch, listed: Any) -> None:
        written(self, listed)
        if next(changes, False):
            (folders.input / self.place / "files" / "a.bin").write_bytes(SECOND)

    monkeypatch.setattr(Batch, "write_list", write_and_change)
    run(folders, service)
    assert below(folders.input) == {"a.bin": SECOND, "a.bin.done": b""}
    run(folders, service)
    assert below(folders.output)["a.bin.p7m"] == SECOND + b" signed"
    assert left_over(folders) == []


def test_an_announcement_of_a_new_file_is_not_taken_with_the_old_one(
    made: Callable[[str], Folders], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever brings files waits only until the name is free."""
    folders, service, rename = made("fast"), SigningDouble(), os.rename

    def renamed(source: Any, target: Any, **more: Any) -> None:
        rename(source, target, **more)
        if source == "a.bin" and not (folders.input / "a.bin").exists():
            monkeypatch.setattr(os, "rename", rename)
            put(folders, "a.bin", SECOND)
            put(folders, "a.bin.done", b"")

    monkeypatch.setattr(os, "rename", renamed)
    run(folders, service)
    monkeypatch.undo()
    assert below(folders.input) == {"a.bin": SECOND, "a.bin.done": b""}
    run(folders, service)
    assert SECOND in service.signed_contents()
