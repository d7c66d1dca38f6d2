"""What the signer process knows of ended operations, and who is woken when."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from batchseal.operation import Mode, OperationStatus
from batchseal.signer.endings import Endings, Result
from batchseal.store.rows import OperationRow

ROW = OperationRow(
    *(1, UUID(int=1), "A", "r", "d", Mode.SYNC, OperationStatus.EXECUTION_FAILED, datetime.now(UTC), datetime.now(UTC)),
    *(UUID(int=2), "h", 1, 1, 0, 1, None, False),
)
RESULT: Result = (ROW, [])


async def unfinished(_: int) -> bool:
    return False


def endings() -> Endings:
    return Endings(unfinished, poll_seconds=0.001)


async def test_a_result_that_nobody_took_is_forgotten_when_the_operation_goes_on() -> None:
    """The operation failed, was handed in again, and is signed now: its earlier result is no answer any more."""
    known = endings()
    known.begins(1)
    known.finished(1, RESULT)
    known.pauses(1)
    known.begins(1)
    assert await known.wait(1, 0.01) is False
    known.pauses(1)
    assert await known.wait(1, 0.01) is False
    known.begins(1)
    known.finished(1)
    known.pauses(1)
    assert await known.wait(1, 60) is True


async def test_one_caller_gets_the_result_and_the_others_are_woken() -> None:
    known = endings()
    known.begins(1)
    waiting = [asyncio.create_task(known.wait(1, 3600)) for _ in range(3)]
    await asyncio.sleep(0)
    known.finished(1, RESULT)
    known.pauses(1)
    async with asyncio.timeout(120):
        answers = await asyncio.gather(*waiting)
    assert sorted(answer is True for answer in answers) == [False, True, True]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_wait_outlasts_pauses(times: int) -> None:
    known = endings()
    waiting = asyncio.create_task(known.wait(1, 3600))
    for _ in range(times):
        known.begins(1)
        await asyncio.sleep(0)
        known.pauses(1)
    known.begins(1)
    known.finished(1)
    known.pauses(1)
    async with asyncio.timeout(120):
        assert await waiting is True
