"""Waits for signatures that a signing service delivers later.

Owns the polling and its pauses. Promises that an outage while it waits does not have the digests signed a second time. Leaves the
single calls to the `SigningService`.
"""

import asyncio
from contextlib import suppress

from batchseal.errors import OutcomeUnknown, UpstreamRateLimited, UpstreamTransient
from batchseal.system.backoff import Backoff
from batchseal.upstream.interface import Account, Handle, SigningService


async def answer_of(
    service: SigningService, account: Account, answer: list[bytes] | Handle, polling: Backoff
) -> list[bytes]:
    """The signatures. If `answer` is a handle, polls for them with the pauses of `polling`.

    Raises OutcomeUnknown when the time of the handle is over, and any error that no further poll can mend.
    """
    if not isinstance(answer, Handle):
        return answer
    values, asked = None, 0
    try:
        while values is None:
            if asyncio.get_running_loop().time() >= answer.ends:
                raise OutcomeUnknown("the signing service did not deliver the signatures in time")
            asked += 1
            await asyncio.sleep(polling.pause_seconds(asked))
            # The server may have signed already. Only the poll is repeated, so that nothing is signed, and paid, twice.
            with suppress(UpstreamTransient, UpstreamRateLimited, OutcomeUnknown):
                values = await service.poll(account, answer)
    finally:
        if values is None:
            await service.release(account, answer)
    return values
