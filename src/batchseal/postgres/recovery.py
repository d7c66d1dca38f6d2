"""Recovers a cluster that was not shut down, without fsyncing one file after the other.

A recovery of PostgreSQL fsyncs all files first, and each file that it has changed at its end: 20 to 60 fsyncs one after the
other, each of which takes up to half a second beside somebody who writes much to the same disk. So the server recovers alone
here, with nobody connected and without any fsync, and shuts down. Then all files are fsynced at the same time.

    data/recovering     the control file as it was before, from the recovery's begin until all files are on the disk

The control file says from where in the log a recovery begins. If the machine stops meanwhile, the disk may hold the new control
file, and not all that it promises. So the next start puts the old one back and recovers from the old place once more. The log is
still there, since this recovery removes none of it, and a recovery may be repeated as often as one likes.
"""

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from batchseal.errors import DatabaseUnavailable
from batchseal.postgres.account import Account
from batchseal.postgres.cluster import move_folders, sync_files
from batchseal.postgres.folders import make_folder
from batchseal.system.disk import sync

KEPT = "recovering"
# What the recovering server is told beside its usual settings.
SETTINGS = {"fsync": "off", "wal_keep_size": "1TB"}
# The beginning of `pg_control`: the system identifier, two versions, the state. State 1: shut down, and all data is on the disk.
CONTROL, SHUT_DOWN = struct.Struct("=QIIi"), 1


async def recover(folder: Path, account: Account, run: Callable[[], Awaitable[None]]) -> None:
    """Recovers the cluster in `folder` if that is needed. No process of its server may be running.

    `run` lets the server recover with SETTINGS and shut down. Raises DatabaseUnavailable if a file cannot be fsynced, or if the
    server was not shut down in the end. Then the next try begins anew.
    """
    data, files = folder / "data", folder / "files"
    make_folder(files, account)
    if move_folders(data, files):  # those of an earlier release's cluster are still in `data`
        await sync_files(data, files)
        await asyncio.to_thread(sync, folder)
    if not (data / KEPT).exists():
        if was_shut_down(data):
            return
        await asyncio.to_thread(keep_control, data)
    else:
        await asyncio.to_thread(put_control_back, data)
    await run()
    if not was_shut_down(data):
        raise DatabaseUnavailable("the embedded database does not recover")
    await sync_files(data, files)
    await asyncio.to_thread(forget_control, data)


def was_shut_down(data: Path) -> bool:
    """Whether the server was shut down in the regular way. If not, PostgreSQL recovers at its next start."""
    try:
        control = control_file(data).read_bytes()
    except OSError:
        return False
    return len(control) >= CONTROL.size and bool(CONTROL.unpack_from(control)[3] == SHUT_DOWN)


def control_file(data: Path) -> Path:
    return data / "global" / "pg_control"


def keep_control(data: Path) -> None:
    """Copies the control file. Returns when the copy and its name are on the disk. Raises DatabaseUnavailable if that fails."""
    half = data / f"{KEPT}.half"
    try:
        control = control_file(data)
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(control.read_bytes())
            file.flush()
            os.fsync(descriptor)
            status = control.stat()
            if os.geteuid() == 0:
                os.fchown(descriptor, status.st_uid, status.st_gid)
        half.rename(data / KEPT)
        sync(data)
    except OSError as problem:
        raise DatabaseUnavailable(f"the control file of the database cannot be kept: {problem}") from None


def put_control_back(data: Path) -> None:
    """Makes the control file what it was before the last recovery. Raises DatabaseUnavailable if that fails."""
    try:
        kept = (data / KEPT).read_bytes()
        descriptor = os.open(control_file(data), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(kept)
            file.flush()
            os.fsync(descriptor)
    except OSError as problem:
        raise DatabaseUnavailable(f"the control file of the database cannot be put back: {problem}") from None


def forget_control(data: Path) -> None:
    """Removes the copy. It is gone from the disk before the server changes anything: later it would be too old."""
    (data / KEPT).unlink()
    sync(data)
