"""After a kill: of the server, of the process that started it, and of everything at once."""

import asyncio
import itertools
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from harness.database import launch
from harness.waiting import eventually

from batchseal.errors import DatabaseUnavailable
from batchseal.operation import ContentType, Mode
from batchseal.postgres import EmbeddedPostgres
from batchseal.postgres.leftovers import cluster_name, find_processes
from batchseal.store import NewDocument, NewOperation, Store


def operation(reference: str) -> NewOperation:
    return NewOperation(uuid4(), "A", reference, "", Mode.ASYNC, uuid4(), "h", 1)


DOCUMENTS = [NewDocument(i, f"d{i}", f"{i}.pdf", ContentType.PDF, 1) for i in range(200)]


async def keep_registering(store: Store, acknowledged: list[str]) -> None:
    with suppress(DatabaseUnavailable):
        while True:
            reference = str(uuid4())
            await store.register(operation(reference), DOCUMENTS)
            acknowledged.append(reference)


@pytest.mark.parametrize("orphans", [False, True], ids=["everything", "only the supervisor and the postmaster"])
async def test_kill_of_everything_under_load(service_folder: Path, orphans: bool) -> None:
    """`orphans` leaves the backends of a killed postmaster to the next start: the shared memory may still be in use."""
    acknowledged: list[str] = []
    for trial in range(3):
        began = time.monotonic()
        process, dsn = await launch(service_folder)
        took = time.monotonic() - began
        store = await Store.connect(dsn, instance=uuid4())
        await store.migrate()
        # It takes 0.3 s on a quiet machine, and an attempt that does not come to an end is given up after 60 s.
        assert trial == 0 or took < 50, f"{took:.1f} s"
        for reference in acknowledged:
            row = (await store.operations_with_reference("A", reference))[0]
            assert len(await store.documents(row.id, row.created_at)) == len(DOCUMENTS)
        so_far = len(acknowledged)
        load = [asyncio.create_task(keep_registering(store, acknowledged)) for _ in range(4)]
        await eventually(lambda so_far=so_far: len(acknowledged) > so_far + 8)  # type: ignore[misc]
        name = cluster_name(service_folder / "data")
        postmaster = int((service_folder / "data/postmaster.pid").read_text("utf-8").split()[0])
        process.kill()
        for pid in [postmaster] if orphans else [postmaster, *find_processes(name)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()
        await asyncio.gather(*load)
        await store.close()
    assert acknowledged
    server = EmbeddedPostgres(service_folder)
    await server.start()
    await server.stop()


async def test_the_server_ends_with_its_supervisor(service_folder: Path) -> None:
    process, _ = await launch(service_folder)
    process.kill()
    await process.wait()
    await eventually(lambda: not find_processes(cluster_name(service_folder / "data")))


@pytest.mark.parametrize("name", ["data/postmaster.pid", ".s.PGSQL.5432.lock"])
async def test_a_lock_file_that_names_somebody_else(service_folder: Path, name: str) -> None:
    """After a restart of a container the old number may be a process of our own, even this one."""
    process, dsn = await launch(service_folder)
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    lock_file = service_folder / name
    lines = lock_file.read_text("utf-8").splitlines()
    process.send_signal(signal.SIGSTOP)  # it would start the server again
    os.kill(int(lines[0]), signal.SIGKILL)
    process.kill()
    await process.wait()
    connection.terminate()
    sleeper = await asyncio.create_subprocess_exec("sleep", "600", user=lock_file.stat().st_uid)
    lock_file.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n", "utf-8")
    server = EmbeddedPostgres(service_folder)
    await server.start()
    connection = await asyncpg.connect(server.owner_dsn)
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()
    assert sleeper.returncode is None
    sleeper.kill()
    await sleeper.wait()
    await server.stop()


async def test_a_dead_server_is_started_again(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder)
    await server.start()
    store = await Store.connect(server.owner_dsn, instance=uuid4())
    await store.migrate()
    await store.register(operation("before"), DOCUMENTS)
    attempts = itertools.count()
    for _ in range(2):
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)

        async def is_registered_by_the_new_server(before: int = before) -> bool:
            """Until its backends notice, they serve on; then there is nobody for a moment, and then the new server."""
            with suppress(DatabaseUnavailable):
                await store.register(operation(f"after {next(attempts)}"), DOCUMENTS)
                return server.pid not in (None, before)
            return False

        await eventually(is_registered_by_the_new_server, pause=0.02)
    assert await store.reference_holder("A", "before") is not None
    await store.close()
    await server.stop()


async def test_a_full_or_broken_data_folder_is_an_error_with_words(service_folder: Path) -> None:
    server = EmbeddedPostgres(service_folder)
    await server.start()
    await server.stop()
    (service_folder / "data/global/pg_control").unlink()
    with pytest.raises(DatabaseUnavailable, match="pg_control"):
        await server.start()
    assert find_processes(cluster_name(service_folder / "data")) == []
