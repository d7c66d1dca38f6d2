"""Keeps for the operator's page which sign calls the documents of an operation were in.

Nothing waits for this: entries are written in one statement a second, and the oldest are dropped where there are too many of
them. Of operations with few documents only calls that failed are kept: otherwise each small request would cost a row.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from batchseal.errors import DatabaseUnavailable, UpstreamError
from batchseal.store.rows import OperationRow
from batchseal.store.upstream_calls import CallTable, KeptCall

WRITE_SECONDS = 1.0
MAX_WAITING, AT_ONCE = 10_000, 1_000
# From so many documents on the calls that succeeded are kept too.
DOCUMENTS = 10
CAUSE_CHARACTERS = 200

log = structlog.get_logger("signer")


class CallLog:
    """One for each signer. `run` writes what was noted."""

    def __init__(self, table: CallTable) -> None:
        self._table = table
        self._waiting: deque[KeptCall] = deque(maxlen=MAX_WAITING)

    def note(self, row: OperationRow, seconds: float, answers: Iterable[bytes | UpstreamError]) -> None:
        """The answers of a call that ended now, as far as they are about documents of this operation.

        `seconds` have passed since its digests were handed over.
        """
        counted = Counter(
            ("signed", "") if isinstance(answer, bytes) else (type(answer).__name__, answer.cause[:CAUSE_CHARACTERS])
            for answer in answers
        )
        now = datetime.now(UTC)
        for (outcome, cause), digests in counted.items():
            if outcome != "signed" or row.documents_total >= DOCUMENTS:
                cause = cause.replace("\0", "").encode("utf-8", "replace").decode()
                self._waiting.append(KeptCall(row.id, now, digests, round(seconds * 1000), outcome, cause))

    async def run(self) -> None:
        """Writes what was noted, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                try:
                    await self._table.keep(some)
                except DatabaseUnavailable as problem:
                    log.info("sign calls are not kept", calls=len(some), cause=problem.cause)
                    break
