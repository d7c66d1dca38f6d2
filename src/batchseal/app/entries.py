"""The process of the hot folders."""

from functools import partial
from uuid import UUID

from batchseal.app.parts import limits_of, signature_defaults
from batchseal.app.worker import build_service
from batchseal.processes.child_entry import say_ready
from batchseal.settings.client_services import client_services
from batchseal.settings.load import Settings
from batchseal.store.address import address_of
from batchseal.store.store import Store


async def run_entries(settings: Settings, ready: int) -> None:
    """Runs the process of the hot folders until SIGTERM."""
    from batchseal.entries.watcher import watch_folders

    services = client_services(settings, remarks=False)
    service, close = await build_service(settings, services)
    turns = await Store.connect(address_of(settings), instance=UUID(settings.instance), pool_size=1)
    defaults, limits = partial(signature_defaults, settings, services), limits_of(settings)
    try:
        parts = services, service, turns.database, limits, defaults
        await watch_folders(settings, *parts, ready=partial(say_ready, ready))
    finally:
        await turns.close()
        await close()
