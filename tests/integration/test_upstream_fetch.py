"""What is fetched by GET is bounded in size and time, and comes from no other address than the one that was asked."""

import asyncio
import tracemalloc
import zlib

import pytest
from aiohttp import web
from harness import web_end

from batchseal.errors import UpstreamError
from batchseal.upstream.transport import Transport

PIECE = bytes(1 << 20)


@pytest.fixture
async def server():
    sent, asked = [0], list[str]()

    async def list_of_100_mb(request):
        reply = web.StreamResponse()
        await reply.prepare(request)
        for _ in range(100):
            await reply.write(PIECE)
            sent[0] += len(PIECE)
        return reply

    async def answer(request):
        asked.append(request.path)
        if request.path == "/elsewhere":
            raise web.HTTPFound("/small")
        if request.path == "/hangs":
            await asyncio.Event().wait()
        return web.Response(body=b"content")

    async def zipped(request):
        return web.Response(body=zipped_100_mb(), headers={"Content-Encoding": "gzip"})

    application = web.Application()
    application.router.add_get("/zipped", zipped)
    application.router.add_get("/large", list_of_100_mb)
    application.router.add_get("/{rest}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", sent, asked
    await web_end.end(runner)


def zipped_100_mb():
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(PIECE) for _ in range(100)) + packer.flush()


async def fetched(address, seconds=30.0, most=1 << 20):
    transport = Transport(address)
    try:
        return await transport.fetch(seconds, most)
    finally:
        await transport.close()


async def test_a_small_body_is_fetched(server):
    assert await fetched(server[0] + "/small") == b"content"


async def test_a_body_of_100_mb_is_cut_at_the_limit(server):
    with pytest.raises(UpstreamError, match="larger than"):
        await fetched(server[0] + "/large")
    assert server[1][0] < 50 << 20


async def test_a_body_that_grows_when_it_is_unpacked_is_cut_at_the_limit(server):
    """Nobody has asked for a packed one, and 100 KB of it make 100 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamError, match="larger than"):
            await fetched(server[0] + "/zipped")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


async def test_a_redirect_is_not_followed(server):
    with pytest.raises(UpstreamError):
        await fetched(server[0] + "/elsewhere")
    assert server[2] == ["/elsewhere"]


async def test_a_server_that_hangs_is_left(server):
    with pytest.raises(UpstreamError, match="timed out"):
        await fetched(server[0] + "/hangs", seconds=0.2)
