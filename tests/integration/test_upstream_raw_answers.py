"""Whatever bytes a signing service sends back, a call ends with a value or with an UpstreamError, in words."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from harness.stream_server import stream_server

from batchseal.errors import UpstreamError
from batchseal.upstream.transport import Transport

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"Content-Length: 2\r\n\r\n{}"
BOMB = gzip.compress(b" " * (16 << 20))
GOOD = {
    "plain": OK + BODY,
    "a header that is no UTF-8": OK + b"X: \xff\xfe\r\n" + BODY,
    "an odd media type": OK + b"Content-Type: \xff/;charset=\xff\r\n" + BODY,
    "many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 500 + OK + BODY,
    "compressed although nobody asked": OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}"),
}
HOSTILE = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-x\r\n\r\n",
    "zero bytes": bytes(1000),
    "a status of six digits": b"HTTP/1.1 200000 X\r\n" + BODY,
    "a negative status": b"HTTP/1.1 -1 X\r\n" + BODY,
    "a status of nothing": b"HTTP/1.1 000 X\r\n" + BODY,
    "another protocol by request": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a header of 100 KB": OK + b"X: " + b"a" * 100_000 + b"\r\n" + BODY,
    "a line without a colon": OK + b"no colon\r\n" + BODY,
    "two lengths": OK + b"Content-Length: 3\r\n" + BODY,
    "a length of 5,000 digits": OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "a chunk that is none": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "a chunk of 2^80 bytes": OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}",
    "half a body": OK + b"Content-Length: 10\r\n\r\n{}",
    "no gzip": OK + b"Content-Encoding: gzip\r\n" + BODY,
    "a compression that is not known": OK + b"Content-Encoding: br\r\n" + BODY,
    "much that is compressed": OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    "a place that is none": b"HTTP/1.1 302 X\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
    "a pause that is none": b"HTTP/1.1 503 X\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n",
    "a charset that is none": b"HTTP/1.1 400 X\r\nContent-Type: text/plain; charset=bogus\r\nContent-Length: 1\r\n\r\n\xff",
    "a challenge that is none": b"HTTP/1.1 401 X\r\nWWW-Authenticate: Digest \xff,,=\r\nContent-Length: 0\r\n\r\n",
}

Ask = Callable[[bytes], Awaitable[object]]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Calls a service that answers with these bytes and closes the connection."""
    answer = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def call(data: bytes) -> object:
        nonlocal answer
        answer = data
        transport = Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            return await transport.post("/credentials/list", json={}, authorization="", deadline_seconds=60)
        finally:
            await transport.close()

    async with stream_server(serve) as server:
        yield call


@pytest.mark.parametrize("name", GOOD)
async def test_what_can_be_read_is_read(ask: Ask, name: str) -> None:
    assert await ask(GOOD[name]) == {}


@pytest.mark.parametrize("name", HOSTILE)
async def test_anything_else_is_a_typed_error(ask: Ask, name: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        await ask(HOSTILE[name])
    assert refused.value.cause
    assert "Error" not in refused.value.cause


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_neither_request_nor_token_goes_to_another_place(status: int) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        # Who follows has to connect again.
        writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nLocation: /elsewhere\r\n" % status + BODY)
        writer.close()

    async with stream_server(serve) as server:
        transport = Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            with pytest.raises(UpstreamError):
                await transport.post("/credentials/list", json={}, authorization="Bearer t", deadline_seconds=60)
        finally:
            await transport.close()
    assert [request.split()[1] for request in asked] == [b"/credentials/list"]


@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n\r\n" % (1 << 30), b"\r\n"], ids=["1 GB", "without end"])
async def test_a_long_answer_is_cut(head: bytes) -> None:
    sent, left = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + head)
        try:
            while True:
                writer.write(b" " * (1 << 20))
                await writer.drain()
                sent += 1 << 20
        except ConnectionError:
            left.set()

    async with stream_server(serve) as server:
        transport = Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            with pytest.raises(UpstreamError) as refused:
                await transport.post("/credentials/list", json={}, authorization="", deadline_seconds=60)
            await asyncio.wait_for(left.wait(), 120)
        finally:
            await transport.close()
    assert "Error" not in refused.value.cause
    assert sent < 32 << 20  # with what the sockets hold
