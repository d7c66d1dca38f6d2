"""File systems that take shorter names: whatever comes of a file gets a name that fits, and nothing waits for ever."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from harness.hot_folders import Folders, below, left_over, put
from tests.support.hot_folders import SigningDouble
from tests.unit.test_hot_folder_crashes import start

from batchseal.entries import files, naming

ECRYPTFS_BYTES = 143


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """The output and the backup take names of at most 143 bytes, as eCryptfs does."""
    folders = Folders.make(tmp_path)
    rename, mkdir = files.rename_by_kernel, os.mkdir

    def is_too_long(place: int, name: str) -> bool:
        there = os.readlink(f"/proc/self/fd/{place}")
        return len(os.fsencode(name)) > ECRYPTFS_BYTES and not there.startswith(str(folders.input))

    def renamed(source: int, name: str, target: int, new_name: str) -> int:
        return errno.ENAMETOOLONG if is_too_long(target, new_name) else rename(source, name, target, new_name)

    def made(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and is_too_long(dir_fd, name):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
        mkdir(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(files, "rename_by_kernel", renamed)
    monkeypatch.setattr(os, "mkdir", made)
    return folders


@pytest.mark.parametrize(
    "path",
    [
        "x" * 139 + ".bin",  # takes no `.p7m`
        "é" * 69 + "x.bin",
        "y" * 251 + ".bin",
        "f" * 200 + "/" + "g" * 150 + "/z.bin",
        "f" * 143 + "/" + "z" * 250 + ".bin",
    ],
)
@pytest.mark.parametrize("content", [b"good", b"bad"])
def test_whatever_comes_of_a_file_gets_a_name_that_fits(path: str, content: bytes, folders: Folders) -> None:
    service = SigningDouble()
    for _ in range(2):  # the second one finds its name taken
        put(folders, path, content)
        asyncio.run(asyncio.wait_for(start(folders, service), 30))
    output, backup = below(folders.output), below(folders.backup)
    assert len(output) == 2
    assert len(backup) == (4 if content == b"bad" else 2)
    for name in (*output, *backup):
        assert max(len(os.fsencode(part)) for part in name.split("/")) <= ECRYPTFS_BYTES
    assert all(name.endswith(".txt" if content == b"bad" else ".p7m") for name in output)
    assert left_over(folders) == []


def test_a_name_that_goes_back_is_no_longer_than_it_was() -> None:
    for stem in ("x" * 139, "x"):
        name = f"{stem}.bin"
        found = naming.candidates(name, "changed", max(len(name), 64))
        assert [len(next(found)) <= max(len(name), 64) for _ in range(3)] == [True] * 3
