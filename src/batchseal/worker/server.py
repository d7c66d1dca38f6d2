"""A process that receives requests: one loop, one server, one application.

Several workers listen on the same port (SO_REUSEPORT) and know nothing of each other. A worker tells its
parent when it takes connections.

The stop begins with SIGTERM. If there are other instances, the worker says that it is not ready and goes on
taking requests for `--drain-seconds`, until the load balancer in front has noticed; each reply ends its
connection. A second signal ends this wait. Then it listens no more, and what runs gets `--stop-seconds`, less
what the rest of the stop needs, whatever its callers do.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, NoReturn

import structlog
import uvloop

from batchseal.api.guard import Guard
from batchseal.errors import ConfigurationError
from batchseal.processes.open_files import connections_within, raise_open_files
from batchseal.settings.load import Settings
from batchseal.system.addresses import TrustedProxies
from batchseal.system.heap import give_back_memory
from batchseal.system.telemetry.ending import end_of_process
from batchseal.worker.buffers import give_back_buffers
from batchseal.worker.lean_granian import HTTP1Settings, HTTPModes, Interfaces, Server, SSLProtocols
from batchseal.worker.operator_server import operator_server
from batchseal.worker.unfinished import HeaderLimits, UnfinishedRequests

log = structlog.get_logger(__name__)

BACKLOG = 4096
# Of `--stop-seconds`, what is left when the running requests have had their time: for cancelled ones (2 s), for
# what is still in the server's buffers, for the signer.
REST_SECONDS = 9
# What the running requests get by default.
GRACE_SECONDS = 18.0
FLUSH_SECONDS = 3.0
# With the paths of the Swagger page and of the documentation, which `serve` prints on a terminal.
READY_LINE = b"ready %s %s\n"
# However many workers there are, each can receive so much of headers at the same time.
LEAST_HEADER_BYTES = 4 << 20

OpenApplication = Callable[[Settings], AbstractAsyncContextManager[Guard]]


def run(
    settings: Settings,
    open_application: OpenApplication,
    *,
    ready_fd: int | None = None,
    grace_seconds: float | None = None,
) -> NoReturn:
    """Serves on `settings.host` and `settings.port` until SIGTERM or SIGINT, and ends the process.

    `open_application` gives the application with all that it needs, and takes it down again. `READY_LINE` is
    written to `ready_fd` as soon as connections are taken. After a signal, running requests get
    `grace_seconds` to end, by default what the settings say. Exit code 0, or 1 where the server ended by itself
    or could not start.
    """
    code = 1
    if grace_seconds is None:
        grace_seconds = settings.stop_seconds - REST_SECONDS
    try:
        code = uvloop.run(serve(settings, open_application, ready_fd, grace_seconds))
    except ConfigurationError as problem:
        log.error("worker cannot start", cause=problem.cause)
    finally:
        end_of_process()
        sys.stdout.flush()
        sys.stderr.flush()
        # The server's threads may still hold connections of callers who neither send nor read.
        os._exit(code)


def give_back() -> None:
    """Returns to the system what this process holds for work to come."""
    canonicaliser = sys.modules.get("batchseal._native.canonicaliser")
    if canonicaliser is not None:  # it is loaded with the first document in XML
        canonicaliser.give_back_memory()
    give_back_buffers()
    give_back_memory()


async def serve(
    settings: Settings, open_application: OpenApplication, ready_fd: int | None, grace_seconds: float
) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    async with open_application(settings) as guard:
        guard.when_idle = give_back
        server = build_server(guard, settings)
        guard.connections = unfinished = watch(guard, settings)
        serving = loop.create_task(server.serve())
        second = operator_server(guard.service, settings, tls(settings, of_callers=False))
        ending = loop.create_task(stop.wait())
        try:
            await until_listening(settings, serving)
            unfinished.start()
            if second is not None:
                second.start()
            if ready_fd is not None:
                os.write(ready_fd, READY_LINE % (guard.swagger.encode("ascii"), guard.documentation.encode("ascii")))
                os.close(ready_fd)
            give_back()  # what the start has left
            await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                log.error("the server ended by itself")
                return 1
            await drain(guard, hurry)
            unfinished.stop()
            if second is not None:
                await second.stop()
            await end(server, serving, guard, grace_seconds)
        finally:
            ending.cancel()
    return 0


def build_server(guard: Guard, settings: Settings) -> Server:
    """The server with its limits. HTTP/1.1 only: nobody speaks HTTP/2 without TLS, and it would double the
    surface.
    """
    return Server(
        guard,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=connections_within(raise_open_files()),
        http1_settings=HTTP1Settings(header_read_timeout=settings.header_seconds * 1000),
        log_enabled=False,
        **tls(settings),
    )


def watch(guard: Guard, settings: Settings) -> UnfinishedRequests:
    """The bounds of incomplete requests. The workers share what one instance may spend on them."""
    share = max(HeaderLimits().bytes_in_all // max(1, settings.workers), LEAST_HEADER_BYTES)
    limits = HeaderLimits(bytes_in_all=share, connections_of_one=settings.header_connections)
    return UnfinishedRequests(settings.port, limits, TrustedProxies(settings.trusted_proxies), guard.book_headers)


def tls(settings: Settings, *, of_callers: bool = True) -> dict[str, Any]:
    """TLS 1.2 or newer; with authorities for callers, a connection without a certificate of theirs is refused.

    Operators (`of_callers` is False) have no such certificate in their browsers.
    """
    if not settings.tls_certificate:
        return {}
    options: dict[str, Any] = {
        "ssl_cert": Path(settings.tls_certificate),
        "ssl_key": Path(settings.tls_key),
        "ssl_protocol_min": SSLProtocols.tls12,
    }
    if settings.tls_client_ca and of_callers:
        options |= {"ssl_ca": Path(settings.tls_client_ca), "ssl_client_verify": True}
    return options


async def until_listening(settings: Settings, serving: "asyncio.Task[None]") -> None:
    """Waits until the port takes connections. Raises ConfigurationError where the server cannot have it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    for _ in range(500):
        # Before and after: somebody else may listen there, and answer.
        await asyncio.sleep(0.01)
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, settings.port)
            writer.close()
            if not serving.done():
                return
        if serving.done():
            why = str(serving.exception()).partition("\n")[0]
            raise ConfigurationError(f"cannot listen on {settings.host}:{settings.port}: {why}")
    raise ConfigurationError(f"nothing listens on {settings.host}:{settings.port}")


async def drain(guard: Guard, hurry: asyncio.Event) -> None:
    """Waits until those who call this instance have noticed that it is being stopped, or until `hurry`."""
    if seconds := await guard.retire():
        log.info("requests are taken until others serve them", seconds=seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await hurry.wait()


async def end(server: Server, serving: "asyncio.Task[None]", guard: Guard, grace_seconds: float) -> None:
    """Takes no more connections, lets the running requests end, and their last bytes reach the callers."""
    server.stop()  # type: ignore[no-untyped-call]
    await guard.stop(grace_seconds)
    # The server itself waits for half-sent headers and for callers who do not read.
    await asyncio.wait((serving,), timeout=FLUSH_SECONDS)
