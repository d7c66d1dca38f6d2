"""The files of a database cluster: making them, and bringing them to the disk.

    data/        the cluster: its few files at the top, and links to
    files/       its folders, tables and all
    new-*/       one that is being made

Only the cluster's own files are brought to the disk, never everything on their file system, most of which may be other people's.
After a crash PostgreSQL wants all of its files on the disk before it recovers. It can do that by one fsync after the other, each
of which a busy disk makes wait, or by syncfs, which waits for everybody's writes. `before_recovery` does it with many fsyncs at
once instead. PostgreSQL then finds few files to sync once more, as it follows no link there.
"""

import asyncio
import os
import shutil
import struct
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.postgres import syncing
from batchseal.postgres.account import Account
from batchseal.postgres.folders import make_folder
from batchseal.postgres.launch import Launch, kill, run_once
from batchseal.system.disk import rename_synced, sync
from batchseal.system.waits import Patience, in_attempts, said_when_long

# The service connects as a role that owns nothing; the other one owns the tables and changes their form.
ROLE = DATABASE = "batchseal"
OWNER = "batchseal_owner"
INITDB_OPTIONS = (
    *("--username=postgres", "--auth-local=trust", "--auth-host=reject"),
    *("--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync"),
)
# One statement a line. Neither role is a superuser.
STATEMENTS = f"CREATE ROLE {ROLE} LOGIN;\nCREATE ROLE {OWNER} LOGIN;\nCREATE DATABASE {DATABASE} OWNER {OWNER};\n"
# PostgreSQL syncs what is behind links at these two, so they gain nothing by moving.
STAYING = ("pg_wal", "pg_tblspc")
# Of `pg_control`: system identifier, two versions, the state. 1: it was shut down, and all of it is on the disk.
CONTROL, SHUT_DOWN = struct.Struct("=QIIi"), 1


async def make_cluster(folder: Path, launch: Launch, patience: Patience) -> None:
    """Makes the cluster beside its place and moves it there: one half made, or not yet on the disk, is never used."""
    data, files = folder / "data", folder / "files"

    async def attempt() -> Path:
        await asyncio.to_thread(remove_halves, folder)
        half = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
        make_folder(half, launch.account)
        await run_once(launch, launch.programs.initdb, "-D", half, *INITDB_OPTIONS)
        # Without fsync too: all is brought to the disk once, below.
        single = ("--single", "-D", half, "-c", "fsync=off", "postgres")
        await run_once(launch, launch.programs.postgres, *single, text=STATEMENTS)
        return half

    try:
        half = await in_attempts(f"the new database in {folder}", attempt, patience, DatabaseUnavailable)
    except ConfigurationError as problem:
        raise ConfigurationError(f"{problem.cause} (in {folder})") from None
    shutil.rmtree(data, ignore_errors=True)
    make_folder(files, launch.account)
    move_folders(half, files)

    async def on_disk() -> None:
        await sync_files(half, files)

    await in_attempts("the new database on the disk", on_disk, patience, DatabaseUnavailable)
    await asyncio.to_thread(rename_synced, half, data)
    await asyncio.to_thread(sync, folder.parent)


def remove_halves(folder: Path) -> None:
    """Removes what a start left that was cut off: no cluster is there yet, so nothing refers to `files` either."""
    for old in (*folder.glob("new-*"), folder / "files"):
        shutil.rmtree(old, ignore_errors=True)


def move_folders(data: Path, files: Path) -> bool:
    """Moves the folders of a cluster to `files` and leaves links; goes on where it was cut off. Says whether there was any."""
    lost = [path.name for path in files.iterdir() if not os.path.lexists(data / path.name)]
    present = [
        path.name for path in data.iterdir() if path.is_dir() and not path.is_symlink() and path.name not in STAYING
    ]
    for name in present:
        shutil.rmtree(files / name, ignore_errors=True)  # of a cluster that is no more
        (data / name).rename(files / name)
        (data / name).symlink_to(Path("..", files.name, name))
    for name in lost:
        (data / name).symlink_to(Path("..", files.name, name))
    return bool(present or lost)


async def before_recovery(folder: Path, account: Account) -> None:
    """Makes a cluster that was not shut down fit for a quick recovery. To be called when no process of its server is left."""
    data, files = folder / "data", folder / "files"
    make_folder(files, account)
    moved = move_folders(data, files)  # those of an earlier release's cluster lie in `data`
    if moved or not was_shut_down(data):
        await sync_files(data, files)
    if moved:
        await asyncio.to_thread(sync, folder)


def was_shut_down(data: Path) -> bool:
    """Whether the server has ended in order. PostgreSQL recovers where this is not so."""
    try:
        control = (data / "global" / "pg_control").read_bytes()
    except OSError:
        return False
    return len(control) >= CONTROL.size and bool(CONTROL.unpack_from(control)[3] == SHUT_DOWN)


async def sync_files(*folders: Path) -> None:
    """All files below the folders are on the disk when this returns. Raises DatabaseUnavailable."""
    command = (sys.executable, "-I", "-S", syncing.__file__, *map(str, folders))
    async with said_when_long("the disk to take the database's files"):
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stderr=PIPE, process_group=0)
        try:
            _, said = await process.communicate()
        except BaseException:
            await kill(process)
            raise
    if process.returncode != 0:
        raise DatabaseUnavailable(f"the database's files cannot be synced: {said.decode('utf-8', 'replace').strip()}")
