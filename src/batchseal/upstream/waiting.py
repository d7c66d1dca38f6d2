"""Waiting for an answer that comes later."""

import asyncio
from contextlib import suppress

from batchseal.errors import OutcomeUnknown, UpstreamRateLimited, UpstreamTransient
from batchseal.system.backoff import Backoff
from batchseal.upstream.interface import Account, Handle, SigningService

POLLING = Backoff(0.2, 2.0, growth=1.5)


async def answer_of(service: SigningService, account: Account, answer: list[bytes] | Handle) -> list[bytes]:
    """The signatures, polled for at growing intervals where `answer` is a handle. Raises OutcomeUnknown after its time."""
    if not isinstance(answer, Handle):
        return answer
    values, asked = None, 0
    try:
        while values is None:
            if asyncio.get_running_loop().time() >= answer.ends:
                raise OutcomeUnknown("the answer that was to come later did not come in time")
            asked += 1
            await asyncio.sleep(POLLING.pause_seconds(asked))
            # The work is done already: an outage in between must not have it done, and paid for, again.
            with suppress(UpstreamTransient, UpstreamRateLimited, OutcomeUnknown):
                values = await service.poll(account, answer)
    finally:
        if values is None:
            await service.release(account, answer)
    return values
