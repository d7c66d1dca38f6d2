"""Whether an operation is finished: the one place in the signer process that knows.

Another instance may sign an operation that a caller waits for here, so the database is asked about what nobody here works on.
All who wait ask in the same moment, and `is_finished` answers them with one statement (`store/finished.py`): a thousand long
polls cost the database hardly more than one.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from batchseal.operation import Mode
from batchseal.signer.work import Progress
from batchseal.store.columns import as_ended
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationRow
from batchseal.system.expiring import ExpiringCache

# The row of an operation and the rows of its documents with their evidence: all that a worker needs to give the result back.
Result = tuple[OperationRow, list[DocumentRow]]

# How often the database is asked about an operation that nobody here works on.
POLL_SECONDS = 0.2
# For so long an end counts without asking the database. Later, the operation may have been handed in again at another instance.
REMEMBERED_SECONDS = 2.0
REMEMBERED = 1024
RESULTS_KEPT = 256
# A result with more evidence than this is not kept for its worker: the link takes no message of that size.
RESULT_EVIDENCE_BYTES = 256 << 10


class Endings:
    """Remembers what ended lately, and lets callers wait for what has not. `is_finished` asks the database."""

    def __init__(
        self,
        is_finished: Callable[[int], Awaitable[bool]],
        *,
        poll_seconds: float = POLL_SECONDS,
        remembered_seconds: float = REMEMBERED_SECONDS,
    ) -> None:
        self._is_finished = is_finished
        self._poll_seconds = poll_seconds
        self._under_way: dict[int, asyncio.Future[None]] = {}
        self._finished: ExpiringCache[int, None] = ExpiringCache(REMEMBERED)
        self._remembered_seconds = remembered_seconds
        self._results: OrderedDict[int, Result] = OrderedDict()

    def begins(self, operation_id: int) -> None:
        """Somebody here works on the operation from now on. What was known of an earlier end does not hold any more."""
        self._finished.forget(operation_id)
        self._results.pop(operation_id, None)
        if operation_id not in self._under_way:
            self._under_way[operation_id] = asyncio.get_running_loop().create_future()

    def pauses(self, operation_id: int) -> None:
        """Nobody here works on the operation any more, whether it is finished or not."""
        if (under_way := self._under_way.pop(operation_id, None)) is not None:
            under_way.set_result(None)

    def finished(self, operation_id: int, result: Result | None = None) -> None:
        """`result` is kept for the one caller that waits for it."""
        self._finished.keep(operation_id, None, self._remembered_seconds)
        if result is not None:
            self._results[operation_id] = result
            if len(self._results) > RESULTS_KEPT:
                self._results.popitem(last=False)

    async def wait(self, operation_id: int, seconds: float) -> Result | bool:
        """True once the operation is finished, False after `seconds`. The first caller gets a result that was kept instead."""
        ends = time.monotonic() + seconds
        while True:
            if (under_way := self._under_way.get(operation_id)) is not None:
                await asyncio.wait([under_way], timeout=max(0.0, ends - time.monotonic()))
            if (result := self._results.pop(operation_id, None)) is not None:
                return result
            if self._finished.find(operation_id) or await self._is_finished(operation_id):
                return True
            if (left := ends - (now := time.monotonic())) <= 0:
                return False
            until_all_ask = self._poll_seconds - now % self._poll_seconds
            await asyncio.sleep(min(left, until_all_ask))


def result_of(claimed: ClaimedOperation, progress: Progress) -> Result | None:
    """The result of a small synchronous operation, for the worker that waits for it; None where the worker reads it."""
    if claimed.row.mode is not Mode.SYNC or claimed.documents is None or progress.ended is None:
        return None
    if progress.prepared_anew:  # the worker's row does not name the further payload
        return None
    kept = progress.evidence.values()
    if any(one.material for one in kept):  # it is stored once, and would be repeated here for each document
        return None
    if sum(len(one.signature) + sum(map(len, one.time_stamps)) for one in kept) > RESULT_EVIDENCE_BYTES:
        return None
    return as_ended(claimed.row, claimed.documents, progress.outcomes, progress.evidence, progress.ended)
