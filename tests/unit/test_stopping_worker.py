"""How a worker stops: first it is not ready, then it takes no more requests, and who waits is answered before it would be cut."""

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from harness.waiting import turns

from batchseal.api.contract import load_contract
from batchseal.api.guard import Guard
from batchseal.api.metrics import Metrics
from batchseal.api.problem import Problems
from batchseal.errors import ConfigurationError, NoRoom
from batchseal.processes.link import Link
from batchseal.settings.load import load_settings
from batchseal.settings.options import Settings
from batchseal.worker.handover import Handover
from batchseal.worker.server import drain

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/health/live",
    "raw_path": b"/health/live",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [(b"host", b"here")],
    "client": None,
}
INSTANCE = str(uuid4())


class Service:
    """A service that has others beside it for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.retired = 0
        self.left_within: list[float] = []

    async def retire(self) -> float:
        self.retired += 1
        return self.seconds

    def leave(self, grace_seconds: float) -> None:
        self.left_within.append(grace_seconds)


def guard_of(service: Service, may_end: asyncio.Event | None = None) -> Guard:
    """A guard in front of an application that answers at once, or after `may_end`."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if may_end is not None:
            await may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    metrics, problems = Metrics(Path(), 0), Problems(vendor_status_codes=False)
    guard = Guard(application, load_contract(""), problems, metrics, Settings(instance=INSTANCE))
    guard.service = service
    return guard


async def reply_of(guard: Guard) -> dict[bytes, bytes]:
    """The headers of the reply to a request, and its status."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await guard(dict(SCOPE), receive, send)
    return {**dict(sent[0]["headers"]), b"status": str(sent[0]["status"]).encode()}


async def test_each_reply_names_the_instance_and_only_those_of_a_stop_end_their_connection() -> None:
    may_end = asyncio.Event()
    guard = guard_of(Service(0.0), may_end)
    under_way = asyncio.create_task(reply_of(guard))
    await turns()
    await guard.retire()
    later = asyncio.create_task(reply_of(guard))
    may_end.set()
    for reply in (await under_way, await later):
        assert (reply[b"status"], reply[b"connection"]) == (b"200", b"close")
        assert reply[b"batchseal-instance"] == INSTANCE.encode()
    await guard.stop(0)
    refused = await reply_of(guard)
    assert (refused[b"status"], refused[b"connection"]) == (b"503", b"close")
    assert refused[b"batchseal-instance"] == INSTANCE.encode()
    fresh = await reply_of(guard_of(Service(0.0)))
    assert b"connection" not in fresh
    assert fresh[b"batchseal-instance"] == INSTANCE.encode()


async def test_who_waits_is_told_of_the_stop_with_the_time_that_is_left() -> None:
    service = Service(0.0)
    guard = guard_of(service)
    await drain(guard, asyncio.Event())
    assert (service.retired, service.left_within) == (1, [])
    await guard.stop(7.0)
    assert service.left_within == [7.0]


async def test_a_second_signal_ends_the_wait_for_the_load_balancer() -> None:
    hurry, guard = asyncio.Event(), guard_of(Service(3600.0))
    draining = asyncio.create_task(drain(guard, hurry))
    await turns()
    assert (await reply_of(guard))[b"status"] == b"200"
    assert not draining.done()
    hurry.set()
    async with asyncio.timeout(120):
        await draining


async def test_without_a_second_signal_the_wait_lasts_as_long_as_it_is_told() -> None:
    began = time.monotonic()
    await drain(guard_of(Service(0.2)), asyncio.Event())
    assert time.monotonic() - began >= 0.2


class StandingSigner(Link):
    """A link to a signer that knows of no end, or is away."""

    def __init__(self, *, is_away: bool = False) -> None:
        super().__init__(Path())
        self._is_away = is_away

    async def call(self, name: str, *arguments: Any, timeout_seconds: float | None = None) -> Any:
        if self._is_away:
            raise NoRoom("the signer is away")
        await asyncio.Event().wait()


async def never() -> bool:
    return False


async def test_long_polls_are_answered_at_once_and_results_within_the_grace() -> None:
    handover, later = Handover(StandingSigner()), Handover(StandingSigner())
    polls = [asyncio.create_task(later.end_of(n, 3600, never, polls=True)) for n in range(3)]
    waits = [asyncio.create_task(handover.end_of(n, 3600, never)) for n in range(3)]
    short = asyncio.create_task(handover.end_of(9, 0.01, never))
    await turns()
    began = time.monotonic()
    later.leave(3600)
    handover.leave(0.3)
    async with asyncio.timeout(120):
        assert await asyncio.gather(*polls) == [False] * 3
        assert await asyncio.gather(*waits) == [False] * 3
    assert time.monotonic() - began >= 0.29
    assert await short is False


async def test_the_database_tells_of_an_end_while_the_signer_is_away() -> None:
    handover = Handover(StandingSigner(is_away=True))
    asked = 0

    async def is_finished() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    async with asyncio.timeout(120):
        assert await handover.end_of(1, 60, is_finished) is True
    assert asked == 2


@pytest.mark.parametrize("flag", ["drain_seconds=-1", "stop_seconds=9"])
def test_times_that_cannot_be(flag: str) -> None:
    name, _, value = flag.partition("=")
    with pytest.raises(ConfigurationError, match=f"--{name.replace('_', '-')}: {value} must be"):
        load_settings({name: value}, {})
