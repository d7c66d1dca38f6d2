"""Refuses a large request early where its external reference is taken for good.

The database decides when the request is registered. For a large body that answer comes late, so the same question is asked once
as soon as the reference is known, which is before most of the body has come where the reference stands in front of the documents.
"""

from collections.abc import AsyncIterator
from contextlib import suppress

from batchseal.errors import DatabaseUnavailable, ReferenceTaken
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.operation import Caller
from batchseal.store.store import Store

# For a smaller body the question would cost more than it saves.
LARGE_BODY_BYTES = 1 << 20

Intake = JsonIntake | MultipartIntake


def unless_taken(
    store: Store, caller: Caller, intake: Intake, body_bytes: int | None, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The pieces of the body. Iterating raises ReferenceTaken as soon as it is known. `body_bytes` is None where the request does
    not say how long its body is.
    """
    if body_bytes is not None and body_bytes <= LARGE_BODY_BYTES:
        return chunks
    return _unless_taken(store, caller, intake, body_bytes, chunks)


async def _unless_taken(
    store: Store, caller: Caller, intake: Intake, body_bytes: int | None, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    arrived_bytes, asked = 0, False
    async for chunk in chunks:
        yield chunk  # the intake has read the chunk when this goes on
        arrived_bytes += len(chunk)
        more = arrived_bytes > LARGE_BODY_BYTES if body_bytes is None else arrived_bytes < body_bytes
        if asked or not more or not intake.documents_began:
            continue
        asked = True
        if reference := intake.early_reference():
            with suppress(DatabaseUnavailable):  # the registration asks again
                holder = await store.reference_holder(caller.client_service, reference, for_good=True)
                if holder is not None:
                    raise ReferenceTaken(reference, holder)
