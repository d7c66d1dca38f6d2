"""Ends an operation with one document by a statement of its own: that of a caller who sends one and waits for it.

The general statement (`record_outcomes`) asks about each row that it may have to leave as it is, and row security asks once more
about each of them. Preparing and running that takes the server more than twice as long.
"""

from collections.abc import Sequence
from datetime import datetime

from batchseal.document import DocumentOutcome
from batchseal.store.columns import MAX_TRIES, day_of, month_of
from batchseal.store.database import Connection
from batchseal.store.queries import QUERIES
from batchseal.store.rows import DocumentRow, OperationEnd, SignatureRow
from batchseal.system.crash_sites import crash_site


async def end_single(
    connection: Connection,
    operation_id: int,
    created_at: datetime,
    fence: int,
    document: DocumentRow,
    outcomes: Sequence[DocumentOutcome],
    kept: Sequence[SignatureRow],
) -> OperationEnd | None:
    """Ends the operation of an untouched `document` (see `Store.finish`), if that was signed and has no other evidence.

    Returns None, and changes nothing, in every other case: where it was not signed, where an evidence record is asked for, and
    where the fence is stale. The partition of its signatures must be there.
    """
    if not _is_plainly_signed(outcomes, kept) or (evidence := kept[0].evidence) is None:
        return None
    crash_site("signatures-unrecorded")
    outcome = outcomes[0]
    row = await connection.fetchrow(
        QUERIES["end_single"],
        *(operation_id, fence, month_of(created_at), day_of(created_at)),
        *(document.content_bytes, outcome.additional_bytes, outcome.level or 0),
        *(outcome.ordinal, evidence.signature, min(kept[0].tries, MAX_TRIES)),
    )
    return OperationEnd(*row) if row else None


def _is_plainly_signed(outcomes: Sequence[DocumentOutcome], kept: Sequence[SignatureRow]) -> bool:
    """Whether this is one document that ended with its signature, and with no other evidence."""
    if len(outcomes) != 1 or len(kept) != 1 or outcomes[0].refusal is not None:
        return False
    evidence = kept[0].evidence
    return evidence is not None and not evidence.time_stamps and kept[0].ordinal == outcomes[0].ordinal
