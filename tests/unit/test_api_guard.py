"""The guard: what it does before and after every request."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchseal.api import guard as guards
from batchseal.api.contract import load_contract
from batchseal.api.guard import Guard
from batchseal.api.metrics import Metrics
from batchseal.api.problem import Problems
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


async def test_memory_is_given_back_once_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "IDLE_SECONDS", 0.05)
    calls = 0

    def when_idle() -> None:
        nonlocal calls
        calls += 1

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    metrics = Metrics(Path(), 0)
    guard = Guard(application, load_contract(""), Problems(vendor_status_codes=False), metrics, Settings())
    guard.when_idle = when_idle
    for _ in range(5):  # Each request begins before IDLE_SECONDS have passed since the one before.
        await guard(dict(SCOPE), nothing, nothing)
        await asyncio.sleep(0.02)
    assert calls == 0
    await asyncio.sleep(0.1)
    assert calls == 1
    await asyncio.sleep(0.1)
    assert calls == 1
