"""How the server's programs are started, what of its files is synced, and what happens where it never gets ready."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.postgres import EmbeddedPostgres, launcher
from batchseal.postgres.account import account_of
from batchseal.postgres.launch import Launch, spawn
from batchseal.postgres.leftovers import cluster_name, find_processes
from batchseal.postgres.programs import copy_programs, find_programs
from batchseal.postgres.recovery import was_shut_down
from batchseal.system.waits import Patience

HANGING = """#!/bin/sh
case "$*" in *"{when}"*) if [ "{always}" ] || [ ! -e "{mark}" ]; then : > "{mark}"; exec sleep 600; fi;; esac
exec "$0.real" "$@"
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter and write to."""
    with TemporaryDirectory(prefix="batchseal-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def glob(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def folders_of(folder: Path) -> list[Path]:
    """The folders of the cluster in `folder`, in the place where they belong."""
    return list((folder / "files").iterdir())


def hanging_programs(folder: Path, program: str, when: str, always: bool = False) -> Path:
    """Programs of which one hangs where its command line holds `when`: the first time, or always."""
    copy_programs(find_programs(None).folder.parent, folder / "programs")
    binaries = folder / "programs" / "package" / "pginstall" / "bin"
    (binaries / program).rename(binaries / f"{program}.real")
    text = HANGING.format(when=when, always="always" if always else "", mark=folder / "it hung")
    (binaries / program).write_text(text)
    (binaries / program).chmod(0o755)
    return binaries


def launch_of(folder: Path) -> Launch:
    return Launch(find_programs(None), account_of(os.geteuid(), switch=False), False, folder)


def seen_from_outside(pid: int) -> tuple[dict[str, str], str]:
    """What the kernel says of a process, and its command."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    command = Path(f"/proc/{pid}/cmdline").read_text("utf-8")
    return dict(line.split(":\t", 1) for line in lines), command.split("\0")[0]


async def test_what_a_program_starts_with(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    status, command = seen_from_outside(postgres.pid)
    assert os.getpgid(postgres.pid) == postgres.pid
    assert status["Umask"] == "0077"
    assert status["NoNewPrivs"] == "0"
    # The command line is the server's own: the launcher is gone.
    assert command.endswith("/bin/postgres")


async def test_a_program_ignores_no_signal_and_gets_no_descriptor(tmp_path: Path) -> None:
    """Python ignores SIGPIPE, and what is ignored stays so over exec. The report's descriptor must not stay open."""
    output = tmp_path / "out"
    with output.open("wb") as file:
        script = "grep SigIgn /proc/self/status; ls /proc/self/fd"
        process = await spawn(
            launch_of(tmp_path), Path("/bin/sh"), "-c", script, stdin=DEVNULL, stdout=file.fileno(), stderr=DEVNULL
        )
        assert await asyncio.wait_for(process.wait(), 120) == 0
    ignored, *descriptors = output.read_text().splitlines()
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0
    assert len(descriptors) == 4  # and the one with which `ls` reads the folder


async def test_a_program_that_cannot_be_run_is_an_error_with_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing cannot be run as .*No such file"):
        await spawn(launch_of(tmp_path), tmp_path / "missing", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)


async def test_no_program_is_run_for_a_service_that_has_ended(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    other = str(os.getppid())  # not the launcher's parent
    command = (sys.executable, "-I", "-S", launcher.__file__, str(writing), other, "same", "-")
    process = await asyncio.create_subprocess_exec(*command, "/bin/touch", tmp_path / "made", pass_fds=(writing,))
    os.close(writing)
    assert await asyncio.wait_for(process.wait(), 120) == launcher.FAILED
    assert os.read(reading, 100) == b""
    os.close(reading)
    assert not (tmp_path / "made").exists()


async def test_only_the_clusters_own_files_are_synced(postgres: EmbeddedPostgres) -> None:
    """syncfs waits for everybody's writes, and a recovery that the server begins by itself comes without our sync."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        assert await connection.fetchval("SHOW recovery_init_sync_method") == "fsync"
        assert await connection.fetchval("SHOW restart_after_crash") == "off"
        assert await connection.fetchval("SHOW fsync") == "on"
    finally:
        await connection.close()
    assert (postgres.data / "global").readlink() == Path("../files/global")
    assert not was_shut_down(postgres.data)


@pytest.mark.parametrize("cut_off", [False, True])
async def test_a_cluster_of_an_earlier_release(service_folder: Path, cut_off: bool) -> None:
    """Its folders are in the data folder. They move beside it, also where the move before was cut off."""
    server = EmbeddedPostgres(service_folder)
    await server.start()
    await server.stop()
    assert was_shut_down(server.data)
    for moved in folders_of(service_folder):
        (server.data / moved.name).unlink()
        if not cut_off:
            moved.rename(server.data / moved.name)
    await server.start()
    connection = await asyncpg.connect(server.dsn)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await server.stop()
    assert (server.data / "base").readlink() == Path("../files/base")
    assert {moved.name for moved in folders_of(service_folder)} >= {"base", "global", "pg_xact"}


async def test_a_first_start_that_hangs_begins_anew(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binaries = hanging_programs(open_folder, "initdb", "-D")
    server = EmbeddedPostgres(open_folder / "temp" / "postgres", binaries, patience=Patience(6.0, attempts=20))
    await server.start()
    await server.stop()
    said = capsys.readouterr().err
    assert f"the new database in {server.folder}: not ready within 6 s, given up in attempt 1 of 20" in said
    assert glob(server.folder, "new-*") == []


async def test_a_server_that_hangs_is_started_anew(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = await made_cluster(open_folder)
    binaries = hanging_programs(open_folder, "postgres", "cluster_name=")
    server = EmbeddedPostgres(folder, binaries, patience=Patience(5.0, attempts=20))
    await server.start()
    await server.stop()
    said = capsys.readouterr().err
    assert "the start has waited 3 s for the database server" in said
    assert "the database server: not ready within 5 s, given up in attempt 1 of 20" in said


async def test_a_server_that_always_hangs_is_an_error_with_words(open_folder: Path) -> None:
    folder = await made_cluster(open_folder)
    binaries = hanging_programs(open_folder, "postgres", "cluster_name=", always=True)
    server = EmbeddedPostgres(folder, binaries, patience=Patience(1.0, attempts=2))
    with pytest.raises(DatabaseUnavailable, match="the database server: not ready within 1 s in any of 2 attempts"):
        await server.start()
    assert find_processes(cluster_name(server.data)) == []


async def made_cluster(folder: Path) -> Path:
    server = EmbeddedPostgres(folder / "temp" / "postgres")
    await server.start()
    await server.stop()
    return server.folder
