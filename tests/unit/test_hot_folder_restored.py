"""A database that was restored, and does not know an operation any more of which results are published already."""

import asyncio
from pathlib import Path

import pytest
from harness.hot_folders import Folders, below, left_over, put
from tests.support.hot_folders import SigningDouble
from tests.unit.test_hot_folder_crashes import cut_off, start

from batchseal.entries.folder_place import FolderPlace

FILES = {f"{name}.bin": name.encode() for name in ("a", "b", "bad c", "d")}


def test_every_file_ends_once_wherever_it_was_cut_off_before_the_database_was_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderPlace, "settled", 1)  # so that the originals of some have gone, and others are there
    calls = cut_off(made(tmp_path / "counted"), SigningDouble(), None).calls
    assert calls > 80
    for number in range(0, calls, 3):
        folders = made(tmp_path / f"cut {number}")
        cut_off(folders, SigningDouble(), number)
        asyncio.run(start(folders, SigningDouble()))  # it knows nothing
        backup, output = below(folders.backup), below(folders.output)
        assert b"it is bad" in backup.pop("bad c.bin.txt")
        assert backup == FILES, f"cut {number}"
        assert b"it is bad" in output.pop("bad c.bin.txt")
        signed = {name: content for name, content in FILES.items() if name != "bad c.bin"}
        assert output == {f"{name}.p7m": content + b" signed" for name, content in signed.items()}, f"cut {number}"
        assert below(folders.input) == {}
        assert left_over(folders) == []


def made(place: Path) -> Folders:
    folders = Folders.make(place)
    for name, content in FILES.items():
        put(folders, name, content)
    return folders
