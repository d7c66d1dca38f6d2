"""The supervisor is the process of `serve`. It starts all other processes, starts those again that end, and stops them all.

    supervisor ─┬─ postgres   (embedded; not with --database.url)
                ├─ sandbox    (only without a service domain)
                ├─ signer     (all upstream calls)
                ├─ worker × N (HTTP)
                ├─ hot folders (only with --hot-folder-enabled)
                └─ placeholder (looks for words in documents; starts with the first one, ends when it is idle)

Every process is a child of this one, and none becomes a daemon. Each child asks the kernel to kill it when this process dies.
"""

import asyncio
import errno
import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from batchseal.processes import lean  # noqa: F401  (before anything that imports structlog: it keeps rich out)

# isort: split
import structlog

from batchseal.errors import ConfigurationError
from batchseal.postgres.server import EmbeddedPostgres
from batchseal.processes.child import Child
from batchseal.processes.child_entry import log_settings
from batchseal.processes.first_schema import FirstSchema
from batchseal.processes.forked import Forked
from batchseal.processes.greeting import greet
from batchseal.processes.on_demand import OnDemandProcess
from batchseal.processes.open_files import low_open_files, raise_open_files
from batchseal.processes.places import find_identity, prepare, remarks_on_work_folder, settle
from batchseal.settings.client_services import client_services, make_sandbox_services
from batchseal.settings.load import Settings, check_pooler
from batchseal.settings.operator_options import ANY, OFF
from batchseal.settings.operator_page import trial_password_path, wants_operator_page
from batchseal.settings.services_files import file_state
from batchseal.settings.sizing import least_memory_bytes, planned
from batchseal.settings.token_keys import read_token_keys, remark_on
from batchseal.system.disk import write_synced
from batchseal.system.heap import give_back_memory, share_arenas
from batchseal.system.key_file import load_key
from batchseal.system.loopback import is_loopback
from batchseal.system.telemetry.logs import configure
from batchseal.system.waits import said_when_long, say, say_by

APPLICATION = "batchseal.app"
PLACEHOLDER = "batchseal.formats.pades.placeholder.keeper"


class Supervisor:
    """Runs the service with these settings, from its start to its end.

    `application` is the module that the signer and the workers run: `python -m application signer|worker`. `forked` are their
    first processes, in the order signer, workers, hot folders, if they were forked already.
    """

    def __init__(
        self, settings: Settings, application: str = APPLICATION, forked: Sequence[Forked] | None = None
    ) -> None:
        self._settings = settings
        self._forked = forked or ()
        self._application = application
        self._children: list[Child] = []
        self._stopping = False
        self._in_a_hurry = False  # there was a second signal
        self._postgres: EmbeddedPostgres | None = None
        self._placeholder: OnDemandProcess | None = None
        self._port: socket.socket | None = None
        # They reserve the ports of the management listener and of the operator's page.
        self._management: socket.socket | None = None
        self._operator_port: socket.socket | None = None
        self._lock = -1

    async def run(self) -> None:
        """Runs the service until SIGTERM or SIGINT. Raises ConfigurationError if it cannot start."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> None:
            self._in_a_hurry = stop.is_set()
            stop.set()
            if self._in_a_hurry and self._stopping:
                self._hurry()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
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
        """Starts everything. Returns when the service is ready.

        All processes start at the same time, since loading their code takes longest. They get their settings one after the other.
        The files of the instance are made beside the database: on a busy disk each of them waits for an fsync or two.
        """
        async with said_when_long(f"the disk below {self._settings.temp_folder}"):
            settings = await asyncio.to_thread(self._prepare_folders, self._settings)
        self._port = reserve_port(settings.host, settings.port, "--port")
        sizes = planned(settings)
        if sizes.uploads_bytes <= 0:
            least = least_memory_bytes(sizes.cores, settings.workers, hot_folders=settings.hot_folder_enabled)
            say(
                f"{sizes.memory_bytes >> 20} MB of memory leave no memory for uploads: every upload is refused; the least memory"
                f" for one upload at a time is {least >> 20} MB"
            )
        if not settings.tls_certificate and not is_loopback(settings.host):
            say(
                f"listens on {settings.host} without TLS, so others on the network may read secrets, tokens and documents: "
                "give --tls-certificate and --tls-key, or let only a proxy with TLS reach it"
            )
        if remark := low_open_files(raise_open_files()):
            say(remark)
        settings = replace(settings, port=self._port.getsockname()[1], workers=sizes.workers)
        settings = self._reserve_operator_port(settings)
        if settings.management_port:
            self._management = reserve_port(settings.management_host, settings.management_port, "--management-port")
            if not is_loopback(settings.management_host):
                say(
                    f"the management listener is open on {settings.management_host}:{settings.management_port} without TLS and"
                    " without a login: let only operators reach it"
                )
        making_files = asyncio.create_task(self._make_files(settings))
        database = asyncio.create_task(self._start_database(settings, sizes.postgres()))
        try:
            await self._start_processes(settings, making_files, database)
        except BaseException:
            making_files.cancel()
            database.cancel()
            await asyncio.gather(making_files, database, return_exceptions=True)
            raise

    async def _start_processes(
        self, settings: Settings, making_files: asyncio.Task[Settings], database: asyncio.Task[Settings]
    ) -> None:
        """Starts the processes of our own. `making_files` and `database` give the settings with what they found out."""
        signer = Child("signer", self._application, ("signer",))
        workers = [
            Child(f"worker {n + 1}", self._application, ("worker",), number=n + 1) for n in range(settings.workers)
        ]
        if settings.hot_folder_enabled:
            workers.append(Child("hot folders", self._application, ("entries",)))
        self._children += [signer, *workers]
        for child, forked in zip(self._children, self._forked, strict=False):
            child.forked = forked
        await asyncio.gather(*(child.spawn() for child in self._children))
        settings = await making_files
        self._placeholder = OnDemandProcess("placeholder", PLACEHOLDER, settings.placeholder_path)
        self._placeholder.listen()
        sandbox = self._sandbox(settings) if settings.uses_sandbox else None
        if sandbox:
            self._children.insert(0, sandbox)
            await sandbox.spawn()
        found, notes = await database, list[asyncio.Task[None]]()
        settings = replace(settings, database_url=found.database_url, database_owner_url=found.database_owner_url)
        if self._postgres:
            notes.append(asyncio.create_task(asyncio.to_thread(note_dsn, settings.dsn_path, settings.database_url)))
        if sandbox:
            address = await sandbox.start(settings)
            # If the sandbox is started again, it takes the same port, which the signer already knows.
            sandbox.arguments = (*sandbox.arguments, f"--port={address.rpartition(':')[2]}")
            # The sandbox is on loopback, which the outbound proxy is not for.
            settings = replace(settings, service_domain=address, proxy_hostname="", sandbox_signs=True)
            root = str(settings.sandbox_folder / "root.pem")
            if not settings.timestamp_urls:
                settings = replace(settings, timestamp_urls=address + "/tsa", timestamp_roots=root)
            hosts = f"{settings.revocation_private_hosts} {urlsplit(address).hostname}"
            settings = replace(settings, signer_roots=root, revocation_private_hosts=hosts)
            if settings.has_operator_page:
                notes.append(asyncio.create_task(asyncio.to_thread(make_trial_password, trial_password_path(settings))))
        said = await signer.start(settings)
        settings = replace(settings, token_keys=said.partition(" ")[2])
        await asyncio.gather(*notes)
        ready, *_ = await asyncio.gather(*(worker.start(settings) for worker in workers))
        # These two are done once. A process that is started again must not do them again.
        settings = replace(settings, force_database_recreate=False, crash_at="")
        for child in self._children:
            child.watcher = asyncio.create_task(child.keep_running(settings, lambda: self._stopping))
        _, swagger, documentation = ready.split(" ")
        greet(settings, swagger, documentation)
        give_back_memory()  # what the start has left

    def _reserve_operator_port(self, settings: Settings) -> Settings:
        """The settings with the port of the operator's page, which the workers share as they share the port of the API."""
        if not wants_operator_page(settings):
            return replace(settings, operator_port=OFF)
        wanted = settings.operator_port
        port = int(wanted) if wanted not in ("", ANY) else 0
        self._operator_port = reserve_port(settings.operator_host, port, "--operator-port")
        return replace(settings, operator_port=str(self._operator_port.getsockname()[1]))

    def _prepare_folders(self, settings: Settings) -> Settings:
        """Makes the folders, takes the lock and checks the client services. Returns the settings with what it found out."""
        check_services(settings)  # first of all, so that a start that is refused leaves nothing behind
        if settings.token_key_file:
            read_token_keys(Path(settings.token_key_file))
            if remark := remark_on(Path(settings.token_key_file)):
                say(remark)
        settings, self._lock = prepare(settle(settings))
        return replace(settings, start=str(uuid4()), is_shared=not settings.has_embedded_database)

    async def _make_files(self, settings: Settings) -> Settings:
        """Makes the small files that the instance keeps, as far as they are missing. Returns the settings with what they say."""
        identity, _, settings = await asyncio.gather(
            asyncio.to_thread(find_identity, settings.temp_folder),
            asyncio.to_thread(make_token_key, settings),
            asyncio.to_thread(self._find_services, settings),
        )
        return replace(settings, instance=identity)

    def _find_services(self, settings: Settings) -> Settings:
        """The settings with the file of the client services, which the sandbox makes if there is none."""
        if settings.uses_sandbox and not file_state(settings.services_file):
            path = make_sandbox_services(settings.work_folder, settings.sandbox_folder)
            say(f"the sandbox takes the client services of {path}")
            settings = replace(settings, services_path=str(path))
            check_services(settings)
        for remark in remarks_on_work_folder(settings.work_folder, settings.services_file, settings.own_services_file):
            say(remark)
        if settings.sandbox:
            say(
                f"the sandbox signs for the client services of {settings.services_file}: for tests only, as --sandbox asks"
            )
        return settings

    async def _start_database(self, settings: Settings, sizes: Mapping[str, str]) -> Settings:
        """Starts the embedded database, if that is used. Returns the settings with its addresses."""
        if not settings.has_embedded_database:
            return settings
        check_pooler(settings)
        binaries = Path(settings.postgres_bin) if settings.postgres_bin else None
        previous = Path(settings.postgres_previous_bin) if settings.postgres_previous_bin else None
        self._postgres = EmbeddedPostgres(
            *(settings.temp_folder / "postgres", binaries, sizes),
            tables=FirstSchema(),
            upgrades=True,
            previous=previous,
        )
        dsn = await self._postgres.start()
        return replace(settings, database_url=dsn, database_owner_url=self._postgres.owner_dsn)

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
        """Stops the workers first, so that no new request comes in, and the database last.

        All share `--stop-seconds`, the database aside, and the workers have `--drain-seconds` more. Container runtimes are told
        to wait longer than this.
        """
        self._stopping = True
        ends = time.monotonic() + self._settings.drain_seconds + self._settings.stop_seconds
        for names in (("worker", "hot folders"), ("signer",), ("sandbox",)):
            group = self._signal(names, signal.SIGTERM)
            if self._in_a_hurry:
                self._hurry()
            await asyncio.gather(*(c.end(max(0.5, ends - time.monotonic())) for c in group))
        for child in self._children:
            if child.watcher:
                child.watcher.cancel()
        if self._placeholder:
            await self._placeholder.stop()
        if self._postgres:
            await self._postgres.stop()
        for port in filter(None, (self._port, self._management, self._operator_port)):
            port.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _signal(self, names: tuple[str, ...], number: signal.Signals) -> list[Child]:
        """Signals the children whose names begin with one of these. Returns those that run."""
        running = [c for c in self._children if c.name.startswith(names) and c.process and c.process.returncode is None]
        for child in running:
            child.process.send_signal(number)  # type: ignore[union-attr]
        return running

    def _hurry(self) -> None:
        """A second signal: the workers do not wait any longer until a load balancer has noticed.

        They get it as another one than the first, since two of the same number that come at once are one.
        """
        self._signal(("worker",), signal.SIGINT)


def check_services(settings: Settings) -> None:
    """Reports an error in the files of client services, if there is one, before any process starts. Raises ConfigurationError."""
    client_services(settings, remarks=False, strict=True)


def make_trial_password(path: Path) -> None:
    """Makes the password of the operator's page in a trial, which only this user can read, unless there is one."""
    if not path.exists():
        write_synced(path, f"{secrets.token_urlsafe(15)}\n".encode(), 0o600)


def make_token_key(settings: Settings) -> None:
    """Makes the key of an instance that is alone. The workers would make it later, one fsync after the other."""
    if not (settings.is_shared or settings.token_key_file):
        load_key(settings.token_key_path)


def note_dsn(path: Path, dsn: str) -> None:
    """Keeps the address of the database for the operator's commands, in a file that only its owner may read.

    It is fsynced: a power cut may otherwise leave its name to another file, and the next start would refuse the folder.
    """
    content = f"{dsn}\n".encode()
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    write_synced(path, content, 0o600)


def reserve_port(host: str, port: int, flag: str = "") -> socket.socket:
    """Binds a socket to `port` (0: any free one) and never listens on it. It reserves the port for the workers, which share it.

    Raises ConfigurationError if another process has the port; the message names the `flag` that chooses another one. With
    SO_REUSEPORT alone nobody would notice: two services of one account would each get some of the connections.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without SO_REUSEPORT this bind fails if anybody listens on the port. SO_REUSEADDR ignores old connections (TIME_WAIT).
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
    except OSError as problem:
        holder.close()
        taken = f"; another program listens there: stop it, or name another port ({flag})"
        more = taken if problem.errno == errno.EADDRINUSE else ""
        raise ConfigurationError(f"cannot listen on {host}:{port}: {problem.strerror}{more}") from None
    return holder


def run(settings: Settings, application: str = APPLICATION, forked: Sequence[Forked] | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT. Raises ConfigurationError if it cannot start.

    `forked` are processes that were forked already (`forked.py`).
    """
    share_arenas()
    logs = log_settings(settings, "supervisor")
    configure(logs)
    if logs.speaks_in_lines:
        say_by(structlog.get_logger("supervisor").info)
    asyncio.run(Supervisor(settings, application, forked).run())
