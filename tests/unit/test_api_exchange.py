"""The exchange: how it reads the pieces of a request from the server and sends the pieces of a reply to it."""

import asyncio
from typing import Any

from batchseal.api.exchange import Exchange

SCOPE = {"headers": [], "method": "GET", "path": "/", "client": None}


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


async def test_a_caller_that_has_taken_the_last_piece_has_the_whole_reply() -> None:
    """Whatever its rate was: it is not told that the reply was cut."""
    assert await replied(0.3, min_reply_rate=1_000_000, pieces=2)


async def test_a_caller_that_is_fast_enough_is_not_cut() -> None:
    assert await replied(0.06, min_reply_rate=100)
    assert await replied(0.06, min_reply_rate=0)


async def test_a_caller_that_never_keeps_the_reply_waiting_has_no_rate() -> None:
    assert await replied(0, min_reply_rate=1_000_000_000, pieces=100)
