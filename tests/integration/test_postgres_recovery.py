"""Recoveries that are cut off: by a kill, and by a power cut that loses what was not fsynced."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from harness.database import launch

from batchseal.errors import DatabaseUnavailable
from batchseal.postgres import EmbeddedPostgres
from batchseal.postgres.account import check_reachable, choose_account
from batchseal.postgres.cluster import DATABASE
from batchseal.postgres.launch import Launch, run_once
from batchseal.postgres.leftovers import cluster_name, end_processes, find_processes, remove_stale_lock_files
from batchseal.postgres.programs import find_programs, programs_for
from batchseal.postgres.recovery import KEPT, SETTINGS, recover, was_shut_down
from batchseal.postgres.settings import server_arguments

ROWS, TRANSACTION_ROWS = 3000, 100
QUESTIONS = {
    "SELECT count(*) FROM kept": ROWS * 2 // 3,
    "SELECT count(DISTINCT number) FROM kept WHERE text = repeat('x', 300)": ROWS * 2 // 3,
    "SELECT text FROM kept WHERE number = 2999": "x" * 300,
    "SELECT to_regclass('dropped') IS NULL": True,
}


class PowerCut(Exception):
    """Stands for the end of the machine."""


@pytest.fixture
async def killed(service_folder: Path) -> Path:
    """The folder of a database that was killed, with tables, rows and files to recover."""
    supervisor, dsn = await launch(service_folder)
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept (number integer PRIMARY KEY, text text)")
    await connection.execute("CREATE TABLE dropped AS SELECT * FROM generate_series(1, 1000)")
    insert = "INSERT INTO kept SELECT n, repeat('x', 300) FROM generate_series($1::integer, $2::integer) n"
    for first in range(1, ROWS + 1, TRANSACTION_ROWS):
        await connection.execute(insert, first, first + TRANSACTION_ROWS - 1)
    await connection.execute("DROP TABLE dropped")
    await connection.execute("DELETE FROM kept WHERE number % 3 = 0")
    supervisor.send_signal(signal.SIGSTOP)  # it would start the server again
    for pid in find_processes(cluster_name(service_folder / "data")):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    supervisor.kill()
    connection.terminate()
    await supervisor.wait()
    await end_processes(cluster_name(service_folder / "data"))
    assert not was_shut_down(service_folder / "data")
    return service_folder


async def recovery_of(folder: Path) -> Callable[[], Awaitable[None]]:
    """What `recover` is given to run."""
    account = choose_account(folder)
    programs = programs_for(account, find_programs(None), folder)
    alone = Launch(programs, account, check_reachable(account, folder), folder)
    data = folder / "data"

    async def run() -> None:
        remove_stale_lock_files(data, folder)
        arguments = server_arguments(programs, cluster_name(data), folder, SETTINGS)
        await run_once(alone, programs.postgres, "--single", "-D", data, *arguments, DATABASE)

    return run


async def judge(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    connection = await asyncpg.connect(server.owner_dsn)
    for question, answer in QUESTIONS.items():
        assert await connection.fetchval(question) == answer
    assert await connection.fetchval("SHOW fsync") == "on"
    assert await connection.fetchval("SHOW wal_keep_size") == "0"
    await connection.close()
    assert not (folder / "data" / KEPT).exists()
    await server.stop()
    assert was_shut_down(folder / "data")


@pytest.mark.parametrize("lost", [0.0, 0.5, 1.0])
async def test_a_power_cut_after_a_recovery_loses_nothing(killed: Path, lost: float) -> None:
    """The new control file is on the disk, and of the other files only a part."""
    before, owner, chance = killed / "before", (killed / "files").stat(), random.Random(lost)
    shutil.copytree(killed / "files", before, symlinks=True)
    run = await recovery_of(killed)

    async def and_then_the_power_is_cut() -> None:
        await run()
        assert was_shut_down(killed / "data")
        for old in before.rglob("*"):
            now = killed / "files" / old.relative_to(before)
            if old.is_file() and old.name != "pg_control" and chance.random() < lost:
                now.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(old, now)
                os.chown(now, owner.st_uid, owner.st_gid)
        raise PowerCut

    with pytest.raises(PowerCut):
        await recover(killed, choose_account(killed), and_then_the_power_is_cut)
    assert (killed / "data" / KEPT).exists()
    shutil.rmtree(before)
    await judge(killed)


async def test_a_recovery_that_is_killed_begins_anew(killed: Path) -> None:
    control = (killed / "files/global/pg_control").read_bytes()
    run = await recovery_of(killed)
    for seconds in (0.05, 0.1, 0.2):
        with suppress(TimeoutError):  # which `run_once` turns into a kill
            async with asyncio.timeout(seconds):
                await recover(killed, choose_account(killed), run)
        kept = killed / "data" / KEPT
        assert was_shut_down(killed / "data") if not kept.exists() else kept.read_bytes() == control
    await judge(killed)


async def test_a_recovery_that_fails_changes_nothing_for_the_next_one(killed: Path) -> None:
    async def does_nothing() -> None:
        pass

    with pytest.raises(DatabaseUnavailable, match="does not recover"):
        await recover(killed, choose_account(killed), does_nothing)
    await judge(killed)


async def test_what_was_shut_down_is_not_recovered(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder)
    await server.start()
    await server.stop()

    async def must_not_run() -> None:
        raise AssertionError

    await recover(service_folder, choose_account(service_folder), must_not_run)
    assert not (service_folder / "data" / KEPT).exists()


async def test_a_control_file_that_cannot_be_kept_is_an_error(killed: Path) -> None:
    control = killed / "files/global/pg_control"
    control.rename(killed / "elsewhere")
    with pytest.raises(DatabaseUnavailable, match="cannot be kept"):
        await recover(killed, choose_account(killed), await recovery_of(killed))
    (killed / "elsewhere").rename(control)
    await judge(killed)
