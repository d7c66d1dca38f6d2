"""A child process as the supervisor sees it: `Child` starts it, gives it its settings, waits for it, and starts it again.

The children are the signer, the workers and the sandbox. What such a process does itself when it begins stands in
`child_entry.py`. The database server is started otherwise (`postgres/server.py`).
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from batchseal.errors import ConfigurationError
from batchseal.processes.forked import Forked
from batchseal.settings.load import Settings, dump_settings
from batchseal.system.backoff import Backoff
from batchseal.system.waits import Patience, in_attempts, say, still_at_work

# How long a child may take from the moment it gets its settings, or has last said that it is at work, until it is ready. This may
# include loading its code.
PATIENCE = Patience(seconds=30.0)
# Pauses before a child that ended is started again. After a run of STEADY_SECONDS the first pause is used again.
RESTARTING = Backoff(0.2, 10.0)
STEADY_SECONDS = 30.0
# How long to wait for a killed child. While it waits for the disk it cannot end, but it runs no more of its code, so the next one
# may start.
KILL_SECONDS = 5.0


@dataclass(slots=True)
class Child:
    """A process that runs `python -m module arguments`. It reads its settings from standard input.

    When it can be used, it writes one line to the pipe whose other end is `ready`. If it is `forked` already, it is taken over as
    its first process.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    number: int = 0  # the number of a worker, from 1; 0 for other children
    patience: Patience = PATIENCE
    ready: int = -1  # the descriptor to read the line from; -1 if somebody reads it already, or none was started
    forked: Forked | None = None
    process: asyncio.subprocess.Process | Forked | None = None
    watcher: asyncio.Task[None] | None = None

    async def spawn(self) -> None:
        """Starts the process, which loads its code and then waits for its settings."""
        if self.forked is not None:
            forked, self.forked = self.forked, None
            if await forked.begin():
                self.process, self.ready = forked, forked.ready
                return
        self.ready, writing = os.pipe()
        try:
            command = [sys.executable, "-m", self.module, *self.arguments, f"--ready-fd={writing}"]
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, pass_fds=(writing,), start_new_session=True
            )
        except BaseException:
            os.close(self.ready)
            self.ready = -1
            raise
        finally:
            os.close(writing)

    async def start(self, settings: Settings) -> str:
        """Starts the process unless it is started, gives it its settings, and returns the line that it writes when it is ready.

        If it is not ready in time, it is killed and started again. Raises ConfigurationError if it ends by itself, or if it is
        not ready in time in any attempt.
        """
        what = f"the {self.name} process"
        return await in_attempts(what, lambda: self._attempt(settings), self.patience, ConfigurationError)

    async def _attempt(self, settings: Settings) -> str:
        if self.ready < 0:
            await self.end(0)  # the one of the attempt before, which was not ready in time
            await self.spawn()
        assert self.process is not None
        descriptor, self.ready = self.ready, -1
        await tell(self.process, dump_settings(replace(settings, worker=self.number)))
        line = await read_line(descriptor)
        if not line:
            raise ConfigurationError(f"the {self.name} process could not start; see its message above")
        return line

    async def keep_running(self, settings: Settings, stopping: Callable[[], bool]) -> None:
        """Starts the process again whenever it ends, until `stopping` returns True. A start that fails is tried again too."""
        ends = 0  # of the process, and failed starts, in a row
        while self.process is not None:
            began = time.monotonic()
            code = await self.process.wait()
            if stopping():
                return
            if time.monotonic() - began > STEADY_SECONDS:
                ends = 0
            say(f"{self.name} ended unexpectedly ({code}), starting it again")
            # This goes on until a start succeeds. A process that hangs during its start does not end, so waiting for its end
            # would last for ever.
            while True:
                ends += 1
                await asyncio.sleep(RESTARTING.pause_seconds(ends))
                if stopping():
                    return
                try:
                    await self.start(settings)
                    break
                except (ConfigurationError, OSError) as problem:
                    pause = RESTARTING.pause_seconds(ends + 1)
                    say(f"{self.name} is not back: {problem}; starting it again in {pause:g} s")

    async def end(self, seconds: float) -> None:
        """Waits up to `seconds` for the process to end, then kills it."""
        if self.process is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.process.wait()
                return
        with suppress(ProcessLookupError):
            self.process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_SECONDS):
                await self.process.wait()


async def tell(process: asyncio.subprocess.Process | Forked, settings: bytes) -> None:
    """Gives a process its settings. One that has ended meanwhile gets none."""
    if isinstance(process, Forked):
        await process.tell(settings)
        return
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(settings)
        await process.stdin.drain()
    process.stdin.close()


async def read_line(descriptor: int) -> str:
    """The line that a child writes when it is ready. Empty if it ends without writing one. Closes the descriptor.

    An empty line before that says that the child is at work (`child_entry.at_work`), and begins the time of the attempt anew.
    """
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        while (line := await reader.readline()) == b"\n":
            still_at_work()
        return line.decode().strip()
    finally:
        transport.close()
