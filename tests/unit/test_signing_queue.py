"""How much the signer takes on at once, and which results it sends to the worker that waits."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.waiting import eventually, turns

from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import UpstreamRateLimited
from batchseal.operation import Caller, ContentType, DocumentStatus, Mode, OperationStatus
from batchseal.signer.pace import Pace
from batchseal.signer.queue import SigningQueue, result_of
from batchseal.signer.work import Progress
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationEnd, OperationRow
from batchseal.system.backoff import LONGEST_ASKED_SECONDS, Backoff

ROW = OperationRow(
    *(1, UUID(int=1), "A", "r", "d", Mode.SYNC, OperationStatus.PENDING_EXECUTION, datetime.now(UTC), None),
    *(UUID(int=2), "h", 1, 2, 0, 0, None, False),
)


class SlowStore:
    """Answers a claim when it may."""

    instance = UUID(int=1)

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked: list[int] = []

    async def claim_one(self, operation_id: int, _: float) -> ClaimedOperation:
        self.asked.append(operation_id)
        await self.may_answer.wait()
        return ClaimedOperation(replace(ROW, id=operation_id), 1, 0)

    async def is_finished(self, _: int) -> bool:
        return False


class Endless:
    """A `Signing` whose runs never end."""

    def __init__(self) -> None:
        self.running: list[int] = []

    async def run(self, claimed: ClaimedOperation, _: Caller) -> Any:
        self.running.append(claimed.row.id)
        await asyncio.Event().wait()


async def test_operations_that_come_at_once_do_not_take_more_room_than_there_is() -> None:
    store, signing = SlowStore(), Endless()
    queue = SigningQueue(store, None, signing, pace=Pace(operations=2))  # type: ignore[arg-type]
    waking = [asyncio.create_task(queue.wake(number, None)) for number in range(1, 6)]
    await asyncio.sleep(0)
    store.may_answer.set()
    await asyncio.gather(*waking)
    await queue.wake(6, None)
    await asyncio.sleep(0)
    assert signing.running == [1, 2]
    assert store.asked == [1, 2]
    await queue.stop(0)


class Backlog(SlowStore):
    """Has many operations of one client service in front of one of another."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = [(number, "greedy") for number in range(100, 150)] + [(150, "other")]

    async def claim(
        self, limit: int, _: float, *, woken: Any, at_work: Any, passed_over: Collection[str]
    ) -> list[ClaimedOperation]:
        found = [one for one in self.waiting if one[1] not in passed_over][:limit]
        self.waiting = [one for one in self.waiting if one not in found]
        return [ClaimedOperation(replace(ROW, id=number, client_service=name), 1, 0) for number, name in found]


async def test_an_operation_does_not_wait_for_the_backlog_of_another_client_service() -> None:
    store, signing = Backlog(), Endless()
    pace = Pace(operations=8, claimed=4, share_percent=25)
    queue = SigningQueue(store, None, signing, pace=pace, is_alone=lambda: False)  # type: ignore[arg-type]
    looking = asyncio.create_task(queue.run())
    await eventually(lambda: 150 in signing.running)
    assert len(signing.running) <= 9
    store.may_answer.set()
    await queue.wake(200, None, None, "third")  # one that its worker hands over
    await turns()
    assert signing.running[-1] == 200
    await queue.wake(201, None, None, "greedy")
    await turns()
    assert 201 not in signing.running
    looking.cancel()
    await queue.stop(0)


def ended(stamp_bytes: int, documents: Collection[int] = range(100)) -> tuple[ClaimedOperation, Progress]:
    rows = [
        DocumentRow(n, f"{n}", "n.pdf", ContentType.PDF, DocumentStatus.RECEIVED, None, None, 9, 0) for n in documents
    ]
    progress = Progress(ended=OperationEnd(0, datetime.now(UTC)))
    progress.outcomes = {n: DocumentOutcome(n, 5) for n in documents}
    progress.evidence = {n: Evidence(b"v" * 512, (b"t" * stamp_bytes,)) for n in documents}
    return ClaimedOperation(ROW, 1, 0, documents=rows), progress


def test_a_result_with_much_evidence_is_read_by_the_worker() -> None:
    """The answer would be longer than a message may be, and many such results would fill the memory of the signer."""
    result = result_of(*ended(1000))
    assert result is not None
    assert len(result[1]) == 100
    assert result_of(*ended(8000)) is None
    assert result_of(*ended(8000, [0])) is not None


class Refusing:
    """A `Signing` whose signing service asks for a pause."""

    def __init__(self, asked_seconds: float) -> None:
        self.asked_seconds = asked_seconds

    async def run(self, claimed: ClaimedOperation, _: Caller) -> Progress:
        raise UpstreamRateLimited("429", retry_after_seconds=self.asked_seconds)


class Postponing(SlowStore):
    """Notes for how long operations are postponed."""

    def __init__(self, age: timedelta) -> None:
        super().__init__()
        self.may_answer.set()
        self.row = replace(ROW, created_at=datetime.now(UTC) - age)
        self.pauses: list[float] = []

    async def claim_one(self, operation_id: int, _: float) -> ClaimedOperation:
        return ClaimedOperation(replace(self.row, id=operation_id), 1, 0)

    async def postpone(self, operation_id: int, fence: int, pause: float) -> None:
        self.pauses.append(pause)


@pytest.mark.parametrize(
    ("asked_seconds", "patience_seconds", "age", "least", "most"),
    [
        (100.0, 86_400.0, timedelta(), 100, 100),
        (86_400.0, 86_400.0, timedelta(), LONGEST_ASKED_SECONDS, LONGEST_ASKED_SECONDS),
        (86_400.0, 600.0, timedelta(seconds=100), 400, 500),  # until patience ends
        (86_400.0, 600.0, timedelta(seconds=599), 1, 1),  # never sooner than without having been asked
    ],
)
async def test_nobody_can_ask_for_a_pause_that_outlasts_patience(
    asked_seconds: float, patience_seconds: float, age: timedelta, least: float, most: float
) -> None:
    store = Postponing(age)
    pace = Pace(patience_seconds=patience_seconds, between_tries=Backoff(1.0, 60.0))
    queue = SigningQueue(store, None, Refusing(asked_seconds), pace=pace)  # type: ignore[arg-type]
    await queue.wake(1, None)
    await eventually(lambda: bool(store.pauses))
    assert least <= store.pauses[0] <= most
    await queue.stop(1)
