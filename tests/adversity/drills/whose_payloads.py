"""Two databases on one payload store, and a database that was restored to an earlier time: nothing is deleted of either."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from harness.service import RunningService
from harness.several import ALL_ROWS, Several, running_database, several
from harness.tools import OBJECT_STORES, OLDER_POSTGRES
from harness.waiting import eventually, until
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.servers import Server, one_server, run_program
from tests.support.service import batch, documents, finished, post
from tests.support.shared_stores import shared_store, swept

from batchseal.payloads.marker import MARKER

OWNER = "batchseal_owner"
SWEEPS = 3
KEPT = "payloads that have had their time are not purged"
REFUSED, REFUSED_WITHOUT_MARKER = "belongs to the database", "whose they are"
REFUSED_OF_OWN = "its marker is not here"
STOP_SECONDS, KEPT_SECONDS = 60, 90


def sign(service: RunningService, name: str, count: int) -> list[str]:
    """Has so many batches signed, and returns their references."""
    references = [f"{name} {number}" for number in range(count)]
    for reference in references:
        assert post(service, batch(reference, documents(2)))[0] == 200
    for reference in references:
        assert finished(service, reference).status == "EXECUTED"
    return references


def judge(service: RunningService, references: list[str]) -> None:
    for reference in references:
        judge_result(service, finished(service, reference).operation_id, documents(2), verified=1)


def stop(service: RunningService) -> None:
    service.process.terminate()
    assert service.process.wait(STOP_SECONDS) == 0


# --- a database that was restored ------------------------------------------------------------------------------------------


@dataclass
class Restored:
    """How a database is brought back to an earlier time: `back_up` is called then, `restore` later, which gives its address."""

    server: Server
    stack: AsyncExitStack

    @property
    def backup(self) -> Path:
        return self.server.folder.with_name("backup")

    async def back_up(self) -> None:
        raise NotImplementedError

    async def restore(self) -> str:
        raise NotImplementedError

    @property
    def is_copy(self) -> bool:
        """Whether the database that it was made of is still there."""
        return True


class FilesPutBack(Restored):
    """The files of the stopped server. The cluster and its timeline are the same as before."""

    async def back_up(self) -> None:
        await self._copied(self.server.folder, self.backup)

    async def restore(self) -> str:
        await self._copied(self.backup, self.server.folder)
        return self.server.url(OWNER)

    @property
    def is_copy(self) -> bool:
        return False

    async def _copied(self, source: Path, target: Path) -> None:
        await self.server.stop()
        await asyncio.to_thread(self._copy, source, target)
        await self.server.start()

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """With the owner of each file, whom the server insists on."""
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)


class PointInTime(Restored):
    """A base backup that is started by itself: it ends on a new timeline."""

    async def back_up(self) -> None:
        source = f"host=127.0.0.1 port={self.server.port} user=postgres"
        await run_program("pg_basebackup", "-d", source, "-D", self.backup, "--no-sync", "-c", "fast", "-X", "stream")

    async def restore(self) -> str:
        with (self.backup / "postgresql.auto.conf").open("a") as file:
            file.write("restore_command = 'false'\nrecovery_target = 'immediate'\nrecovery_target_action = 'promote'\n")
        (self.backup / "recovery.signal").touch()
        restored = Server(self.backup)
        await restored.start()
        self.stack.push_async_callback(restored.stop)
        await eventually(lambda: restored.run("SELECT NOT pg_is_in_recovery()"))
        return restored.url(OWNER)


class Dumped(Restored):
    """A dump that another cluster reads."""

    async def back_up(self) -> None:
        await run_program("pg_dump", "-d", self.server.url("postgres"), "-f", self.backup)

    async def restore(self) -> str:
        other = await self.stack.enter_async_context(one_server())
        await other.run("DROP DATABASE batchseal", "SELECT 1", database="template1")
        await other.run(f"CREATE DATABASE batchseal OWNER {OWNER}", "SELECT 1", database="template1")
        await run_program("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", other.url("postgres"), "-f", self.backup)
        return other.url(OWNER)


WAYS: tuple[type[Restored], ...] = (FilesPutBack, PointInTime, Dumped)


def restored(folder: Path, name: str) -> Iterator[Trial]:
    """An instance goes on with an earlier database. There, results were fetched long ago that the present one has not given out.

    It neither sweeps nor purges. What was stored since is all there, for the database that knows of it.
    """

    def trial(number: int) -> Figures:
        place = folder / f"trial {number}"
        place.mkdir()
        place.chmod(0o711)
        with asyncio.Runner() as runner, ExitStack() as stack:
            servers = AsyncExitStack()
            stack.callback(lambda: runner.run(servers.aclose()))
            way = WAYS[number % len(WAYS)](runner.run(servers.enter_async_context(one_server())), servers)
            store = shared_store(name, place)
            present = way.server.url(OWNER)
            rig = stack.enter_context(several(place, url=present, store=store.flags))
            one = rig.start("one")
            before = sign(one, "before", 3)
            swept(present, store.place)
            stop(one)
            runner.run(way.back_up())
            one = rig.start("one")
            since = sign(one, "since", 3)
            for _ in range(SWEEPS):
                assert swept(present, store.place).stopped == ""
            stop(one)
            stored = set(store.place.payloads())
            assert len(stored) >= len(before + since)

            rig.dsn = runner.run(way.restore())
            runner.run(set_back(rig.dsn))
            late = rig.start("late")
            until(lambda: KEPT in late.log.read_text("utf-8"), KEPT_SECONDS)
            for _ in range(SWEEPS):
                found = swept(rig.dsn, store.place)
                assert found.stopped != "", "a restored database is trusted"
                assert found.deleted == []
            assert store.place.marks() == {}
            assert set(store.place.payloads()) == stored, "payloads were deleted"
            judge(late, before)
            stop(late)
            if way.is_copy:
                rig.dsn = present
                judge(rig.start("one"), before + since)
        return {"payloads_max": len(stored)}

    yield trial


async def set_back(url: str) -> None:
    """All results were fetched days ago, so that their payloads have had their time."""
    connection = await asyncpg.connect(url, server_settings=ALL_ROWS)
    try:
        await connection.execute(
            "UPDATE operations SET finished_at = now() - interval '3 days', fetched_at = now() - interval '3 days'"
        )
    finally:
        await connection.close()


# --- two databases ----------------------------------------------------------------------------------------------------------


def two_databases(folder: Path, name: str) -> Iterator[Trial]:
    """The second one is refused: beside the first one, after it, and when the marker has gone. The first one loses nothing."""

    def trial(number: int) -> Figures:
        place = folder / f"trial {number}"
        place.mkdir()
        place.chmod(0o711)
        store = shared_store(name, place)
        with several(place, store=store.flags) as rig, running_database(place / "another database") as another:
            own, first = rig.dsn, rig.start("first")
            references = sign(first, "first", 3)
            swept(own, store.place)
            stored = set(store.place.payloads())
            refused(rig, another, REFUSED)
            stop(first)
            refused(rig, another, REFUSED)
            marker = store.place.read(MARKER)
            assert marker is not None
            store.remove(MARKER)
            refused(rig, another, REFUSED_WITHOUT_MARKER)
            refused(rig, own, REFUSED_OF_OWN)
            for _ in range(SWEEPS):
                found = swept(another, store.place)
                assert (found.deleted, found.stopped != "") == ([], True)
            store.place.write(MARKER, marker)
            assert swept(another, store.place).stopped != ""
            assert store.place.marks() == {}
            assert set(store.place.payloads()) == stored, "payloads were deleted"
            rig.dsn = own
            judge(rig.start("again"), references)
        return {"payloads_max": len(stored)}

    yield trial


def refused(rig: Several, url: str, cause: str) -> None:
    """An instance with this database does not start, and says why."""
    rig.dsn = url
    with pytest.raises(SystemExit, match=cause):
        rig.start("refused")


for _name in ("shared", "s3"):
    _needs = OBJECT_STORES if _name == "s3" else ()

    def _opened(folder: Path, name: str = _name) -> Iterator[Trial]:
        return restored(folder, name)

    def _opened_of_two(folder: Path, name: str = _name) -> Iterator[Trial]:
        return two_databases(folder, name)

    drill(
        f"database-restored-{_name}",
        quick=len(WAYS),
        short=len(WAYS),
        long=10 * len(WAYS),
        needs=(*_needs, *OLDER_POSTGRES),
        apart=True,
        store=_name,
    )(_opened)
    drill(f"two-databases-{_name}", quick=1, short=2, long=10, needs=_needs, apart=True, store=_name)(_opened_of_two)
