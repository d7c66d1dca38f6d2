"""A failed operation that is handed in again under its reference: it goes on as itself, with its unsigned documents only."""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.errors import ReferenceTaken, SpillDamaged
from batchseal.operation import Caller, DocumentStatus, OperationStatus
from batchseal.spill import records
from batchseal.spill.frames import FrameKind
from batchseal.spill.reader import SpillReader
from batchseal.spill.writer import SpillWriter
from batchseal.store.rows import DocumentRow, NewDocument, OperationRow
from batchseal.store.store import Store
from batchseal.system.futures import in_pool

log = structlog.get_logger("service")


async def resumed(
    store: Store,
    folder: Path,
    pool: Executor,
    caller: Caller,
    payload_id: UUID,
    documents: Sequence[NewDocument],
    taken: ReferenceTaken,
) -> OperationRow:
    """The failed operation that has the reference, open again where this is the same request. Raises `taken`."""
    held = await store.operation(caller.client_service, taken.operation_id)
    if held is None or held.status is not OperationStatus.EXECUTION_FAILED or held.payload_purged:
        raise taken
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
    await in_pool(pool, lambda: forget_tries(folder, held.payload_id))
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
