"""A process of the service other than the database: started, told its settings, waited for, and started again when it ends."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings, dump_settings
from batchseal.system.backoff import Backoff
from batchseal.system.waits import Patience, in_attempts, say

# From its settings on until it is ready. Its code is loaded meanwhile or has been before.
PATIENCE = Patience(seconds=30.0)
# Pauses before a child that ended is started again. After a run of STEADY_SECONDS the first pause is used again.
RESTARTING = Backoff(0.2, 10.0)
STEADY_SECONDS = 30.0
# A killed process that waits for the disk ends later. It runs none of its code after the signal, so the next one need not wait.
KILL_SECONDS = 5.0


@dataclass(slots=True)
class Child:
    """A process of the service: `python -m module`, settings on its stdin, one line on `ready` when it can be used."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    number: int = 0  # of a worker
    patience: Patience = PATIENCE
    ready: int = -1  # the descriptor, until the line is waited for
    process: asyncio.subprocess.Process | None = None
    watcher: asyncio.Task[None] | None = None

    async def spawn(self) -> None:
        """Starts it. It loads its code and waits for its settings."""
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
        """Starts it unless that is done, hands its settings over, and waits until it is ready; returns what it said.

        Where it is not ready in time it is ended and started anew. Raises ConfigurationError where it ends by itself, or is
        late in every attempt.
        """
        what = f"the {self.name} process"
        return await in_attempts(what, lambda: self._attempt(settings), self.patience, ConfigurationError)

    async def _attempt(self, settings: Settings) -> str:
        if self.ready < 0:
            await self.end(0)  # one that was not ready in time
            await self.spawn()
        assert self.process is not None
        assert self.process.stdin is not None
        descriptor, self.ready = self.ready, -1
        with suppress(BrokenPipeError, ConnectionResetError):
            self.process.stdin.write(dump_settings(replace(settings, worker=self.number)))
            await self.process.stdin.drain()
        self.process.stdin.close()
        line = await read_line(descriptor)
        if not line:
            raise ConfigurationError(f"the {self.name} process could not start; its message stands above")
        return line

    async def keep_running(self, settings: Settings, stopping: Callable[[], bool]) -> None:
        """Starts it again whenever it ends, or was not ready in time, for as long as the service runs."""
        ends = 0  # of the process, and failed starts, in a row
        while self.process is not None:
            began = time.monotonic()
            code = await self.process.wait()
            if stopping():
                return
            if time.monotonic() - began > STEADY_SECONDS:
                ends = 0
            say(f"{self.name} ended unexpectedly ({code}), starting it again")
            # Until it is ready: whoever waits for the end of a process that never gets there would wait for ever.
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
        """Gives it time to end by itself, then kills it."""
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


async def read_line(descriptor: int) -> str:
    """The line that a child writes when it is ready; empty where it ends without."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        return (await reader.readline()).decode().strip()
    finally:
        transport.close()
