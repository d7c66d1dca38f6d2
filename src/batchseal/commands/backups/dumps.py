"""Runs pg_dump and psql, the programs of the embedded database that write a dump and read it."""

import asyncio
import os
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import zstandard

from batchseal.commands.backups.manifest import READ_BYTES, FileNote, Noted
from batchseal.errors import ConfigurationError
from batchseal.postgres.cluster import ROLE
from batchseal.postgres.programs import ENVIRONMENT, find_programs
from batchseal.system.disk import replacing

# The role that initdb made. Row security does not hide rows from it.
SUPERUSER = "postgres"
MOST_ERRORS = 5


def client(settings_bin: str, name: str) -> Path:
    """The path of a program of the embedded PostgreSQL. Raises ConfigurationError if it is not there."""
    folder = find_programs(Path(settings_bin) if settings_bin else None).folder
    if not os.access(folder / name, os.X_OK):
        raise ConfigurationError(f"there is no program {name} in {folder}, which a backup needs")
    return folder / name


def as_superuser(url: str) -> str:
    """The address of the embedded database for the role that sees everything."""
    return re.sub(rf"^(\w+://){ROLE}@", rf"\1{SUPERUSER}@", url)


@asynccontextmanager
async def running(failure: str, *command: str | Path, stdin: int, stdout: int) -> AsyncIterator[Process]:
    """Runs a program during the block, and waits for its end. Raises ConfigurationError, with its last words, if it fails."""
    process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout, stderr=PIPE, env=ENVIRONMENT)
    assert process.stderr is not None
    saying = asyncio.create_task(process.stderr.read())
    try:
        yield process
        said = await saying
        if await process.wait() != 0:
            raise ConfigurationError(f"{failure}: {last_words(said)}")
    except BaseException:
        saying.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise


async def dump(program: Path, url: str, snapshot: str, path: Path) -> FileNote:
    """Writes a compressed dump, fsynced. Raises ConfigurationError if pg_dump fails."""
    command = (program, "--no-password", f"--snapshot={snapshot}", "--dbname", as_superuser(url))
    with replacing(path, 0o600) as file:
        noted = Noted(file)
        packing = zstandard.ZstdCompressor(level=3).compressobj()
        async with running("pg_dump failed", *command, stdin=DEVNULL, stdout=PIPE) as process:
            assert process.stdout is not None
            while block := await process.stdout.read(READ_BYTES):
                noted.write(packing.compress(block))
        noted.write(packing.flush())
    return noted.note


async def load(program: Path, url: str, path: Path) -> None:
    """Reads a dump into an empty database, all of it or nothing. Raises ConfigurationError if psql fails."""
    command = (program, "-Xq", "--no-password", "--single-transaction", "-vON_ERROR_STOP=1", as_superuser(url))
    failure = "the dump cannot be read into the new database"
    async with running(failure, *command, stdin=PIPE, stdout=DEVNULL) as process:
        assert process.stdin is not None
        # Where psql has ended already, it says why.
        with suppress(BrokenPipeError, ConnectionResetError):
            for block in unpacked(path):
                process.stdin.write(block)
                await process.stdin.drain()
        process.stdin.close()


def unpacked(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        while block := reader.read(READ_BYTES):
            yield block


def last_words(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return " / ".join(lines[:MOST_ERRORS]) or "it said nothing"
