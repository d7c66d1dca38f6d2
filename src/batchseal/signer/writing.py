"""Writes that carry signatures are repeated while the database is away."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from batchseal.errors import DatabaseUnavailable
from batchseal.store.rows import SignatureRow
from batchseal.system.backoff import Backoff

DATABASE_AWAY = Backoff(0.1, 2.0)

T = TypeVar("T")

log = structlog.get_logger("signer")


async def written(write: Callable[[], Awaitable[T]], kept: Sequence[SignatureRow]) -> T:
    """What `write` returns. While the database is away, a write with signatures is repeated: they were paid for, and stand
    nowhere else. The fence makes it harmless where the operation has another holder by then. There is no limit of its own: the
    task is cancelled once the lease is found lost, and at the end of the signer's grace when it stops.
    """
    failures = 0
    while True:
        try:
            return await write()
        except DatabaseUnavailable as problem:
            if all(one.evidence is None for one in kept):
                raise
            failures += 1
            log.info("signatures wait for the database", signatures=len(kept), cause=problem.cause)
        await asyncio.sleep(DATABASE_AWAY.pause_seconds(failures))
