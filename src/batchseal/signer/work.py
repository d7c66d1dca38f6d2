"""One claimed operation while it is worked on, and how far a run over it came."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from batchseal.document import DocumentOutcome, Evidence, ToSign
from batchseal.errors import LeaseLost, UpstreamError
from batchseal.operation import Caller
from batchseal.payloads.interface import Payloads, Upload
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.store.rows import ClaimedOperation, OperationEnd, OperationRow
from batchseal.system.futures import in_pool

T = TypeVar("T")


@dataclass(slots=True)
class Progress:
    """How far a run came.

    `failed` counts the documents that were given up, in earlier runs too. `open` holds the documents that are tried again, each
    with why it failed this time. `outcomes` and `evidence` are filled for operations whose rows were handed over.
    """

    failed: int = 0
    open: dict[int, UpstreamError] = field(default_factory=dict)
    outcomes: dict[int, DocumentOutcome] = field(default_factory=dict)
    evidence: dict[int, Evidence] = field(default_factory=dict)
    ended: OperationEnd | None = None
    prepared_anew: bool = False

    @property
    def pause_seconds(self) -> float:
        """The longest pause that the signing service asked for."""
        return max((problem.retry_after_seconds or 0.0 for problem in self.open.values()), default=0.0)


@dataclass(slots=True)
class Plan:
    """What there is to do: documents that have ended already, documents to be signed, and documents that are signed but still
    need something (each with its evidence so far).
    """

    ended: list[DocumentOutcome] = field(default_factory=list)
    to_sign: list[ToSign] = field(default_factory=list)
    to_complete: list[tuple[ToSign, Evidence]] = field(default_factory=list)


class Work:
    """One claimed operation while it is worked on. `tries` counts the sign calls that each document was in."""

    def __init__(
        self, claimed: ClaimedOperation, caller: Caller, reader: OperationReader, pool: Executor, documents_left: int
    ) -> None:
        self.claimed = claimed
        self.caller = caller
        self.documents_left = documents_left
        self.progress = Progress()
        self.tries: dict[int, int] = {}
        self._reader = reader
        self._pool = pool
        self._reading: asyncio.Future[Any] | None = None
        self.upload: Upload | None = None  # a further payload that no row names yet
        self.is_being_named = False  # a row may name it by now

    @property
    def row(self) -> OperationRow:
        return self.claimed.row

    async def read(self, work: Callable[[OperationReader], T]) -> T:
        """Runs `work` on the stored payloads, in a thread. Calls follow each other, since the reader is for one thread."""
        self._reading = reading = in_pool(self._pool, partial(work, self._reader))
        return await asyncio.shield(reading)

    def payload_added(self, record: bytes, payloads: Payloads) -> None:
        """The row names the further payload by now: it is read from here on, and a sweep may look at it."""
        assert self.upload is not None
        row = replace(self.row, further_payloads=(*self.row.further_payloads, record))
        self.claimed = replace(self.claimed, row=row)
        self.progress.prepared_anew = True
        self.upload.release()
        self.upload, self.is_being_named = None, False
        self._reader.close()
        self._reader = OperationReader(payloads, records_of(row.payloads))

    async def close(self) -> None:
        """Closes the payloads once no thread uses them: cancelling a run does not stop its thread.

        A further payload that a row may name is left to the sweep, which asks the rows.
        """
        if self._reading is not None and not self._reading.done():
            await asyncio.wait([self._reading])
        self._reader.close()
        if self.upload is not None and self.is_being_named:
            self.upload.release()
        await self.abandon_upload()

    async def abandon_upload(self) -> None:
        """Leaves nothing of a further payload that no row can name: on a full disk every try would leave another one."""
        if self.upload is not None and not self.is_being_named:
            await in_pool(self._pool, self.upload.abandon)
            self.upload = None


def lease_lost(row: OperationRow) -> LeaseLost:
    return LeaseLost(f"operation {row.id} is worked on by somebody else")
