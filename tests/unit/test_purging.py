"""Purges give way to a backup, also to one that begins while they are under way."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from batchseal.signer.duties.purging import Purging


class EndlesslyDue:
    """Rows of which one is always due. A backup begins behind so many purges."""

    def __init__(self, purges: int) -> None:
        self.left = purges
        self.marked = 0

    async def is_being_backed_up(self) -> bool:
        return self.left == 0

    async def purgeable(self, *_: float, shared: bool = False) -> dict[int, Any]:
        return {1: object()}

    async def purge_asked(self, *, shared: bool = False) -> dict[int, Any]:
        return {1: object()}

    async def mark_purged(self, operation_ids: list[int], *, unless_backed_up: bool = False) -> dict[int, Any]:
        assert unless_backed_up
        self.left -= 1
        self.marked += 1
        return {}


@pytest.mark.parametrize("purges", [0, 3])
@pytest.mark.parametrize(
    "purge", [lambda one: one.purge_due(1, 1), lambda one: one.purge_asked()], ids=["due", "asked for"]
)
async def test_a_purge_ends_once_a_backup_is_made(purge: Callable[[Purging], Awaitable[None]], purges: int) -> None:
    rows = EndlesslyDue(purges)
    await purge(Purging(rows, None, None, None))  # type: ignore[arg-type]
    assert rows.marked == purges
