"""`batchseal check`: tries each part that the service needs and prints one line for it. It leaves nothing behind."""

import asyncio
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from batchseal.client.probe import ask, describe
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import BatchsealError, ConfigurationError
from batchseal.processes.instance import in_use
from batchseal.processes.open_files import low_open_files, raise_open_files
from batchseal.processes.places import check_temp_folder, settle
from batchseal.settings.load import OPTIONS, Settings, check_pooler

if TYPE_CHECKING:
    from batchseal.settings.client_services import ClientService

DESCRIPTION = """
Try everything that the service needs: configuration, address, signing service, time stamp authorities, database, disk,
open files, native kernels and a shared payload store. For each, one line says whether it can be used, and if not, why.
Call it with the flags of `batchseal serve`. It signs nothing, and leaves nothing behind unless --fix is given."""

EXIT_CODES = "Exit code: 0 if every part can be used, 1 if one cannot, 2 for wrong use."

# The timeout of each check.
CHECK_SECONDS = 60
# Twice a batch of 2,500 documents of 200 KB. A service with less free space could not be used seriously.
LEAST_FREE_BYTES = 1 << 30
TRIAL_BYTES = 4 << 20
FIX = """set what a shared payload store lacks: the rule of its bucket that aborts incomplete uploads, its marker, and that the
next sweep trusts the database as it is now. It changes nothing else"""


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("check", DESCRIPTION)
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("--fix", action="store_true", help=FIX)
    settings, given = parse(parser, arguments)
    return run_checks(settings, fix=given.fix)


def run_checks(settings: Settings, *, fix: bool = False) -> int:
    """Prints a line for each part. Returns 0 if all can be used, else 1."""
    checks: dict[str, Callable[[Settings], Awaitable[str]]] = {
        "configuration": check_configuration,
        "address": check_address,
        "upstream": check_upstream,
        "time stamps": check_time_stamps,
        "temp folder": check_folder,
        "database": check_database,
        "payload keys": check_payload_keys,
        "disk": check_disk,
        "open files": check_open_files,
        "kernels": check_kernels,
    }
    if settings.payload_store != OPTIONS["payload_store"].default:
        from batchseal.payloads.checking import check_payload_store

        checks["payload store"] = partial(check_payload_store, fix=fix)
    if settings.hot_folder_enabled:
        checks["hot folders"] = check_folders
    problem = ""
    try:
        settings = settle(settings)
    except ConfigurationError as found:
        problem = found.cause
    bad = 0
    for name, check in checks.items():
        good, text = asyncio.run(result_of(check, settings))
        if name == "temp folder" and problem:
            good, text = False, problem
        print(f"{'ok ' if good else 'BAD'}  {name:<14} {text}", flush=True)
        bad += not good
    return 1 if bad else 0


async def result_of(check: Callable[[Settings], Awaitable[str]], settings: Settings) -> tuple[bool, str]:
    """Whether the check was successful, and its text. Each check returns a text or raises an exception."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return True, await check(settings)
    except BatchsealError as problem:
        return False, problem.cause
    except TimeoutError:
        return False, f"no result within {CHECK_SECONDS} s"
    except Exception as problem:  # An unexpected exception of a part must not hide the results of the others.
        return False, f"{type(problem).__name__}: {problem}"


async def check_configuration(settings: Settings) -> str:
    from batchseal.settings.client_services import client_services, unreachable_levels

    services = client_services(settings, strict=True)
    if settings.token_key_file:
        from batchseal.settings.token_keys import read_token_keys

        read_token_keys(Path(settings.token_key_file))
    # The sandbox stamps as well.
    stamps = bool(settings.timestamp_urls) or settings.uses_sandbox
    problems = unreachable_levels(settings.signature_level, services, has_time_stamps=stamps)
    problems += unusable_webhooks(services, settings)
    if problems:
        raise ConfigurationError("; ".join(problems))
    if services.present:
        recorded = sum(one.active and one.signature.evidence_record for one in services)
        more = f", {recorded} of them with evidence records" if recorded else ""
        return f"client services in {settings.services_file}: {len(services.ids())}{more}"
    if settings.uses_sandbox:
        return f"{settings.services_file} does not exist; the service makes one with a new secret for the sandbox"
    return (
        f"{settings.services_file} does not exist: only synchronous requests, each signed with its caller's own token"
    )


def unusable_webhooks(services: "Iterable[ClientService]", settings: Settings) -> list[str]:
    """For each client service whose webhook may not be used, why."""
    problems = []
    for one in services:
        if one.webhook is not None:
            from batchseal.settings.webhooks import refusal_of  # few client services have one

            why = refusal_of(one.webhook, settings.webhook_hosts, allow_http=settings.webhook_allow_http)
            if why:
                problems.append(f"client service {one.id} has a webhook that is not used: {why}")
    return problems


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
            return f"a service is already running on {where} ({describe(body)})"
    raise ConfigurationError(f"{where} is used by another program")


async def check_upstream(settings: Settings) -> str:
    if settings.uses_sandbox:
        return "the built-in sandbox, because there is no --service-domain; its signatures are for trials only"
    from cryptography.x509 import load_der_x509_certificate

    from batchseal.app.parts import signature_defaults
    from batchseal.operation import Caller
    from batchseal.settings.client_services import client_services
    from batchseal.signature import Level
    from batchseal.upstream.remote import RemoteUpstream
    from batchseal.upstream.revocation import NothingKept, Revocation

    services = client_services(settings, remarks=False)
    revocation = Revocation.of(settings, NothingKept())
    upstream, hosts = RemoteUpstream(settings, services, revocation=revocation), set[str]()
    try:
        if problem := await upstream.health():
            raise ConfigurationError(f"{settings.upstream_address}: {problem}")
        for service in services:
            if not service.active:
                continue
            try:
                credential = await upstream.credential(Caller(service.id))
                if settings.check_revocation or signature_defaults(settings, services, service.id).level > Level.T:
                    await revocation.check(credential.chain)
                    hosts.update(await revocation.hosts(credential.chain))
            except BatchsealError as refusal:
                raise ConfigurationError(f"client service {service.id}: {refusal.cause}") from None
            ends = load_der_x509_certificate(credential.chain[0]).not_valid_after_utc
            if ends < datetime.now(UTC):
                raise ConfigurationError(f"client service {service.id}: its certificate expired on {ends:%Y-%m-%d}")
        remarks = (await upstream.state()).remarks
    finally:
        await upstream.close()
    if hosts:
        remarks = [*remarks, f"certificates are asked about at {', '.join(sorted(hosts))}"]
    return "; ".join([f"{settings.upstream_address} signs for {len(services.ids())} client services", *remarks])


async def check_time_stamps(settings: Settings) -> str:
    """What the budgets allow. No time stamp is asked for, since authorities give few of them to a customer."""
    if not settings.timestamp_urls:
        if settings.uses_sandbox:
            return "the built-in sandbox, without a budget"
        return "not set up (--timestamp-urls); documents can have level B only"
    from batchseal.upstream.timestamps import Timestamps

    timestamps = Timestamps(settings)
    try:
        return "; ".join(timestamps.allowances())
    finally:
        await timestamps.close()


async def check_folder(settings: Settings) -> str:
    remarks = check_temp_folder(settings.temp_folder, embedded=settings.has_embedded_database)
    return "; ".join([f"nobody else can have prepared {settings.temp_folder}", *remarks])


async def check_database(settings: Settings) -> str:
    if not settings.has_embedded_database:
        return await check_named_database(settings)
    check_pooler(settings)
    if in_use(settings.temp_folder):
        return f"embedded; not tried, because a service is running with {settings.temp_folder}"
    if (settings.temp_folder / "postgres" / "data").exists():
        return await try_embedded(settings, settings.temp_folder / "postgres")
    trial = trial_folder(settings)
    try:
        return await try_embedded(settings, trial / "postgres")
    finally:
        shutil.rmtree(trial, ignore_errors=True)


async def check_named_database(settings: Settings) -> str:
    """Asks the database something, and whether what it has committed can be lost."""
    from batchseal.app.parts import connect_store
    from batchseal.store.replication import durability_remarks

    store = await connect_store(replace(settings, instance=str(uuid4())))
    try:
        remarks = await durability_remarks(store.database)
    finally:
        await store.close()
    return "; ".join([f"the database of {settings.database_url_file or '--database-url'} answers", *remarks])


async def try_embedded(settings: Settings, folder: Path) -> str:
    """Starts the embedded database in `folder`, asks it something and stops it."""
    from batchseal.postgres.server import EmbeddedPostgres

    server = EmbeddedPostgres(folder, Path(settings.postgres_bin) if settings.postgres_bin else None)
    try:
        await ping(settings, await server.start())
    finally:
        await server.stop()
    return "the embedded database starts and answers"


async def ping(settings: Settings, url: str) -> None:
    from batchseal.app.parts import connect_store

    store = await connect_store(replace(settings, database_url=url, instance=str(uuid4())))
    try:
        await store.ping()
    finally:
        await store.close()


def trial_folder(settings: Settings) -> Path:
    """Makes a new folder inside the temp folder, or inside its first parent that exists. Raises ConfigurationError."""
    check_temp_folder(settings.temp_folder, embedded=settings.has_embedded_database)
    place = settings.temp_folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        folder = Path(tempfile.mkdtemp(prefix="batchseal-check-", dir=place))
    except OSError as problem:
        raise ConfigurationError(f"--temp-folder: {place} cannot be written: {problem.strerror}") from None
    folder.chmod(0o711)  # The embedded Postgres may run as another user, which must be able to enter the folder.
    return folder


async def check_folders(settings: Settings) -> str:
    from batchseal.entries.folders import check
    from batchseal.settings.client_services import client_services

    checked = await asyncio.to_thread(check, settings, client_services(settings, remarks=False))
    checked.require(reached=True)
    if not checked.places:
        return "no client service names an inputFolder, a backupFolder and an outputFolder"
    found = [f"{one.client_service}: {one.input}, {one.backup}, {one.output}" for one in checked.places]
    return "; ".join((*found, *checked.remarks))


async def check_payload_keys(settings: Settings) -> str:
    from batchseal.payloads.keys import read_keys

    if not settings.payload_key_file:
        return "payloads are not encrypted by the service (--payload-key-file)"
    path = Path(settings.payload_key_file)
    newest, *others = read_keys(path)
    text = f"new payloads are encrypted with the key {newest}"
    if others:
        text += f"; {', '.join(others)} decrypt"
    if os.stat(path).st_mode & 0o007:
        text += f"; every user of this machine may use {path}, which chmod o-rwx ends"
    return text


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
        raise ConfigurationError(f"{text}: less than 1 GB, which is two batches of 2,500 documents of 200 KB")
    return text


async def check_open_files(settings: Settings) -> str:
    limit = raise_open_files()
    return low_open_files(limit) or f"{limit} are allowed, which is enough for the connections of a worker"


async def check_kernels(settings: Settings) -> str:
    from batchseal._native import cpu
    from batchseal.app.parts import use_kernels

    use_kernels(settings)
    usable = [name for name, has in cpu.instruction_sets() if has]
    return f"{settings.kernel or usable[0]} (this processor has {', '.join(usable)})"
