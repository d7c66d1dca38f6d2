"""The guard: what it does before and after every request."""

from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

from batchseal.api.contract import load_contract
from batchseal.api.guard import Guard, GuardPace
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
