"""A worker: the service that it offers to the API, and its application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from batchseal.admission.ledger import Ledger
from batchseal.admission.working import WorkingMemory
from batchseal.app.parts import (
    admission_of,
    connect_store,
    finding_places,
    formats_of,
    keep_to_database,
    limits_of,
    native_pool,
    signature_defaults,
    store_pool,
)
from batchseal.errors import BatchsealError
from batchseal.payloads.stores import payload_store
from batchseal.processes.link import Link
from batchseal.settings.client_services import ClientServices, client_services
from batchseal.settings.load import Settings
from batchseal.settings.token_keys import token_keys

if TYPE_CHECKING:
    from batchseal.api.guard import Guard
    from batchseal.worker.service import Service


async def build_service(
    settings: Settings, services: ClientServices
) -> tuple["Service", Callable[[], Awaitable[None]]]:
    """The service that a worker offers to the API, and a function that closes it."""
    from batchseal.worker.service import Service

    payloads = payload_store(settings)
    store = await connect_store(settings, payloads, everything=False)
    await keep_to_database(settings, payloads)
    link, pool = Link(settings.link_path), native_pool(settings)
    waiting = store_pool(payloads, pool, settings)
    link.start()
    ledger = Ledger(settings.ledger_path)

    async def make_room(needed_bytes: int, client: str) -> None:
        with suppress(BatchsealError, TimeoutError):
            await link.call("make_room", needed_bytes, client)

    admission = admission_of(settings, services, ledger, payloads, make_room)
    budgets = admission.budgets
    service = Service(
        store,
        link,
        payloads,
        formats_of(settings, WorkingMemory(ledger, budgets.memory_bytes, budgets.upload_bytes)),
        pool,
        limits=limits_of(settings),
        instance=UUID(settings.instance),
        advertised=settings.advertised,
        admission=admission,
        signature_defaults=partial(signature_defaults, settings, services),
        locate=finding_places(settings, admission.reserved),
        drain_seconds=settings.drain_seconds if settings.is_shared else 0,
        store_pool=waiting,
    )

    async def close() -> None:
        await link.stop()
        await service.close()
        await store.close()
        pool.shutdown()
        waiting.shutdown()
        ledger.close()

    return service, close


@asynccontextmanager
async def open_application(settings: Settings) -> AsyncIterator["Guard"]:
    """The application of a worker, with everything that it needs. Closes all of it after the block."""
    from batchseal.api.application import create_application
    from batchseal.worker import callers

    making_keys = asyncio.create_task(token_keys(settings))  # the database is connected meanwhile
    services = client_services(settings, remarks=settings.worker <= 1)
    service, close = await build_service(settings, services)
    keys = await making_keys
    authenticator, attempts = callers.open_authenticator(settings, services, keys, service.database, service.probe)
    try:
        guard = await create_application(service, authenticator, settings)
        guard.book_headers, guard.service = service.book_headers, service
        service.count_received(guard.metrics.received)
        if settings.management_port:
            from batchseal.worker.management import managed

            async with managed(service, guard.metrics.exposition, settings):
                yield guard
        else:
            yield guard
    finally:
        await close()
        attempts.close()
