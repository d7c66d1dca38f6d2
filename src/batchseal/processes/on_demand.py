"""`OnDemandProcess`: a process that starts when somebody connects to its socket, and ends by itself when it is idle for long.

This process holds the socket and does not accept, so a connection waits while the other process starts, and none is lost where it
ends at that moment.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from batchseal.system.backoff import Backoff
from batchseal.system.folders import open_folder
from batchseal.system.waits import say

BACKLOG = 512
# Pauses after a process that failed. After one that ended well there is none.
RESTARTING = Backoff(0.1, 5.0)


class OnDemandProcess:
    """Runs `python -m module --socket-fd N` with a listening SOCK_SEQPACKET socket at `path`."""

    def __init__(self, name: str, module: str, path: Path, arguments: tuple[str, ...] = ()) -> None:
        self._name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._path = path
        self._listener: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    def listen(self) -> None:
        """Opens the socket. Only the account of this process may connect. The process starts with the first connection."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with open_folder(self._path.parent, strict=False) as folder:
            folder.remove(self._path.name)
            listener.bind(folder.place_of(self._path.name))
            os.chmod(self._path.name, 0o600, dir_fd=folder.descriptor)
        listener.listen(BACKLOG)
        self._listener = listener
        self._serving = asyncio.create_task(self._serve(listener))

    async def stop(self) -> None:
        """Ends the process and closes the socket."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, listener: socket.socket) -> None:
        failures = 0
        while True:
            await readable(listener)
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *self._command,
                    f"--socket-fd={listener.fileno()}",
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(listener.fileno(),),
                    start_new_session=True,
                )
                code = await self.process.wait()
            except OSError as problem:
                code = problem.errno or 1
            failures = failures + 1 if code else 0
            if code:
                say(f"{self._name} ended unexpectedly ({code})")
                await asyncio.sleep(RESTARTING.pause_seconds(failures))


async def readable(listener: socket.socket) -> None:
    """Waits until somebody connects."""
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listener.fileno(), seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(listener.fileno())
