"""What a server that was killed leaves behind: processes, and a lock file that may name somebody else by now.

Every process of a server carries its cluster name in its command line (`postgres -c cluster_name=X`,
`postgres: X: checkpointer`), which anyone may read; a zombie's command line is empty, so one that nobody
reaps does not count.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from batchseal.errors import DatabaseUnavailable

# How long each signal gets before the next: fast shutdown, immediate shutdown, the kernel.
# A shutdown under way on a busy disk ends sooner than a recovery after a cut-off one: most of both is the same syncing.
# A killed process that waits for the disk ends when the disk has answered.
STOP_SIGNALS_OF_LEFTOVERS = ((signal.SIGINT, 4.0), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 30.0))


def cluster_name(data: Path) -> str:
    """A name that no other server on this machine has, containers that share its processes included."""
    status = data.stat()
    return f"batchseal-{status.st_dev:x}-{status.st_ino:x}"


def find_processes(name: str) -> list[int]:
    """Live processes of the server with this cluster name."""
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
    """Ends what is left of a server whose supervisor is dead. Raises DatabaseUnavailable where something
    stays.
    """
    for number, seconds in STOP_SIGNALS_OF_LEFTOVERS:
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


def remove_stale_lock_file(data: Path) -> None:
    """Removes `postmaster.pid` where its process is not the server: the number may be another's by now.

    To be called when no process of the server is left; else two servers could meet on the same files.
    """
    (data / "postmaster.pid").unlink(missing_ok=True)


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server with this process id takes connections: line 8 of its lock file says so."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
