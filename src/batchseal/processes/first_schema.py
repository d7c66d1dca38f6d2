"""The process that makes the tables of a new embedded database (`store/first_schema.py`). It loads its code beside initdb."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

from batchseal.errors import DatabaseUnavailable
from batchseal.postgres.cluster import ROLE


class FirstSchema:
    """A `TableMaker` of the embedded database."""

    def __init__(self) -> None:
        self._process: Process | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def begin(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "batchseal.store.first_schema", ROLE), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
        )

    async def make_tables(self, owner_dsn: str) -> None:
        assert self._process is not None
        await self._process.communicate(owner_dsn.encode())
        if self._process.returncode != 0:
            raise DatabaseUnavailable("the tables of a new database could not be made")

    async def end(self) -> None:
        if self._process is not None and self.is_running:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
