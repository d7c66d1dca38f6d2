"""The composition root: the only place that constructs the parts of a process and joins them."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import structlog
import uvloop

from batchseal._native import base64, digest, scanner
from batchseal.config import Settings
from batchseal.errors import ConfigurationError
from batchseal.intake.schema import Limits
from batchseal.link import Link, LinkServer
from batchseal.process import begin, say_ready
from batchseal.service import Service
from batchseal.services import ClientServices
from batchseal.signer import Signer
from batchseal.store.store import Store
from batchseal.upstream.remote import RemoteSigner, connect

DRAIN_SECONDS = 10

log = structlog.get_logger("app")


def use_kernels(settings: Settings) -> None:
    """Raises ConfigurationError for an instruction set that is unknown or that this processor lacks."""
    try:
        for module in (base64, digest, scanner):
            module.use_kernels(settings.kernel or None)
    except ValueError as problem:
        raise ConfigurationError(f"--kernel: {problem}") from None


def native_pool() -> ThreadPoolExecutor:
    """Threads for native work: as many as there are cores, since the work releases the GIL."""
    return ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix="native")


def limits_of(settings: Settings) -> Limits:
    return Limits(
        max_documents=settings.max_documents,
        max_document_bytes=settings.max_document_bytes,
        max_reference_characters=settings.max_reference_characters,
        max_name_characters=settings.max_name_characters,
        max_depth=settings.max_json_depth,
    )


async def connect_store(settings: Settings) -> Store:
    return await Store.connect(settings.database_url, instance=UUID(settings.instance))


def connect_upstream(settings: Settings, services: ClientServices) -> RemoteSigner:
    proxy = f"http://{settings.proxy_hostname}:{settings.proxy_port or 8080}" if settings.proxy_hostname else None
    return connect(
        settings.service_domain,
        services,
        proxy=proxy,
        tries=settings.upstream_tries,
        allow_http=settings.upstream_allow_http,
    )


async def build_service(settings: Settings) -> Service:
    """What a worker offers to the API."""
    link = Link(settings.link_path)
    link.start()
    return Service(
        await connect_store(settings),
        link,
        native_pool(),
        folder=settings.spill_folder,
        limits=limits_of(settings),
        instance=UUID(settings.instance),
        advertised=settings.advertised,
    )


async def run_signer(settings: Settings, ready: int) -> None:
    """The signer process, until SIGTERM."""
    store = await connect_store(settings)
    await store.migrate(recreate=settings.force_database_recreate)
    services = ClientServices.load(settings.services_file)
    upstream = connect_upstream(settings, services)
    signer = Signer(store, upstream, settings.spill_folder, native_pool(), tries=settings.upstream_tries)
    await store.take_back_own_leases()
    await signer.sweep(await store.live_payloads(UUID(settings.instance)))
    server = LinkServer(settings.link_path, signer.handlers())
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    looking = asyncio.create_task(signer.run())
    say_ready(ready)
    await stop.wait()
    looking.cancel()
    await server.stop()
    await signer.stop(DRAIN_SECONDS)
    await upstream.close()
    await store.close()


def signer_main() -> None:
    settings, ready = begin()
    use_kernels(settings)
    uvloop.run(run_signer(settings, ready))


if __name__ == "__main__":
    signer_main()
