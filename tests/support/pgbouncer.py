"""A real PgBouncer in transaction mode before the embedded database."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
from harness.service import free_port
from harness.tools import find
from harness.waiting import eventually

from batchseal.postgres import EmbeddedPostgres
from batchseal.postgres.account import account_of
from batchseal.postgres.launch import Launch, spawn
from batchseal.postgres.programs import find_programs

# Gives the address of a database through the pooler.
Through = Callable[[str], str]


@asynccontextmanager
async def pgbouncer(
    server: EmbeddedPostgres, folder: Path, *, size: int = 1, port: int = 0, **settings: Any
) -> AsyncIterator[Through]:
    """Runs PgBouncer with at most `size` connections to each database of the server. `settings` are more lines of its file."""
    program = find("pgbouncer")
    assert program is not None
    port, owner = port or free_port(), server.folder.stat().st_uid
    users, file = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text('"batchseal" ""\n"batchseal_owner" ""\n')
    socket_folder = parse_qs(urlsplit(server.dsn).query)["host"][0]
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": str(users),
        "pool_mode": "transaction",
        "default_pool_size": str(size),
        "logfile": "/dev/null",
        **settings,
    }
    told = "".join(f"{name} = {value}\n" for name, value in lines.items())
    file.write_text(f"[databases]\n* = host={socket_folder} port=5432\n[pgbouncer]\n{told}")
    for path in (folder, users, file):
        os.chown(path, owner, -1)
    # It refuses to run as root. The account of the server may use the socket, and a folder above it may be closed.
    switch = os.geteuid() == 0
    launch = Launch(find_programs(None), account_of(owner, switch=switch), switch, Path(socket_folder))
    process = await spawn(launch, Path(program), "-q", file, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)

    def through(url: str) -> str:
        parts = urlsplit(url)
        return f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"

    async def listens() -> bool:
        assert process.returncode is None, "PgBouncer has ended"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    try:
        await eventually(listens, pause=0.02)
        yield through
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()


async def kept_in_session(url: str) -> dict[str, str | None]:
    """What the next client of the pooler finds in the session of the server that it is given."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        record = await connection.fetchrow(
            "SELECT current_setting('batchseal.client_service', true) AS caller,"
            " current_setting('batchseal.scope', true) AS scope, current_setting('search_path') AS path,"
            " (SELECT count(*)::text FROM pg_prepared_statements) AS prepared"
        )
        return dict(record)
    finally:
        await connection.close()
