"""Numbers that another process of this instance counts, which the signer shows with its own to those who ask for `/metrics`."""

from collections.abc import Mapping
from typing import Any

from batchseal.processes.link import Handler


class ToldNumbers:
    """What the process of the hot folders has said last."""

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}

    def handlers(self, state: Handler) -> dict[str, Handler]:
        """What other processes may call over the link. `state` answers about the upstream; the numbers are joined to its."""

        async def joined() -> Any:
            said: Mapping[str, Any] = await state()
            return {**said, "numbers": {**said["numbers"], **self._numbers}}

        return {"hot_folders": self.told, "upstream": joined}

    async def told(self, numbers: dict[str, float]) -> None:
        """Keeps the numbers, by the names of their metrics."""
        self._numbers = numbers
