"""Requests whose external reference is taken: refused early where that can be known, and a failed operation that is handed in
again goes on as itself, with its unsigned documents only.
"""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.errors import DatabaseUnavailable, NoSpace, PayloadUnavailable, ReferenceTaken, SpillDamaged
from batchseal.intake.json_body import JsonIntake
from batchseal.intake.multipart import MultipartIntake
from batchseal.operation import Caller, DocumentStatus, OperationStatus
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.reader import SpillReader
from batchseal.payloads.writer import SpillWriter
from batchseal.pipeline import require_own
from batchseal.store.rows import DocumentRow, NewDocument, OperationRow
from batchseal.store.store import Store, reference_taken
from batchseal.system.futures import in_pool

# For a smaller body the question would cost more than it saves.
LARGE_BODY_BYTES = 1 << 20

Intake = JsonIntake | MultipartIntake

log = structlog.get_logger("service")


def unless_taken(
    store: Store, caller: Caller, intake: Intake, body_bytes: int | None, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The pieces of a body. Iterating raises ReferenceTaken as soon as it is known that the external reference of a large
    request is taken: where it stands in front of the documents, that is before most of the body has come.
    """
    if body_bytes is not None and body_bytes <= LARGE_BODY_BYTES:
        return chunks
    return _unless_taken(store, caller, intake, body_bytes, chunks)


async def _unless_taken(
    store: Store, caller: Caller, intake: Intake, body_bytes: int | None, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    arrived_bytes, asked = 0, False
    async for chunk in chunks:
        yield chunk  # `intake` has taken it in when this goes on
        arrived_bytes += len(chunk)
        more = arrived_bytes > LARGE_BODY_BYTES if body_bytes is None else arrived_bytes < body_bytes
        if asked or not more or not intake.documents_began:
            continue
        asked = True
        if reference := intake.early_reference():
            with suppress(DatabaseUnavailable):  # the registration asks again
                holder = await store.reference_holder(caller.client_service, reference, for_good=True)
                if holder is not None:
                    raise reference_taken(reference, holder)


async def resumed(
    store: Store,
    folder: Path,
    pool: Executor,
    caller: Caller,
    payload_id: UUID,
    documents: Sequence[NewDocument],
    taken: ReferenceTaken,
    instance: UUID,
) -> OperationRow:
    """The failed operation that has the reference, open again where this is the same request. Raises `taken`, and
    PayloadUnavailable where the stored documents cannot be compared just now, or not by this instance.
    """
    held = await store.operation(caller.client_service, taken.operation_id)
    if held is None or held.status is not OperationStatus.EXECUTION_FAILED or held.payload_purged:
        raise taken
    require_own(held, instance)
    rows = await store.documents(held.id, held.created_at, caller=caller.client_service)
    if [row.content_bytes for row in rows] != [document.content_bytes for document in documents]:
        raise taken
    try:
        failed = await in_pool(pool, lambda: failed_documents(folder, held.payload_id, rows, payload_id))
    except SpillDamaged:
        raise taken from None
    if failed is None:
        raise taken
    if not failed:
        return held
    # Of several that come at once one opens it; before that nobody may write to its file, and after it the signer does.
    row = await store.reopen(held, failed)
    if row is None:
        raise taken
    try:
        await in_pool(pool, lambda: forget_tries(folder, held.payload_id))
    except (SpillDamaged, PayloadUnavailable, NoSpace) as problem:
        # It is open again and goes on: a document whose tries could not be forgotten has one more.
        log.warning("the tries of an operation could not be forgotten", operation=row.id, cause=problem.cause)
    log.info("a failed operation was handed in again", operation=row.id, documents=len(failed))
    return row


def failed_documents(folder: Path, held: UUID, rows: Sequence[DocumentRow], again: UUID) -> list[int] | None:
    """Whether payload `again` holds the documents of `held`, by position and content: the failed ones that can be tried
    again, or None where one differs. Blocking.
    """
    with SpillReader(folder, held) as first, SpillReader(folder, again) as second:
        in_first, in_second = first.ordinals(FrameKind.DOCUMENT), second.ordinals(FrameKind.DOCUMENT)
        for ordinal in in_first & in_second:  # what was refused on arrival is not stored
            if first.read(FrameKind.DOCUMENT, ordinal) != second.read(FrameKind.DOCUMENT, ordinal):
                return None
        return [row.ordinal for row in rows if row.status is DocumentStatus.ERROR_SIGNING and row.ordinal in in_first]


def forget_tries(folder: Path, payload: UUID) -> None:
    """What was tried before counts no more. Blocking."""
    with SpillReader(folder, payload) as reader:
        writer = SpillWriter.reopen(reader)
        try:
            writer.append([records.tries_frame({})])
            writer.sync_data()
        finally:
            writer.close()
