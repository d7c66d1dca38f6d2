"""The guard: what it does before and after every request."""

from pathlib import Path
from typing import Any

import pytest
from harness.waiting import eventually

from batchseal.api.contract import load_contract
from batchseal.api.guard import Guard, GuardPace
from batchseal.api.metrics import Metrics
from batchseal.api.problem import Problems
from batchseal.errors import NotFound
from batchseal.settings.load import Settings

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [(b"host", b"here")],
    "client": None,
}


async def nothing(*_: Any) -> Any:
    """Takes the place of the server's `receive` and `send`."""


async def test_memory_is_given_back_once_nothing_runs() -> None:
    calls = 0

    def when_idle() -> None:
        nonlocal calls
        calls += 1

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    metrics, problems = Metrics(Path(), 0), Problems(vendor_status_codes=False)
    guard = Guard(
        application,
        load_contract(""),
        problems,
        metrics,
        Settings(),
        GuardPace(idle_seconds=0.2),
    )
    guard.when_idle = when_idle
    for expected in (1, 2):
        # Each request begins before the guard has been idle for long enough since the one before.
        for _ in range(5):
            await guard(dict(SCOPE), nothing, nothing)
        assert calls == expected - 1
        await eventually(lambda n=expected: calls >= n)  # type: ignore[misc]
    # A call for each of the first five requests would have come before the second call.
    assert calls == 2


@pytest.mark.parametrize("path", ["/health/live", "/no/such/address", "//"])
@pytest.mark.parametrize("signs", [True, False])
async def test_every_reply_says_that_the_sandbox_signs(signs: bool, path: str) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/health/live":
            raise NotFound(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"accept")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    metrics, problems = Metrics(Path(), 0), Problems(vendor_status_codes=False)
    guard = Guard(application, load_contract(""), problems, metrics, Settings(sandbox_signs=signs))
    await guard({**SCOPE, "path": path, "raw_path": path.encode()}, nothing, send)
    await guard({**SCOPE, "headers": []}, nothing, send)  # refused before the application sees it
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 2 and starts[1]["status"] == 400
    assert [message["headers"].count((b"batchseal-sandbox", b"true")) for message in starts] == [signs] * 2
