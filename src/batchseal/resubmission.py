"""A failed operation that is handed in again under its reference: it goes on as itself, with its unsigned documents only."""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.errors import ReferenceTaken, SpillDamaged
from batchseal.futures import in_pool
from batchseal.operation import Caller, OperationStatus
from batchseal.pipeline import open_again
from batchseal.store.rows import NewDocument, OperationRow
from batchseal.store.store import Store

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
    rows = await store.documents(held.id, held.created_at)
    if [row.content_bytes for row in rows] != [document.content_bytes for document in documents]:
        raise taken
    try:
        failed = await in_pool(pool, lambda: open_again(folder, held.payload_id, rows, payload_id))
    except SpillDamaged:
        raise taken from None
    if failed is None:
        raise taken
    row = await store.reopen(held, failed) if failed else held
    if row is None:
        raise taken
    log.info("a failed operation was handed in again", operation=row.id, documents=len(failed))
    return row
