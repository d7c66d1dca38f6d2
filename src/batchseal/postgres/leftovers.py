"""What a killed server leaves behind: processes, and two lock files whose process id may belong to another process by now.

Every process of a server has the cluster name in its command line (`postgres -c cluster_name=X`, `postgres: X: checkpointer`),
which everybody may read. The command line of a zombie is empty, so a dead process that nobody has reaped is not found.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from batchseal.errors import DatabaseUnavailable
from batchseal.postgres.folders import SOCKET

# The signals for leftover processes, and the seconds that each of them gets before the next: an immediate shutdown, a kill. An
# orderly shutdown would fsync one file after the other, which the recovery after an immediate one does not (`recovery.py`). A
# killed process that waits for the disk ends when the disk has answered.
STOP_SIGNALS = ((signal.SIGQUIT, 1.0), (signal.SIGKILL, 30.0))


def cluster_name(data: Path) -> str:
    """A name for the server of this data folder that no other server on this machine has, not even in another container."""
    status = data.stat()
    return f"batchseal-{status.st_dev:x}-{status.st_ino:x}"


def find_processes(name: str) -> list[int]:
    """The ids of the living processes of the server with this cluster name."""
    title, argument = f"postgres: {name}: ".encode(), f"cluster_name={name}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                command = Path("/proc", entry, "cmdline").read_bytes()
                if command.startswith(title) or argument in command.split(b"\0"):
                    found.append(int(entry))
    return found


async def end_processes(name: str) -> None:
    """Ends all processes of the server with this cluster name. Raises DatabaseUnavailable if one of them stays."""
    for number, seconds in STOP_SIGNALS:
        left = find_processes(name)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = asyncio.get_running_loop().time() + seconds
        while left and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
            left = find_processes(name)
        if not left:
            return
    raise DatabaseUnavailable(f"processes of the server before this one do not end: {left}")


def remove_stale_lock_files(data: Path, socket_folder: Path) -> None:
    """Removes both lock files of a server, that of its data and that of its socket.

    The process id in them may belong to another process by now, and PostgreSQL then refuses to start. In a container that is
    likely, since the ids there are small and begin anew with each container. No process of the server may be running. Otherwise
    two servers could work on the same files.
    """
    (data / "postmaster.pid").unlink(missing_ok=True)
    (socket_folder / f"{SOCKET}.lock").unlink(missing_ok=True)


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server with this process id takes connections. Line 8 of its lock file says so."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
