"""HAProxy before two servers of PostgreSQL. It sends everybody to the one that takes writes."""

import asyncio
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from harness.service import free_port
from harness.tools import find
from harness.waiting import eventually
from tests.support.servers import Server

# What the check sends and expects (PostgreSQL 53.7): the start-up of a session, its readiness, a query, and a row with "f".
STARTED, WRITES = "5a0000000549", "440000000b00010000000166"
QUERY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
FILE = """global
    maxconn 200
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 1s
listen postgres
    bind 127.0.0.1:{port}
    option tcp-check
    tcp-check connect
    tcp-check send-binary {startup}
    tcp-check expect binary {started}
    tcp-check send-binary {query}
    tcp-check expect binary {writes}
    default-server check inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def message(kind: bytes, content: bytes) -> str:
    """A message of PostgreSQL's protocol, in hexadecimal digits: its length counts itself, and not the kind."""
    return (kind + (len(content) + 4).to_bytes(4, "big") + content).hex()


@asynccontextmanager
async def before(servers: Sequence[Server], folder: Path) -> AsyncIterator[int]:
    """Runs HAProxy, and gives its port once it leads to nothing but a server that takes writes.

    It takes every server for well until it has checked it, so one that only reads may be met at first.
    """
    program = find("haproxy")
    assert program is not None
    port = free_port()
    startup = message(b"", b"\0\3\0\0user\0postgres\0database\0batchseal\0\0")
    file = folder / "haproxy.cfg"
    file.write_text(
        FILE.format(
            port=port,
            startup=startup,
            started=STARTED,
            query=message(b"Q", QUERY.encode() + b"\0"),
            writes=WRITES,
            servers="\n".join(f"    server s{one.port} 127.0.0.1:{one.port}" for one in servers),
        )
    )
    process = await asyncio.create_subprocess_exec(program, "-db", "-q", "-f", file, stdout=DEVNULL, stderr=DEVNULL)
    way = Server(folder)
    way.port = port
    try:
        await eventually(lambda: writes(way, process, 2 * len(servers)), pause=0.1)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def writes(way: Server, process: asyncio.subprocess.Process, connections: int) -> bool:
    """Whether each of so many connections, one after the other, meets a server that takes writes."""
    assert process.returncode is None, "HAProxy has ended"
    try:
        return all([await way.run("SELECT NOT pg_is_in_recovery()") for _ in range(connections)])
    except (OSError, asyncpg.PostgresConnectionError):
        return False
