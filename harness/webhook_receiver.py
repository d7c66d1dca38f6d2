"""A receiver of webhooks over real HTTP, which fails, hangs and redirects as a test asks for.

What it takes is verified by `standardwebhooks`, the public library, and by nothing of ours. It runs in a thread of its own.
"""

import asyncio
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from harness import web_end

SECRET = "whsec_" + b64encode(b"the secret of a test's receiver!").decode()
OLD_SECRET = "whsec_" + b64encode(b"the secret before the other one!").decode()

TAKE, FAIL, HANG, REDIRECT, GONE, BUSY, LONG = "take", "fail", "hang", "redirect", "gone", "busy", "long"
LONG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request. `data` is None where the signature was not right."""

    id: str
    kind: str
    data: Any
    answered: str
    at: float
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class WebhookReceiver:
    """`behave` says how the request with this number (from 0) is answered. As a context it serves at `url`."""

    def __init__(
        self,
        behave: Callable[[int], str] = lambda number: TAKE,
        *,
        secret: str = SECRET,
        retry_after: str = "1",
        hang_seconds: float = 60.0,
    ) -> None:
        self.behave = behave
        self.retry_after = retry_after
        self.deliveries: list[Delivery] = []
        self.redirected = 0  # requests that came where a redirect leads to
        self.under_way = self.most_under_way = 0
        self._verifier = Webhook(secret)
        self._hang_seconds = hang_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver")
        self._hanging = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/seal?key=hidden"

    @property
    def taken(self) -> dict[str, Delivery]:
        """The deliveries that were answered with 2xx, by the id of their event; of each event the first."""
        taken: dict[str, Delivery] = {}
        for one in list(self.deliveries):
            if one.answered in (TAKE, LONG):
                taken.setdefault(one.id, one)
        return taken

    def operations(self) -> set[int]:
        """The operations whose end was taken."""
        return {one.data["id"] for one in self.taken.values() if one.kind.startswith("operation.")}

    def __enter__(self) -> "WebhookReceiver":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(120)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_post("/hooks/seal", self._take)
        application.router.add_route("*", "/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._hanging.set()
        await web_end.end(self._runner)

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.redirected += 1
        return web.Response(status=204)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._answered(request)
        finally:
            self.under_way -= 1

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        body, headers = await request.read(), {name.lower(): value for name, value in request.headers.items()}
        answer = self.behave(len(self.deliveries))
        try:
            event = self._verifier.verify(body, headers)
        except WebhookVerificationError:
            event, answer = None, FAIL
        kind, data = (event["type"], event["data"]) if event else ("", None)
        delivery = Delivery(headers.get("webhook-id", ""), kind, data, answer, time.monotonic(), headers, body)
        self.deliveries.append(delivery)
        if answer == HANG:
            try:
                await asyncio.wait_for(self._hanging.wait(), self._hang_seconds)
            except TimeoutError:
                pass
            return web.Response(status=500)
        if answer == LONG:
            return web.Response(status=200, body=bytes(LONG_BYTES))
        status = {TAKE: 204, FAIL: 500, REDIRECT: 307, GONE: 410, BUSY: 503}[answer]
        more = {REDIRECT: {"Location": "/elsewhere"}, BUSY: {"Retry-After": self.retry_after}}.get(answer, {})
        return web.Response(status=status, headers=more)
