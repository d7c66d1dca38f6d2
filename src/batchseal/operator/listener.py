"""What a worker gives the operator's listener: it loads the pages with the first request, and until then costs next to nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

from batchseal.api.exchange import Message, Receive, Send
from batchseal.settings.load import Settings

Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
Opened: TypeAlias = tuple[Application, Callable[[], Awaitable[None]]]

UNAVAILABLE = b"The operator's page cannot be opened now. The log of the service says why.\n"


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


def listener_of(settings: Settings, worker: Worker) -> "OperatorListener":
    """The application of the operator's listener of a worker."""

    async def open_all() -> Opened:
        from batchseal.operator.opening import open_pages

        return await open_pages(settings, worker)

    return OperatorListener(open_all)


class OperatorListener:
    """An ASGI application. `open_pages` makes the pages, and gives what closes them."""

    def __init__(self, open_pages: Callable[[], Awaitable[Opened]]) -> None:
        self._open_pages = open_pages
        self._opened: Opened | None = None
        self._opening = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            application = await self._application()
            await application(scope, receive, send)
        finally:
            self._running.discard(task)

    async def _application(self) -> Application:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    try:
                        self._opened = await self._open_pages()
                    except Exception as problem:
                        return unavailable(problem)
        return self._opened[0]

    async def close(self, grace_seconds: float) -> None:
        """Lets running requests end, and closes what the pages use. The listener must be closed by then."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=grace_seconds)
            for task in self._running:
                task.cancel()
        if self._opened is not None:
            await self._opened[1]()


def unavailable(problem: Exception) -> Application:
    """Says in one line that the pages cannot be opened, and why in the log. The next request tries again."""
    import structlog

    structlog.get_logger("operator").error("the operator's page cannot be opened", exc_info=problem)

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/plain"),
            (b"content-length", str(len(UNAVAILABLE)).encode()),
            (b"retry-after", b"5"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": UNAVAILABLE, "more_body": False})

    return application
