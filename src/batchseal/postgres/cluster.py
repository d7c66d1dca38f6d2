"""Makes the files of a database cluster, and brings them to the disk.

    data/        the cluster: its few files at the top, and symbolic links to
    files/       its folders, tables included
    new-*/       a cluster that is being made

A new cluster is made in memory if there is room (MEMORY), and copied from there: initdb makes, renames and removes a thousand
files one after the other, and each of these steps may wait for the disk.

Only the files of the cluster are fsynced, never the whole file system, where most of the unwritten data may belong to others.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from urllib.parse import quote

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.postgres import trees
from batchseal.postgres.first_server import TableMaker, running_on
from batchseal.postgres.folders import PORT, make_folder
from batchseal.postgres.launch import Launch, kill, run_once
from batchseal.postgres.memory import MEMORY, is_memory, memory_prefix
from batchseal.system.cgroups import available_memory
from batchseal.system.disk import sync
from batchseal.system.waits import Patience, in_attempts, said_when_long, still_at_work

# The service connects as ROLE, which owns nothing. OWNER owns the tables and applies the migrations.
ROLE = DATABASE = "batchseal"
OWNER = "batchseal_owner"
# Acts for the people who run the service (store/operator.py). The service may act as this role, and nobody can log in as it.
OPERATOR = f"{ROLE}_operator"
INITDB_OPTIONS = (
    *("--username=postgres", "--auth-local=trust", "--auth-host=reject"),
    *("--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync"),
)
# Each line is one statement. No role is a superuser. A database is three hundred files: so the one that initdb made is
# taken, and the spare copy of template1 is dropped.
STATEMENTS = f"""CREATE ROLE {ROLE} LOGIN;
CREATE ROLE {OWNER} LOGIN;
CREATE ROLE {OPERATOR};
GRANT {OPERATOR} TO {ROLE};
ALTER DATABASE postgres RENAME TO {DATABASE};
ALTER DATABASE {DATABASE} OWNER TO {OWNER};
ALTER DATABASE template0 IS_TEMPLATE false;
DROP DATABASE template0;
"""
# The space that a new cluster needs in memory, WAL included. A container with less memory than LEAST_MEMORY_BYTES needs all of it
# for the processes that start at the same time.
MEMORY_BYTES, LEAST_MEMORY_BYTES = 56 << 20, 256 << 20
# PostgreSQL fsyncs what is behind links at these two places, so moving them would gain nothing.
STAYING = ("pg_wal", "pg_tblspc")


async def make_cluster(
    folder: Path, launch: Launch, patience: Patience, memory: Path = MEMORY, tables: TableMaker | None = None
) -> None:
    """Makes the cluster in another folder and renames it when it is complete and fsynced. So no incomplete cluster is ever used.

    `memory` is where it is made first, if that is a file system in memory with enough room. Its tables are made there too, if
    `tables` does that.

    Raises ConfigurationError if a program fails, DatabaseUnavailable if each attempt takes too long.
    """
    data, files = folder / "data", folder / "files"

    async def attempt() -> Path:
        await asyncio.to_thread(remove_halves, folder, memory)
        half = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
        make_folder(half, launch.account)
        if not has_room(memory) or not await made_in_memory(folder, half, launch, memory, tables):
            await initialize(half, launch)
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
    half.rename(data)
    # Both at the same time: beside somebody who writes much, each fsync waits.
    await asyncio.gather(asyncio.to_thread(sync, folder), asyncio.to_thread(sync, folder.parent))


async def initialize(half: Path, launch: Launch) -> None:
    """Makes the files of a cluster in an empty folder, without any fsync. Raises ConfigurationError if a program fails."""
    await run_once(launch, launch.programs.initdb, "-D", half, *INITDB_OPTIONS)
    await run_once(
        launch, launch.programs.postgres, "--single", "-D", half, "-c", "fsync=off", "template1", text=STATEMENTS
    )


async def made_in_memory(
    folder: Path, half: Path, launch: Launch, memory: Path, tables: TableMaker | None = None
) -> bool:
    """Makes the cluster in memory and copies it to `half`. Returns False if that failed, with `half` as empty as it was."""
    try:
        with tempfile.TemporaryDirectory(prefix=memory_prefix(folder), dir=memory) as name:
            made = Path(name)
            make_folder(made, launch.account)
            if tables is not None:
                await tables.begin()
            await initialize(made, launch)
            # Each part has the whole time of an attempt: a slow processor needs more for all of them together.
            still_at_work()
            if tables is not None:
                async with running_on(made, launch) as socket:
                    await tables.make_tables(dsn_of(socket, OWNER, DATABASE))
                still_at_work()
            await run_on_trees("copy", made, half)
    except (OSError, ConfigurationError, DatabaseUnavailable):
        # Somebody else may have filled the memory meanwhile. A fault of the programs shows again on the disk.
        shutil.rmtree(half)
        make_folder(half, launch.account)
        return False
    finally:
        if tables is not None:
            await tables.end()
    return True


def dsn_of(socket_folder: Path, role: str, database: str) -> str:
    """The address of a database on the server whose socket is in this folder, for this role."""
    return f"postgresql://{role}@/{database}?host={quote(str(socket_folder), safe='')}&port={PORT}"


def has_room(memory: Path) -> bool:
    """Whether a cluster fits into this folder, which must be a file system in memory."""
    return is_memory(memory, MEMORY_BYTES) and available_memory() >= LEAST_MEMORY_BYTES


def remove_halves(folder: Path, memory: Path) -> None:
    """Removes what an interrupted start left. There is no cluster yet, so nothing refers to `files` either."""
    owner = folder.stat().st_uid
    in_memory = (
        path for path in memory.glob(memory_prefix(folder) + "*") if path.lstat().st_uid in (owner, os.geteuid())
    )
    for old in (*folder.glob("new-*"), folder / "files", *in_memory):
        shutil.rmtree(old, ignore_errors=True)


def move_folders(data: Path, files: Path) -> bool:
    """Moves the folders of a cluster to `files` and leaves links in their place. Returns whether there was anything to do.

    It also completes a move that was interrupted between the rename and the link.
    """
    lost = [path.name for path in files.iterdir() if not os.path.lexists(data / path.name)]
    present = [
        path.name for path in data.iterdir() if path.is_dir() and not path.is_symlink() and path.name not in STAYING
    ]
    for name in present:
        shutil.rmtree(files / name, ignore_errors=True)  # it belongs to a cluster that does not exist any more
        (data / name).rename(files / name)
        (data / name).symlink_to(Path("..", files.name, name))
    for name in lost:
        (data / name).symlink_to(Path("..", files.name, name))
    return bool(present or lost)


async def sync_files(*folders: Path) -> None:
    """Fsyncs all files below the folders. Raises DatabaseUnavailable if that fails."""
    async with said_when_long("the disk to take the database's files"):
        await run_on_trees("sync", *folders)


async def run_on_trees(command: str, *folders: Path) -> None:
    """Runs `trees.py`. Raises DatabaseUnavailable if it fails."""
    program = (sys.executable, "-I", "-S", trees.__file__, command, *map(str, folders))
    process = await asyncio.create_subprocess_exec(*program, stdin=DEVNULL, stderr=PIPE, process_group=0)
    try:
        _, said = await process.communicate()
    except BaseException:
        await kill(process)
        raise
    if process.returncode != 0:
        problem = said.decode("utf-8", "replace").strip()
        raise DatabaseUnavailable(f"the database's files cannot be brought to the disk: {problem}")
