"""Waiting for an answer that comes later."""

import asyncio
from contextlib import suppress

from batchseal.errors import OutcomeUnknown, UpstreamRateLimited, UpstreamTransient
from batchseal.upstream.interface import Account, Handle, SigningService

POLL_SECONDS, MAX_POLL_SECONDS = 0.2, 2.0


async def answer_of(service: SigningService, account: Account, answer: list[bytes] | Handle) -> list[bytes]:
    """The signatures, polled for at growing intervals where `answer` is a handle. Raises OutcomeUnknown after its time."""
    if not isinstance(answer, Handle):
        return answer
    pause, values = POLL_SECONDS, None
    try:
        while values is None:
            if asyncio.get_running_loop().time() >= answer.ends:
                raise OutcomeUnknown("the answer that was to come later did not come in time")
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, MAX_POLL_SECONDS)
            # The work is done already: an outage in between must not have it done, and paid for, again.
            with suppress(UpstreamTransient, UpstreamRateLimited, OutcomeUnknown):
                values = await service.poll(account, answer)
    finally:
        if values is None:
            await service.release(account, answer)
    return values
