"""The folder that the server takes for its data folder: one in memory, whose entries are links to those of the real one.

PostgreSQL fsyncs its lock file `postmaster.pid` six times while it starts, and a busy disk takes half a second for each. The
file is worth nothing after a crash of the machine, so it need not be on a disk. All else is reached through the links, and
nothing that must last is made at the top of a data folder while a server runs.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from batchseal.postgres.account import Account
from batchseal.postgres.leftovers import cluster_name
from batchseal.postgres.memory import MEMORY, is_memory

LOCK_FILE = "postmaster.pid"
# The server makes these two anew at each start.
NOT_LINKED = (LOCK_FILE, "postmaster.opts")
NEEDED_BYTES = 1 << 20


def make_run_folder(data: Path, account: Account, memory: Path = MEMORY) -> Path:
    """Makes the folder for one run of the server on `data`, and leaves a link to its lock file in `data`.

    Returns `data` itself where there is no file system in memory that can be used. No process of the server may be running.
    """
    remove_run_folders(data, memory)
    if not is_memory(memory, NEEDED_BYTES):
        return data
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix(data), dir=memory))
        for entry in data.iterdir():
            if entry.name not in NOT_LINKED:
                (folder / entry.name).symlink_to(entry)
        if account.switch:
            os.chown(folder, account.uid, account.gid)
        (data / LOCK_FILE).symlink_to(folder / LOCK_FILE)
    except OSError:
        # Somebody else may have filled the memory meanwhile.
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return data
    return folder


def remove_run_folders(data: Path, memory: Path = MEMORY) -> None:
    """Removes what earlier runs on this data folder left in memory."""
    with suppress(OSError):
        owners = (data.stat().st_uid, os.geteuid())
        for old in memory.glob(f"{prefix(data)}*"):
            if old.lstat().st_uid in owners:
                shutil.rmtree(old, ignore_errors=True)


def prefix(data: Path) -> str:
    """How the names begin. Containers may share `/dev/shm`, and then another one's data folder may have the same path."""
    return f"{cluster_name(data)}-run-"
