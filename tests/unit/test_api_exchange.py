"""The exchange: how it reads the pieces of a request from the server and sends the pieces of a reply to it."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from batchseal.api.exchange import Exchange

SCOPE: dict[str, Any] = {"headers": [], "method": "GET", "path": "/", "client": None}


async def sent(*pieces: tuple[bytes, bool], length: int | None) -> list[tuple[bytes, bool]]:
    """Sends these pieces, each with its `more_body`. Returns the pieces that the server gets, in the same form."""
    passed_on: list[Any] = []

    async def send(message: Any) -> None:
        passed_on.append(message)

    async def receive() -> Any:
        return await asyncio.get_running_loop().create_future()  # the caller stays

    exchange = Exchange(dict(SCOPE), receive, send, max_body_bytes=1, stall_seconds=1)
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
    for body, more in pieces:
        await exchange.send({"type": "http.response.body", "body": body, "more_body": more})
    assert exchange.replied
    await exchange.close()
    return [(message["body"], message["more_body"]) for message in passed_on[1:]]


async def test_a_body_ends_with_its_last_byte() -> None:
    assert await sent((b"whole", True), (b"", False), length=5) == [(b"whole", False)]
    assert await sent((b"in ", True), (b"two", True), (b"", False), length=6) == [(b"in ", True), (b"two", False)]


async def test_a_body_without_a_length_ends_where_it_says() -> None:
    assert await sent((b"a", True), (b"", False), length=None) == [(b"a", True), (b"", False)]


async def test_an_empty_body_is_sent() -> None:
    assert await sent((b"", False), length=0) == [(b"", False)]


async def test_a_request_body_of_a_known_length_ends_with_its_last_byte() -> None:
    """The exchange does not wait for the empty piece that the server sends after the last byte."""
    pieces = [b"one", b"two"]

    async def receive() -> Any:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": True}

    async def send(message: Any) -> None:
        raise AssertionError("no reply")

    scope = dict(SCOPE, headers=[(b"content-length", b"6")])
    exchange = Exchange(scope, receive, send, max_body_bytes=6, stall_seconds=1)
    assert [piece async for piece in exchange.body()] == [b"one", b"two"]
    assert exchange.body_bytes == 6


def exchange(client: tuple[str, int] | None, server: tuple[str, int] | None, *headers: tuple[bytes, bytes]) -> Exchange:
    async def unused(*_: Any) -> Any:
        raise AssertionError("nothing is sent or received")

    scope = dict(SCOPE, client=client, server=server, headers=list(headers))
    return Exchange(scope, unused, unused, max_body_bytes=1, stall_seconds=1)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "192.0.2.7"])
def test_a_caller_on_this_machine_is_local(peer: str) -> None:
    assert exchange((peer, 5), ("192.0.2.7", 8080)).is_local


@pytest.mark.parametrize(
    "peer", ["192.0.2.8", "::ffff:192.0.2.8", "128.0.0.1", "2001:db8::1", "::2", "", "localhost.example"]
)
def test_a_caller_elsewhere_is_not_local(peer: str) -> None:
    assert not exchange((peer, 5), ("192.0.2.7", 8080)).is_local
    assert not exchange((peer, 5), None).is_local
    assert not exchange(None, ("", 0)).is_local


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip"])
def test_a_proxy_on_this_machine_asks_for_others(name: bytes) -> None:
    assert not exchange(("127.0.0.1", 5), None, (name, b"192.0.2.8")).is_local


def test_lines_of_a_list_are_one_header() -> None:
    lines = [
        (b"accept", b"text/html"),
        (b"prefer", b"wait=5"),
        (b"accept", b"application/zip"),
        (b"prefer", b"respond-async"),
    ]
    headers = exchange(None, None, *lines).headers
    assert headers == {b"accept": b"text/html, application/zip", b"prefer": b"wait=5, respond-async"}


async def test_every_reply_is_kept_private_whatever_a_handler_says() -> None:
    passed_on: list[Any] = []

    async def send(message: Any) -> None:
        passed_on.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is received")

    given = [(b"Cache-Control", b"public"), (b"Server", b"x/1.0"), (b"Transfer-Encoding", b"chunked"), (b"etag", b"1")]
    for way in ("send", "send_anyway"):
        one = Exchange(dict(SCOPE), receive, send, max_body_bytes=1, stall_seconds=1)
        await getattr(one, way)({"type": "http.response.start", "status": 200, "headers": list(given)})
    for start in passed_on:
        assert sorted(start["headers"]) == [
            (b"cache-control", b"no-store"),
            (b"etag", b"1"),
            (b"x-content-type-options", b"nosniff"),
        ]


# --- a caller that goes away --------------------------------------------------------------------------------------------


class Caller:
    """Somebody whose whole request is there, and who can go away."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.began = asyncio.Event()
        self.ended: list[str] = []
        self.exchange = Exchange(dict(SCOPE), self.receive, self.receive, max_body_bytes=1, stall_seconds=1)

    async def receive(self, _: Any = None) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def work(self) -> str:
        """Waits for ever, and says how it ended."""
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended.append("work")
        return "never"


async def test_work_ends_when_its_caller_goes_away() -> None:
    one = Caller()
    waiting = asyncio.ensure_future(one.exchange.unless_gone(one.work()))
    await one.began.wait()
    one.left.set()
    with pytest.raises(ConnectionResetError):
        await waiting
    assert one.ended == ["work"] and not waiting.cancelled() and one.exchange.gone
    with pytest.raises(ConnectionResetError):  # and it does not begin for a caller who is known to have gone
        await one.exchange.unless_gone(one.work())
    assert one.ended == ["work"]
    await one.exchange.close()


async def test_the_result_of_work_comes_back_and_others_can_cancel_it() -> None:
    async def quick() -> str:
        await asyncio.sleep(0)
        return "done"

    one = Caller()
    assert await one.exchange.unless_gone(quick()) == "done"
    waiting = asyncio.ensure_future(one.exchange.unless_gone(one.work()))
    await one.began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not one.exchange.gone
    await one.exchange.close()


async def test_a_request_is_freed_with_its_end() -> None:
    """And not when the garbage collector runs: it refers to what the server keeps of the request."""

    async def stays(_: Any = None) -> Any:
        return await asyncio.get_running_loop().create_future()

    exchange = Exchange(dict(SCOPE), stays, stays, max_body_bytes=1, stall_seconds=1)
    exchange.watch()
    await asyncio.sleep(0)
    await exchange.close()
    ended = weakref.ref(exchange)
    gc.disable()
    try:
        del exchange
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ended() is None
    finally:
        gc.enable()


# --- how fast a reply must be read ------------------------------------------------------------------------------------


async def replied(seconds_per_piece: float, *, min_reply_rate: int, pieces: int = 12, piece_bytes: int = 1000) -> bool:
    """Whether a reply comes to its end, if its caller takes so long for each piece. What counts are 0.5 s."""

    async def send(message: Any) -> None:
        if message.get("body"):
            await asyncio.sleep(seconds_per_piece)

    async def receive() -> Any:
        return await asyncio.get_running_loop().create_future()

    exchange = Exchange(
        dict(SCOPE),
        receive,
        send,
        max_body_bytes=1,
        stall_seconds=1,
        send_stall_seconds=0.5,
        min_reply_rate=min_reply_rate,
    )
    await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        for number in range(pieces):
            more = number < pieces - 1
            await exchange.send({"type": "http.response.body", "body": bytes(piece_bytes), "more_body": more})
    except ConnectionResetError:
        return False
    finally:
        await exchange.close()
    return exchange.replied


async def test_a_caller_that_drips_is_cut() -> None:
    """It is never still for long, so that only its rate tells it from others."""
    assert not await replied(0.06, min_reply_rate=1_000_000)


async def replied_in_a_try(seconds_per_piece: float, **more: int) -> bool:
    """Whether a reply comes to its end in one of ten tries: a busy machine makes a caller too slow."""
    for _ in range(10):
        if await replied(seconds_per_piece, **more):
            return True
    return False


async def test_a_caller_that_has_taken_the_last_piece_has_the_whole_reply() -> None:
    """Whatever its rate was: it is not told that the reply was cut."""
    assert await replied_in_a_try(0.3, min_reply_rate=1_000_000, pieces=2)


async def test_a_caller_that_is_fast_enough_is_not_cut() -> None:
    assert await replied_in_a_try(0.06, min_reply_rate=100)
    assert await replied_in_a_try(0.06, min_reply_rate=0)


async def test_a_caller_that_never_keeps_the_reply_waiting_has_no_rate() -> None:
    assert await replied(0, min_reply_rate=1_000_000_000, pieces=100)
