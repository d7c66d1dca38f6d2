"""A worker's side of the hand-over to the signer: new operations go there, and their end comes back.

The signer finds every operation in the database, so whatever is lost here only costs time. It also knows the end of an operation
that another instance signs (`signer/endings.py`); while the signer is away, the database is asked here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
import structlog

from batchseal.audit.chain import documents_digest
from batchseal.document import ToSign
from batchseal.errors import BatchsealError
from batchseal.operation import Caller, Mode
from batchseal.payloads.interface import PayloadRecord
from batchseal.pipeline.reception import HANDED_DOCUMENTS, Received
from batchseal.processes.link import Link
from batchseal.store.columns import registered_document
from batchseal.store.rows import DocumentRow, OperationRow, Registration

SIGNER_AWAY_SECONDS = 0.5  # before a signer that is away is asked again

# The result of an operation as the signer has kept it.
Ended = tuple[OperationRow, list[DocumentRow]]

log = structlog.get_logger("service")


class Wait:
    """Somebody who waits for an end, until `ends` (monotonic). `polls`: who can as well ask again."""

    def __init__(self, ends: float, polls: bool) -> None:
        self.ends = ends
        self.polls = polls
        self.timeout: asyncio.Timeout | None = None

    def end_by(self, ends: float) -> None:
        if ends < self.ends:
            self.ends = ends
            if self.timeout is not None and not self.timeout.expired():
                loop = asyncio.get_running_loop()
                self.timeout.reschedule(loop.time() + max(0.0, ends - time.monotonic()))


class Handover:
    """One for each worker."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._asked: dict[int, asyncio.Future[Any]] = {}  # ends that were asked for together with the hand-over
        self._under_way = 0  # operations whose end was asked for and has not come
        self._waits: set[Wait] = set()

    def announce(self, caller: Caller, received: Received) -> None:
        """Lets the signer prepare while the operation is being registered. Nothing is signed by that.

        It asks for leave to sign, and makes the payload durable.
        """
        if received.is_handed_whole:
            self._announce(caller, received.payload.id, received.to_sign, received.fingerprint, received.payload)

    def announce_prepared(
        self, caller: Caller, payload_id: UUID, to_sign: Sequence[ToSign], fingerprint: bytes
    ) -> None:
        """The same before the payload is stored. It is made durable elsewhere.

        While something else of this worker is being signed the signer would ask for nothing, so it is not told.
        """
        if len(to_sign) <= HANDED_DOCUMENTS and not self._under_way:
            self._announce(caller, payload_id, to_sign, fingerprint, None)

    def _announce(
        self,
        caller: Caller,
        payload_id: UUID,
        to_sign: Sequence[ToSign],
        fingerprint: bytes,
        payload: PayloadRecord | None,
    ) -> None:
        if digests := [item.digest for item in to_sign]:
            with suppress(BatchsealError):
                asked = caller.client_service, caller.token, fingerprint, digests, payload, str(payload_id)
                self._link.tell("announce", *asked)

    def new(self, row: OperationRow, caller: Caller, received: Received, asked_at: float) -> None:
        """A new operation. `asked_at` is the monotonic time before it was registered."""
        if not received.is_handed_whole:
            return self.wake(row, caller)
        rows = [registered_document(document) for document in received.documents]
        handed = Registration(
            *(row, rows, received.to_sign, received.fingerprint, asked_at),
            is_durable=received.is_synced,
            documents_digest=documents_digest(received.document_digests),
        )
        try:
            if row.mode is Mode.SYNC:
                # One message hands the operation over and asks for its end.
                if ending := self._link.ask("work", row.id, caller.token, handed):
                    self._asked[row.id] = ending
                    self._under_way += 1
                    ending.add_done_callback(lambda _: self._ended(row.id))
                    return None
            elif self._link.tell("wake", row.id, caller.token, handed):
                return None
        except BatchsealError:
            return self._not_woken(row)
        return self.wake(row, caller)  # the message would be too long: the texts of many documents may be long

    def _ended(self, operation_id: int) -> None:
        self._asked.pop(operation_id, None)
        self._under_way -= 1

    def wake(self, row: OperationRow, caller: Caller) -> None:
        """There is work, which the signer reads from the database."""
        try:
            self._link.tell("wake", row.id, caller.token, None, row.client_service)
        except BatchsealError:
            self._not_woken(row)

    def _not_woken(self, row: OperationRow) -> None:
        log.info("the signer was not woken and will find the operation itself", operation=row.id)

    async def end_of(
        self, operation_id: int, seconds: float, is_finished: Callable[[], Awaitable[bool]], *, polls: bool = False
    ) -> tuple[OperationRow, list[DocumentRow]] | bool:
        """True once the operation is finished, False after `seconds`. Where the signer kept the result, returns that instead.

        `is_finished` asks the database, while the signer is away. With `polls` the caller can as well ask again: it does not wait
        beyond a `leave`.
        """
        wait, asked = Wait(time.monotonic() + seconds, polls), self._asked.pop(operation_id, None)
        self._waits.add(wait)
        try:
            while (left := wait.ends - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left) as wait.timeout:
                        if ending := await (asked or self._link.call("wait", operation_id, left, timeout_seconds=left)):
                            return ending if ending is True else msgspec.convert(ending, Ended)
                except TimeoutError:
                    return False
                except BatchsealError:
                    await asyncio.sleep(min(left, SIGNER_AWAY_SECONDS))
                    with suppress(BatchsealError):
                        if await is_finished():
                            return True
                asked = None
            return False
        finally:
            self._waits.discard(wait)

    def leave(self, seconds: float) -> None:
        """This process is about to end: long polls are answered now, and whoever waits for a result within `seconds`."""
        now = time.monotonic()
        for wait in self._waits:
            wait.end_by(now if wait.polls else now + seconds)
