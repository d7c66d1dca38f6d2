"""Starts a program of PostgreSQL as the account of the server.

The program gets a process group of its own, and the kernel ends it when the service ends.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batchseal.errors import ConfigurationError
from batchseal.postgres import launcher
from batchseal.postgres.account import Account
from batchseal.postgres.programs import ENVIRONMENT, Programs

# How long to wait for a killed process. While it waits for the disk it cannot end, but it runs no more of its code either.
KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What every start of a program needs. `EmbeddedPostgres.start` finds it out once."""

    programs: Programs
    account: Account
    pass_folders: bool
    socket_folder: Path


async def spawn(launch: Launch, program: Path, *arguments: str | Path, stdin: int, stdout: int, stderr: int) -> Process:
    """Starts a program as the account of `launch`. The kernel ends the program when the calling thread ends.

    Raises ConfigurationError if the program cannot be run.
    """
    reading, writing = os.pipe()
    folders = "pass-folders" if launch.pass_folders else "-"
    told = (str(writing), str(os.getpid()), launch.account.identity, folders)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launcher.__file__, *told, program, *arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=(writing,),
            process_group=0,  # so that Ctrl-C in a terminal reaches the service only
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        problem = await read_to_end(reading)
    except BaseException:
        await kill(process)
        raise
    if problem:
        await process.wait()
        raise ConfigurationError(f"{program.name} cannot be run as {launch.account.name}: {problem}")
    return process


async def read_to_end(descriptor: int) -> str:
    """What the launcher reports before it ends. Empty if it has executed the program. Closes the descriptor."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        return (await reader.read()).decode("utf-8", "replace")
    finally:
        transport.close()


async def run_once(launch: Launch, program: Path, *arguments: str | Path, text: str = "") -> None:
    """Runs a program until it ends, with `text` on its standard input. Raises ConfigurationError if it fails."""
    process = await spawn(launch, program, *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    try:
        output, _ = await process.communicate(text.encode())
    except BaseException:
        await kill(process)
        raise
    if process.returncode != 0 or b"ERROR:" in output or b"FATAL:" in output:
        lines = output.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise ConfigurationError(f"{program.name} failed: {' / '.join(lines)}")


async def kill(process: Process) -> None:
    """Kills a process and its process group, since initdb starts a server of its own, and reaps the process.

    If the process waits for the disk and does not end, this returns after KILL_SECONDS all the same.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), KILL_SECONDS)
