"""`batchseal check`: tries what the service needs, one named result each. Leaves nothing behind."""

import asyncio
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from batchseal.client.probe import ask, describe
from batchseal.errors import BatchsealError, ConfigurationError
from batchseal.processes.instance import in_use
from batchseal.processes.open_files import low_open_files, raise_open_files
from batchseal.settings.load import Settings

CHECK_SECONDS = 60
# Twice a batch of 2,500 documents of 200 KB: the least that a service of this kind can work with.
LEAST_FREE_BYTES = 1 << 30
TRIAL_BYTES = 4 << 20


def run(settings: Settings) -> int:
    """Prints a line for each part; 0 if all are good, else 1."""
    checks: dict[str, Callable[[Settings], Awaitable[str]]] = {
        "configuration": check_configuration,
        "address": check_address,
        "upstream": check_upstream,
        "database": check_database,
        "disk": check_disk,
        "open files": check_open_files,
        "kernels": check_kernels,
    }
    bad = 0
    for name, check in checks.items():
        good, text = asyncio.run(result_of(check, settings))
        print(f"{'ok ' if good else 'BAD'}  {name:<14} {text}", flush=True)
        bad += not good
    return 1 if bad else 0


async def result_of(check: Callable[[Settings], Awaitable[str]], settings: Settings) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return True, await check(settings)
    except BatchsealError as problem:
        return False, problem.cause
    except TimeoutError:
        return False, f"no result within {CHECK_SECONDS} s"
    except Exception as problem:  # a part that fails in a new way is a result too
        return False, f"{type(problem).__name__}: {problem}"


async def check_configuration(settings: Settings) -> str:
    from batchseal.settings.client_services import ClientServices

    services = ClientServices.load(settings.services_file)
    if services.present:
        return f"{len(services.ids())} client services in {settings.services_file}"
    if settings.uses_sandbox:
        return f"no {settings.services_file}; one with a fresh secret is made for the sandbox"
    return f"no {settings.services_file}: synchronous requests only, signed with the caller's own token"


async def check_address(settings: Settings) -> str:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            return f"{where} is free"
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise ConfigurationError(f"{where}: {problem.strerror}") from None
    with suppress(OSError, ValueError):
        status, body = await asyncio.to_thread(ask, settings, "/health/ready")
        if status == 200:
            return f"{where} is served already ({describe(body)})"
    raise ConfigurationError(f"{where} is taken by another program")


async def check_upstream(settings: Settings) -> str:
    if settings.uses_sandbox:
        return "the built-in sandbox, as there is no --service-domain: its signatures are for trying things out"
    from cryptography.x509 import load_der_x509_certificate

    from batchseal.operation import Caller
    from batchseal.settings.client_services import ClientServices
    from batchseal.upstream.remote import RemoteUpstream

    services = ClientServices.load(settings.services_file)
    upstream = RemoteUpstream(settings, services)
    try:
        if problem := await upstream.health():
            raise ConfigurationError(f"{settings.upstream_address}: {problem}")
        for service in services:
            if not service.active:
                continue
            try:
                credential = await upstream.credential(Caller(service.id))
            except BatchsealError as refusal:
                raise ConfigurationError(f"client service {service.id}: {refusal.cause}") from None
            ends = load_der_x509_certificate(credential.chain[0]).not_valid_after_utc
            if ends < datetime.now(UTC):
                raise ConfigurationError(f"client service {service.id}: its certificate ran out on {ends:%Y-%m-%d}")
        remarks = (await upstream.state()).remarks
    finally:
        await upstream.close()
    return "; ".join([f"{settings.upstream_address} signs for {len(services.ids())} client services", *remarks])


async def check_database(settings: Settings) -> str:
    if settings.database_url:
        await ping(settings, settings.database_url)
        return "the database of --database-url answers"
    if in_use(settings.temp_folder):
        return f"embedded; a service runs on {settings.temp_folder}"
    if (settings.temp_folder / "postgres" / "data").exists():
        return await try_embedded(settings, settings.temp_folder / "postgres")
    trial = trial_folder(settings)
    try:
        return await try_embedded(settings, trial / "postgres")
    finally:
        shutil.rmtree(trial, ignore_errors=True)


async def try_embedded(settings: Settings, folder: Path) -> str:
    from batchseal.postgres.server import EmbeddedPostgres

    server = EmbeddedPostgres(folder, Path(settings.postgres_bin) if settings.postgres_bin else None)
    try:
        await ping(settings, await server.start())
    finally:
        await server.stop()
    return "the embedded database starts and answers"


async def ping(settings: Settings, url: str) -> None:
    from batchseal.app import connect_store

    store = await connect_store(replace(settings, database_url=url, instance=str(uuid4())))
    try:
        await store.ping()
    finally:
        await store.close()


def trial_folder(settings: Settings) -> Path:
    """A folder of our own where the temp folder is or would be made. Raises ConfigurationError."""
    place = settings.temp_folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        folder = Path(tempfile.mkdtemp(prefix="batchseal-check-", dir=place))
    except OSError as problem:
        raise ConfigurationError(f"--temp-folder: {place} cannot be written: {problem.strerror}") from None
    folder.chmod(0o711)  # passed by the account of the embedded Postgres
    return folder


async def check_disk(settings: Settings) -> str:
    folder = trial_folder(settings)
    try:
        with (folder / "trial").open("wb") as file:
            file.write(os.urandom(TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = f"{free / 1e9:.1f} GB free for {settings.temp_folder}"
    if free < LEAST_FREE_BYTES:
        raise ConfigurationError(f"{text}: less than twice a batch of 2,500 documents of 200 KB")
    return text


async def check_open_files(settings: Settings) -> str:
    limit = raise_open_files()
    return low_open_files(limit) or f"{limit} are allowed, as many as a worker's connections need"


async def check_kernels(settings: Settings) -> str:
    from batchseal._native import cpu
    from batchseal.app import use_kernels

    use_kernels(settings)
    usable = [name for name, has in cpu.instruction_sets() if has]
    return f"{settings.kernel or usable[0]} (this processor has {', '.join(usable)})"
