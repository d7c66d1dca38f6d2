"""Makes the payloads of synchronous operations durable before their operations are handed over.

Nobody is told of a synchronous operation before its end, so its payload need not be on the disk earlier. A worker says that a
payload is stored when it begins to register the operation. The disk then works while the database registers the operation and
while the upstream signs, and in most cases the end waits for neither.
"""

import asyncio
import time
from functools import partial
from uuid import UUID

from batchseal.payloads.interface import PayloadRecord, Payloads
from batchseal.system.futures import in_pool, retrieve_failure
from batchseal.system.shared_pool import SharedPool

# An operation is handed over a few milliseconds after its payload was stored, or never.
KEPT_SECONDS = 5.0


class DurableAhead:
    """One for each signer."""

    def __init__(self, payloads: Payloads, pool: SharedPool) -> None:
        self._payloads = payloads
        self._pool = pool
        self._begun: dict[UUID, tuple[float, asyncio.Future[None]]] = {}  # oldest first

    def begin(self, client_service: str, record: PayloadRecord) -> None:
        """Begins to make a payload durable. A payload that is gone by then is no error."""
        self._forget_old()
        future = in_pool(self._pool.of(client_service), partial(self._payloads.make_durable, record))
        future.add_done_callback(retrieve_failure)
        self._begun[record.id] = time.monotonic(), future

    def take(self, payload_id: UUID) -> asyncio.Future[None] | None:
        """What ends when the payload is durable, and fails if that cannot be had; None where nothing was begun."""
        _, future = self._begun.pop(payload_id, (0.0, None))
        return future

    def _forget_old(self) -> None:
        """The operations of these payloads were refused when they were to be registered."""
        limit = time.monotonic() - KEPT_SECONDS
        for payload_id, (began, _) in list(self._begun.items()):
            if began > limit:
                break
            del self._begun[payload_id]
