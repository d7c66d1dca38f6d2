"""Several whole services on one database, one sandbox and one payload store, as they stand behind a load balancer."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from harness.database import SUPERVISOR
from harness.sandbox import Sandbox, running_sandbox
from harness.service import RunningService

# For those without a load balancer that has to notice: otherwise an instance waits ten seconds when it stops while others run.
STOPS_AT_ONCE = ("--drain-seconds=0",)
ALL_ROWS = {"batchseal.scope": "*", "search_path": "batchseal"}


@dataclass
class Several:
    """What the instances share. `store` are the flags of the payload store that all of them read; none: each has its own.

    `flags` are further ones of each instance.
    """

    folder: Path
    dsn: str
    sandbox: Sandbox
    store: Sequence[str]
    stack: ExitStack
    flags: Sequence[str] = ()
    services: list[RunningService] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        """Whether the instances read the same payloads."""
        return bool(self.store)

    @property
    def roles(self) -> tuple[str, str]:
        """The flags of an instance that uses the tables by another role than the one that owns them."""
        used = self.dsn.replace("//batchseal_owner@", "//batchseal@")
        return f"--database-url={used}", f"--database-owner-url={self.dsn}"

    def identity(self, name: str) -> str:
        """How an instance that has run is known to the others."""
        return (self.folder / name / "temp" / "instance-id").read_text("ascii").strip()

    def start(
        self, name: str, *flags: str, environment: Mapping[str, str] | None = None, port: int | None = None
    ) -> RunningService:
        """One more instance, which is ready when this returns. It ends with the block of `several`, or when it is killed.

        One of the same name goes on in the folder of the one before. `port` is where it listens; None: at a free one.
        """
        place = self.folder / name
        place.mkdir(exist_ok=True)
        service = RunningService(
            f"--database-url={self.dsn}",
            f"--service-domain={self.sandbox.address}",
            f"--client-services-file={self.sandbox.services}",
            "--workers=1",
            *self.store,
            *self.flags,
            *flags,
            folder=place,
            environment=environment,
            port=port,
        )
        service.services_file, service.root = self.sandbox.services, self.sandbox.root
        self.services.append(self.stack.enter_context(service))
        return service

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Rows of the database, as the owner of its tables sees them."""
        connection = await asyncpg.connect(self.dsn, server_settings=ALL_ROWS)
        try:
            rows: list[Any] = await connection.fetch(statement, *values)
            return rows
        finally:
            await connection.close()

    def count(self, statement: str) -> int:
        """The first value of the first row."""
        return int(asyncio.run(self.fetch(statement))[0][0])


@contextmanager
def several(
    folder: Path,
    *options: str,
    shared: bool = True,
    store: Sequence[str] = (),
    url: str = "",
    flags: Sequence[str] = (),
) -> Iterator[Several]:
    """The database, and the sandbox with these options.

    With `shared` all instances read the payloads of one folder, or of the `store` that these flags name. `url` is a database that
    runs already, in place of an embedded one. `flags` are those of each instance, such as STOPS_AT_ONCE.
    """
    with ExitStack() as stack:
        dsn = url or stack.enter_context(running_database(folder / "database"))
        (folder / "sandbox").mkdir()
        log = stack.enter_context((folder / "sandbox.log").open("wb"))
        sandbox = stack.enter_context(running_sandbox(folder / "sandbox", "--credential=p256", *options, log=log))
        if shared and not store:
            store = (shared_folder(folder / "payloads"),)
        with ExitStack() as services:
            yield Several(folder, dsn, sandbox, tuple(store) if shared else (), services, flags)


@contextmanager
def running_database(folder: Path) -> Iterator[str]:
    """An embedded database whose supervisor is a process of its own. Gives the address for the owner of its tables."""
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "the database did not start"
            yield json.loads(line)
        finally:
            process.terminate()


def shared_folder(volume: Path) -> str:
    """The flag for payloads in a folder that all instances have, which is made if it is not there."""
    volume.mkdir(mode=0o700, exist_ok=True)
    return f"--payload-store=shared:{volume}"
