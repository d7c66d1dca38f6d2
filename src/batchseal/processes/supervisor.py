"""The supervisor: the process that `serve` is. It starts the others, restarts those that die, and ends them all.

    supervisor ─┬─ postgres   (embedded; not with --database.url)
                ├─ sandbox    (only without a service domain)
                ├─ signer     (all upstream calls)
                └─ worker × N (HTTP)

Everything is a child of this process and none daemonizes; each child asks the kernel to end it should its parent die.
"""

import asyncio
import fcntl
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from batchseal.processes import lean  # noqa: F401  (before structlog: it keeps rich out)

# isort: split
from batchseal.errors import ConfigurationError
from batchseal.postgres.server import EmbeddedPostgres
from batchseal.processes.child import Child
from batchseal.processes.entry import low_open_files, raise_open_files
from batchseal.settings.client_services import file_state, make_sandbox_services, read_services
from batchseal.settings.load import Settings
from batchseal.settings.sizing import available_cores, available_memory, plan
from batchseal.system.disk import sync, write_synced
from batchseal.system.waits import said_when_long, say

STOP_SECONDS = 27
APPLICATION = "batchseal.app"


class Supervisor:
    def __init__(self, settings: Settings, application: str = APPLICATION) -> None:
        """`application` is the module that signer and workers run: `python -m application signer|worker`."""
        self._settings = settings
        self._application = application
        self._children: list[Child] = []
        self._stopping = False
        self._postgres: EmbeddedPostgres | None = None
        self._port: socket.socket | None = None
        self._lock = -1

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT. Raises ConfigurationError where it can't start."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        starting = asyncio.create_task(self._start())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await stopped
        finally:
            starting.cancel()
            stopped.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._stop()

    async def _start(self) -> None:
        """All processes begin at once, since loading their code takes longest; each is told its settings in turn."""
        async with said_when_long(f"the disk below {self._settings.temp_folder}"):
            settings = await asyncio.to_thread(self._prepare_folders, self._settings)
        self._port = reserve_port(settings.host, settings.port)
        sizes = plan(available_memory(settings.memory_limit), available_cores(), settings.workers)
        if sizes.uploads_bytes <= 0:
            say(f"{sizes.memory_bytes >> 20} MB of memory leave none for uploads: every one is refused")
        if remark := low_open_files(raise_open_files()):
            say(remark)
        settings = replace(settings, port=self._port.getsockname()[1], workers=sizes.workers)
        sandbox = self._sandbox(settings) if settings.uses_sandbox else None
        signer = Child("signer", self._application, ("signer",))
        workers = [
            Child(f"worker {n + 1}", self._application, ("worker",), number=n + 1) for n in range(settings.workers)
        ]
        self._children += [*([sandbox] if sandbox else []), signer, *workers]
        await asyncio.gather(*(child.spawn() for child in self._children))
        if not settings.database_url:
            binaries = Path(settings.postgres_bin) if settings.postgres_bin else None
            self._postgres = EmbeddedPostgres(settings.temp_folder / "postgres", binaries, sizes.postgres())
            dsn = await self._postgres.start()
            settings = replace(settings, database_url=dsn, database_owner_url=self._postgres.owner_dsn)
            write_private(settings.dsn_path, dsn)
        if sandbox:
            address = await sandbox.start(settings)
            # A restart keeps the port: the signer goes on knowing it.
            sandbox.arguments = (*sandbox.arguments, f"--port={address.rpartition(':')[2]}")
            # The outbound proxy is for the world outside, not for loopback.
            settings = replace(settings, service_domain=address, proxy_hostname="")
            if not settings.timestamp_urls:
                root = str(settings.sandbox_folder / "root.pem")
                settings = replace(settings, timestamp_urls=address + "/tsa", timestamp_roots=root)
        await signer.start(settings)
        await asyncio.gather(*(worker.start(settings) for worker in workers))
        # What is asked for once is done once: a process that is started again finds it done.
        settings = replace(settings, force_database_recreate=False, crash_at="")
        for child in self._children:
            child.watcher = asyncio.create_task(child.keep_running(settings, lambda: self._stopping))
        say(f"ready at {'https' if settings.tls_certificate else 'http'}://{settings.host}:{settings.port}")

    def _prepare_folders(self, settings: Settings) -> Settings:
        temp = settings.temp_folder.absolute()
        missing = [folder for folder in (temp, *temp.parents) if not folder.exists()]
        try:
            # Entered by the user that the embedded Postgres runs as; each folder below is its owner's alone.
            temp.mkdir(mode=0o711, parents=True, exist_ok=True)
            for folder in (settings.spill_folder, settings.sandbox_folder, settings.metrics_folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            for folder in missing:
                with suppress(PermissionError):  # where others' names must not be read
                    sync(folder.parent)
            self._lock = os.open(temp / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise ConfigurationError(
                f"--temp-folder {temp}: {problem.strerror}; give this user (uid {os.getuid()}) a folder it can write, "
                "for a volume that another product made: chown it once"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"--temp-folder {temp}: another service works in this folder") from None
        for counts in settings.metrics_folder.iterdir():
            counts.unlink()
        settings = replace(settings, temp_folder=temp, instance=str(instance_identity(temp)))
        if settings.uses_sandbox and not file_state(settings.services_file):
            path = make_sandbox_services(settings.work_folder, settings.sandbox_folder)
            say(f"the sandbox takes the client services of {path}")
            settings = replace(settings, services_path=str(path))
        if file_state(settings.services_file):
            read_services(settings.services_file)  # what is wrong with it is said once, before anything is started
        return settings

    def _sandbox(self, settings: Settings) -> Child:
        arguments = (
            f"--folder={settings.sandbox_folder}",
            f"--services={settings.services_file}",
            f"--credential={settings.sandbox_credential}",
            f"--latency={settings.sandbox_latency}",
            f"--multisign={settings.sandbox_multisign}",
        )
        return Child("sandbox", "batchseal.sandbox", arguments)

    async def _stop(self) -> None:
        """Workers first, so that nothing new comes in; the database last. Each has its share of the time."""
        self._stopping = True
        ends = time.monotonic() + STOP_SECONDS
        for names in (("worker",), ("signer",), ("sandbox",)):
            group = [
                c for c in self._children if c.name.startswith(names) and c.process and c.process.returncode is None
            ]
            for child in group:
                child.process.terminate()  # type: ignore[union-attr]
            await asyncio.gather(*(c.end(max(0.5, ends - time.monotonic())) for c in group))
        for child in self._children:
            if child.watcher:
                child.watcher.cancel()
        if self._postgres:
            await self._postgres.stop()
        if self._port:
            self._port.close()
        if self._lock >= 0:
            os.close(self._lock)


def instance_identity(temp_folder: Path) -> UUID:
    """Who this instance is: a UUID kept in its temp folder. Its address may change and may be shared."""
    path = temp_folder / "instance-id"
    with suppress(OSError, ValueError):
        return UUID(path.read_text("ascii").strip())
    identity = uuid4()
    write_synced(path, f"{identity}\n".encode("ascii"))
    return identity


def write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def reserve_port(host: str, port: int) -> socket.socket:
    """A bound socket that never listens: it holds `port` (0: a free one) for the workers, which share it.

    Raises ConfigurationError where somebody else has the port: with SO_REUSEPORT alone two services of one
    account would take turns on it, unnoticed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without SO_REUSEPORT this fails while anybody listens there; SO_REUSEADDR passes over connections
        # that linger.
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
    except OSError as problem:
        holder.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {problem.strerror}") from None
    return holder


def run(settings: Settings, application: str = APPLICATION) -> None:
    """Serves until it is told to end. Raises ConfigurationError."""
    asyncio.run(Supervisor(settings, application).run())
