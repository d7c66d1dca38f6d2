"""Keeps an operation leased while it is worked on, and ends the work where the lease is lost."""

import asyncio

from batchseal.errors import DatabaseUnavailable
from batchseal.store.rows import ClaimedOperation
from batchseal.store.store import Store

# A lease is renewed this many times before it would run out.
RENEWALS = 3


def keep_leased(store: Store, claimed: ClaimedOperation, work: asyncio.Task[None], lease_seconds: float) -> None:
    """Renews the lease until `work` is done. Costs a task only where the work takes long enough to need a renewal."""
    renew_seconds = lease_seconds / RENEWALS

    def begin() -> None:
        renewal = asyncio.create_task(_renew(store, claimed, work, lease_seconds))
        work.add_done_callback(lambda _: renewal.cancel())

    timer = asyncio.get_running_loop().call_later(renew_seconds, begin)
    work.add_done_callback(lambda _: timer.cancel())


async def _renew(store: Store, claimed: ClaimedOperation, work: asyncio.Task[None], lease_seconds: float) -> None:
    """While the database is away, the work goes on: nobody else can take the lease, and a late writer changes nothing.

    Once it is back, others wait for one lease before they take over what has run out (`store/instances.py`), so the renewal must
    come soon.
    """
    held = True
    while held:
        pause = lease_seconds / RENEWALS
        try:
            async with asyncio.timeout(lease_seconds - pause):
                held = await store.renew(claimed.row.id, claimed.fence, lease_seconds)
                if not held and await store.end_under(claimed.row.id, claimed.fence) is not None:
                    return  # the work has ended the operation, and is about to hear so
        except (DatabaseUnavailable, TimeoutError):
            pause /= RENEWALS
        if held:
            await asyncio.sleep(pause)
    work.cancel()
