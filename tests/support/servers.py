"""PostgreSQL as others run it: Debian's programs, a password for the service's role, and a standby if one is wanted."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from harness.service import free_port
from harness.tools import OTHER_POSTGRES
from harness.waiting import eventually

from batchseal.store import Store

PASSWORD = "first"
# The role of the service has a password; those that prepare a test need none.
HBA = """host all batchseal 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""
ROLES = f"CREATE ROLE batchseal LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE batchseal_owner LOGIN"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "8MB",
    "max_connections": "40",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "password_encryption": "scram-sha-256",
}


class Server:
    """A cluster in `folder`, and its server while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: Process | None = None

    def url(self, role: str = "batchseal", password: str = PASSWORD) -> str:
        secret = f":{password}" if role == "batchseal" else ""
        return f"postgresql://{role}{secret}@127.0.0.1:{self.port}/batchseal"

    async def start(self) -> None:
        program = OTHER_POSTGRES / "postgres"
        self._process = await asyncio.create_subprocess_exec(
            *(program, "-D", self.folder, "-p", str(self.port)), stderr=DEVNULL, **identity()
        )
        await eventually(self._is_ready, pause=0.05)

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT shuts it down in order, SIGQUIT at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Stops or continues all processes of the server."""
        assert self._process is not None
        for pid in (self._process.pid, *children(self._process.pid)):
            os.kill(pid, number)

    async def run(self, *statements: str, database: str = "batchseal") -> Any:
        """Runs statements as a superuser, and returns the first value of the last one."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
        connection = await asyncpg.connect(url, timeout=60)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    async def set(self, **settings: str) -> None:
        """Changes settings of the running server, for all its connections."""
        changes = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
        await self.run(*changes, "SELECT pg_reload_conf()")
        for name, value in settings.items():
            await eventually(lambda name=name, value=value: self._is_set(name, value))  # type: ignore[misc]

    async def _is_set(self, name: str, value: str) -> bool:
        return bool(await self.run(f"SELECT current_setting('{name}') = '{value}'"))

    async def _is_ready(self) -> bool:
        assert self._process is not None and self._process.returncode is None, "the server has ended"
        try:
            return await self.run("SELECT true", database="template1") is True
        except (OSError, asyncpg.CannotConnectNowError):
            return False


def identity() -> dict[str, Any]:
    """The account that the programs run as: they refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def run_program(name: str, *arguments: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        OTHER_POSTGRES / name, *arguments, stdout=DEVNULL, stderr=subprocess.PIPE, cwd="/", **identity()
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


@asynccontextmanager
async def one_server() -> AsyncIterator[Server]:
    """A server with a migrated database, which the role batchseal uses with PASSWORD."""
    place = Path(tempfile.mkdtemp(prefix="batchseal-servers-"))
    if who := identity():
        os.chown(place, who["user"], who["group"])
    server = Server(place / "a")
    try:
        await run_program(
            "initdb", "-D", server.folder, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"
        )
        (server.folder / "pg_hba.conf").write_text(HBA)
        with (server.folder / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        await server.start()
        await server.run(ROLES, "SELECT 1", database="template1")
        await server.run("CREATE DATABASE batchseal OWNER batchseal_owner", "SELECT 1", database="template1")
        owner = await Store.connect(server.url("batchseal_owner"), instance=uuid4())
        await owner.migrate(role="batchseal")
        await owner.close()
        yield server
    finally:
        await server.stop(signal.SIGQUIT)
        shutil.rmtree(place)


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[Server, Server]]:
    """A primary, and a standby that each commit waits for."""
    async with one_server() as primary:
        standby = Server(primary.folder.with_name("b"))
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=b"
        try:
            await run_program("pg_basebackup", "-d", source, "-D", standby.folder, "-R", "--no-sync", "-c", "fast")
            await standby.start()
            await primary.set(synchronous_standby_names="b")
            await eventually(lambda: primary.run("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))
            yield primary, standby
        finally:
            await standby.stop(signal.SIGQUIT)


async def promote(standby: Server, primary: Server) -> None:
    """The standby takes over. The old primary goes on to answer, and takes no more writes."""
    await primary.set(default_transaction_read_only="on")
    await standby.run("SELECT pg_promote()")
    await standby.set(synchronous_standby_names="")
