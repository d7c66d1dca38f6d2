"""Numbers that another process of this instance counts, which the signer shows with its own to those who ask for `/metrics`."""

from collections.abc import Mapping
from typing import Any

from batchseal.processes.link import Handler


class ToldNumbers:
    """What the process of the hot folders has said last. `state` answers about the upstream, with the numbers of the signer."""

    def __init__(self, state: Handler) -> None:
        self._state = state
        self._numbers: dict[str, float] = {}

    async def told(self, numbers: dict[str, float]) -> None:
        """Keeps the numbers, by the names of their metrics."""
        self._numbers = numbers

    async def joined(self) -> Any:
        """What `state` says, with these numbers among its own."""
        said: Mapping[str, Any] = await self._state()
        return {**said, "numbers": {**said["numbers"], **self._numbers}}


def with_told_numbers(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """What workers may call over the link, and the process of the hot folders."""
    numbers = ToldNumbers(handlers["upstream"])
    return {**handlers, "hot_folders": numbers.told, "upstream": numbers.joined}
