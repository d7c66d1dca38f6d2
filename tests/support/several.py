"""Several whole services on one database, one sandbox and one folder of payloads, as they stand behind a load balancer."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from harness.service import RunningService
from tests.support.database import SUPERVISOR
from tests.support.sandbox import Sandbox, running_sandbox
from tests.support.shared_app import FOLDER, MODULE

ALL_ROWS = {"batchseal.scope": "*", "search_path": "batchseal"}


@dataclass
class Several:
    """What the instances share. `shared` says whether they read the same payloads."""

    folder: Path
    dsn: str
    sandbox: Sandbox
    shared: bool
    stack: ExitStack
    services: list[RunningService] = field(default_factory=list)

    def start(self, name: str, *flags: str) -> RunningService:
        """One more instance, which is ready when this returns. It ends with the block of `several`, or when it is killed."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        service = RunningService(
            f"--database-url={self.dsn}",
            f"--service-domain={self.sandbox.address}",
            f"--client-services-file={self.sandbox.services}",
            "--workers=1",
            *flags,
            folder=place,
            module=MODULE if self.shared else "batchseal.cli",
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


@contextmanager
def several(folder: Path, *options: str, shared: bool = True) -> Iterator[Several]:
    """The database, and the sandbox with these options. With `shared` all instances read the payloads of one folder."""
    with ExitStack() as stack:
        (folder / "database").mkdir()
        (folder / "sandbox").mkdir()
        command = [sys.executable, "-c", SUPERVISOR, str(folder / "database")]
        database = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(database.terminate)
        assert database.stdout is not None
        dsn = json.loads(database.stdout.readline())
        log = stack.enter_context((folder / "sandbox.log").open("wb"))
        sandbox = stack.enter_context(running_sandbox(folder / "sandbox", "--credential=p256", *options, log=log))
        before = os.environ.get(FOLDER)
        os.environ[FOLDER] = str(folder / "payloads")
        try:
            with ExitStack() as services:
                yield Several(folder, dsn, sandbox, shared, services)
        finally:
            os.environ.pop(FOLDER)
            if before is not None:
                os.environ[FOLDER] = before
