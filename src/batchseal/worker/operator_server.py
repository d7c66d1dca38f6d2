"""The second listener of a worker: the operator's page, on a port of its own, so that no load balancer has to hide it."""

import asyncio
from typing import Any, Protocol, cast

from batchseal.settings.load import Settings
from batchseal.worker.lean_granian import HTTP1Settings, HTTPModes, Interfaces, Server

# Of one worker. Operators are few, and each browser opens six at most.
BACKLOG, CONNECTIONS = 128, 128
HEADER_SECONDS, GRACE_SECONDS, FLUSH_SECONDS = 10, 3.0, 1.0


class OperatorPage(Protocol):
    """What answers on this listener."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def close(self, grace_seconds: float) -> None:
        """Lets what runs end, and closes what it uses."""


def operator_server(worker: object, settings: Settings, tls: dict[str, Any]) -> "OperatorServer | None":
    """The listener of a worker, if the settings ask for one. `worker` is what the pages ask how the service is."""
    if not settings.has_operator_page:
        return None
    from batchseal.operator.listener import Worker, listener_of  # nothing of the page is loaded where it is off

    return OperatorServer(listener_of(settings, cast(Worker, worker)), settings, tls)


class OperatorServer:
    """The listener. `tls` are the options of its certificate; it has the same one as the API."""

    def __init__(self, page: OperatorPage, settings: Settings, tls: dict[str, Any]) -> None:
        self._page = page
        self._server = Server(
            page,
            address=settings.operator_host,
            port=int(settings.operator_port),
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
            log_enabled=False,
            **tls,
        )
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to listen. The supervisor holds the port, so that nobody else has it."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve())

    async def stop(self) -> None:
        """Takes no more connections, and lets the running requests end."""
        self._server.stop()  # type: ignore[no-untyped-call]
        await self._page.close(GRACE_SECONDS)
        if self._serving is not None:
            await asyncio.wait((self._serving,), timeout=FLUSH_SECONDS)
