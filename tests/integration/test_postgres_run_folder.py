"""The server's lock file is kept in memory, and all that must last is on the disk."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from harness.waiting import eventually

from batchseal.postgres import EmbeddedPostgres
from batchseal.postgres.account import choose_account
from batchseal.postgres.leftovers import cluster_name, find_processes, is_ready
from batchseal.postgres.memory import MEMORY
from batchseal.postgres.run_folder import LOCK_FILE, make_run_folder, prefix, remove_run_folders


def in_memory(server: EmbeddedPostgres) -> list[Path]:
    return list(MEMORY.glob(f"{prefix(server.data)}*"))


def data_folder(server: EmbeddedPostgres) -> Path:
    """What the server's process was told."""
    arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
    return Path(os.fsdecode(arguments[arguments.index(b"-D") + 1]))


async def test_the_lock_file_is_in_memory_and_nothing_stays_there(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder)
    await server.start()
    (run,) = in_memory(server)
    assert data_folder(server) == run
    assert not (run / LOCK_FILE).is_symlink()
    assert (server.data / LOCK_FILE).readlink() == run / LOCK_FILE
    assert server.pid is not None
    assert is_ready(server.data, server.pid)
    # The lock file and the options are the server's own. All else is what the disk has.
    own = {entry.name for entry in run.iterdir() if not entry.is_symlink()}
    assert own == {LOCK_FILE, "postmaster.opts"}
    assert {entry.name for entry in run.iterdir()} >= {entry.name for entry in server.data.iterdir()}
    await server.stop()
    assert not in_memory(server)
    assert not (server.data / LOCK_FILE).exists()


async def test_what_a_killed_server_left_in_memory_goes_with_the_next_start(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder)
    await server.start()
    connection = await asyncpg.connect(server.owner_dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    connection.terminate()
    (old,), first = in_memory(server), server.pid
    for pid in find_processes(cluster_name(server.data)):
        with suppress(ProcessLookupError):  # others end with the first one
            os.kill(pid, signal.SIGKILL)

    async def is_back() -> bool:
        return server.pid not in (None, first) and is_ready(server.data, server.pid or 0)

    await eventually(is_back)
    assert in_memory(server) == [data_folder(server)]
    assert data_folder(server) != old
    connection = await asyncpg.connect(server.owner_dsn)
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()
    await server.stop()


@pytest.mark.parametrize("memory", ["a folder on the disk", "none", "full"])
def test_without_memory_the_data_folder_itself_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    data, place = tmp_path / "data", MEMORY if memory == "full" else tmp_path / "memory"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n", "ascii")
    if memory == "a folder on the disk":
        place.mkdir()
    if memory == "full":

        def refuse(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "symlink_to", refuse)
    assert make_run_folder(data, choose_account(data), place) == data
    assert not list(MEMORY.glob(f"{prefix(data)}*"))
    assert {entry.name for entry in data.iterdir()} == {"PG_VERSION"}


def test_a_folder_of_somebody_else_in_memory_stays(tmp_path: Path) -> None:
    """Everybody may make names there."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who can make a folder of somebody else")
    data = tmp_path / "data"
    account = choose_account(data)
    data.mkdir()
    os.chown(data, account.uid, account.gid)
    stranger = MEMORY / f"{prefix(data)}stranger"
    stranger.mkdir()
    os.chown(stranger, 65534, 65534)
    try:
        run = make_run_folder(data, account)
        assert run not in (data, stranger)
        remove_run_folders(data)
        assert stranger.exists()
        assert not run.exists()
    finally:
        stranger.rmdir()


def test_the_same_path_of_another_container_is_another_name(tmp_path: Path) -> None:
    """Containers may share the memory, and each has its data at the same path."""
    data = tmp_path / "data"
    data.mkdir()
    first = prefix(data)
    data.rename(tmp_path / "of another container")
    data.mkdir()
    assert prefix(data) != first
