"""How long a start waits, and what it says meanwhile."""

import asyncio

import pytest

from batchseal.errors import DatabaseUnavailable
from batchseal.system.waits import Patience, in_attempts, said_when_long


async def test_a_late_attempt_is_cancelled_named_and_begun_anew(capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[int] = []

    async def attempt() -> str:
        if len(ended) == 1:
            return "ready"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)
        return "never"

    assert await in_attempts("the thing", attempt, Patience(0.01, attempts=2), DatabaseUnavailable) == "ready"
    assert ended == [1]
    assert "the thing: not ready within 0.01 s, given up in attempt 1 of 2" in capsys.readouterr().err


async def test_attempts_are_bounded() -> None:
    begun: list[int] = []

    async def attempt() -> None:
        begun.append(1)
        await asyncio.Event().wait()

    with pytest.raises(DatabaseUnavailable, match=r"the thing: not ready within 0\.01 s in any of 3 attempts"):
        await in_attempts("the thing", attempt, Patience(0.01), DatabaseUnavailable)
    assert len(begun) == 3


async def test_what_goes_wrong_in_an_attempt_is_not_tried_again() -> None:
    async def attempt() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await in_attempts("the thing", attempt, Patience(60), DatabaseUnavailable)


async def test_a_long_wait_is_said_while_it_lasts_and_when_it_is_over() -> None:
    said: list[str] = []
    twice = asyncio.Event()

    def report(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            twice.set()

    async with asyncio.timeout(120):
        async with said_when_long("the disk", report, after_seconds=0.01):
            await twice.wait()
    assert said[:2] == ["the start has waited 0.01 s for the disk", "the start has waited 0.02 s for the disk"]
    assert said[-1].startswith("the start has waited ")
    assert said[-1].endswith(" s for the disk, and goes on")


async def test_a_short_wait_is_not_said() -> None:
    said: list[str] = []
    async with said_when_long("the disk", said.append, after_seconds=60):
        pass
    assert said == []
