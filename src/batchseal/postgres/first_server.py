"""A server on a new cluster that nobody uses yet: there the first tables are made, without any fsync.

Each table and each index is a file, and a server that recovers fsyncs all files that were changed since its last checkpoint, one
after the other. What was made before the cluster is copied to the disk is in no recovery.
"""

import asyncio
import signal
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from batchseal.errors import DatabaseUnavailable
from batchseal.postgres.launch import Launch, kill, spawn
from batchseal.postgres.leftovers import is_ready
from batchseal.postgres.settings import server_arguments

LOOK_SECONDS = 0.01


class TableMaker(Protocol):
    """Who makes the tables of a new database."""

    async def begin(self) -> None:
        """Gets ready, while the database is being made."""

    async def make_tables(self, owner_dsn: str) -> None:
        """Raises DatabaseUnavailable."""

    async def end(self) -> None:
        """Comes last, also after a failure."""


@asynccontextmanager
async def running_on(data: Path, launch: Launch, socket: Path | None = None) -> AsyncIterator[Path]:
    """Runs a server on the cluster in `data` during the block, and shuts it down. Gives the folder of its socket.

    That is `data` itself, unless `socket` is given. Raises DatabaseUnavailable if the server ends by itself.
    """
    socket = socket or data
    arguments = (*server_arguments(launch.programs, data.name, socket, {}), "-c", "fsync=off")
    program, output = launch.programs.postgres, DEVNULL
    process = await spawn(launch, program, "-D", data, *arguments, stdin=DEVNULL, stdout=output, stderr=output)
    try:
        while not is_ready(data, process.pid):
            if process.returncode is not None:
                raise DatabaseUnavailable("the server on the new database ended by itself")
            await asyncio.sleep(LOOK_SECONDS)
        yield socket
        process.send_signal(signal.SIGINT)
        if await process.wait() != 0:
            raise DatabaseUnavailable("the server on the new database was not shut down in order")
    finally:
        if process.returncode is None:
            await kill(process)
