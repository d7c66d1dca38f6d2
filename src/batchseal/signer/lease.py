"""An operation at work stays leased: renewed until the work ends, which is ended where the lease is somebody else's by then."""

import asyncio
from contextlib import suppress

from batchseal.errors import DatabaseUnavailable
from batchseal.store.rows import ClaimedOperation
from batchseal.store.store import Store

LEASE_SECONDS = 30
RENEW_SECONDS = LEASE_SECONDS / 3


def keep_leased(store: Store, claimed: ClaimedOperation, work: asyncio.Task[None]) -> None:
    """Until `work` is done. Costs a task only where that takes long enough to need it."""
    timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, _begin, store, claimed, work)
    work.add_done_callback(lambda _: timer.cancel())


def _begin(store: Store, claimed: ClaimedOperation, work: asyncio.Task[None]) -> None:
    renewal = asyncio.create_task(_renew(store, claimed, work))
    work.add_done_callback(lambda _: renewal.cancel())


async def _renew(store: Store, claimed: ClaimedOperation, work: asyncio.Task[None]) -> None:
    held = True
    while held:
        with suppress(DatabaseUnavailable):
            held = await store.renew(claimed.row.id, claimed.fence, LEASE_SECONDS)
        if held:
            await asyncio.sleep(RENEW_SECONDS)
    work.cancel()
