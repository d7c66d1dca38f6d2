"""What a worker and the pages know of each other."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

from batchseal.api.exchange import Message, Receive, Send

Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
# The pages, and what closes them.
Opened: TypeAlias = tuple[Application, Callable[[], Awaitable[None]]]


class Memory(Protocol):
    """A reservation of memory."""

    def hold(self, memory_bytes: int) -> bool:
        """Reserves so much in all, or returns False."""


class Worker(Protocol):
    """What the pages ask of the worker that serves them: `worker.service.Service`."""

    def standing_memory(self) -> Memory: ...

    async def ready(self) -> dict[str, str]: ...

    async def numbers(self) -> dict[str, float]: ...

    def budgets(self) -> Mapping[str, tuple[float, float]]: ...

    async def ask_signer(self, name: str, *arguments: str) -> Any: ...
