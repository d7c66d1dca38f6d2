"""What ends the web servers of tests closes every connection, also one that arrives while it ends."""

import asyncio
import gc
import socket
import warnings

import pytest
from aiohttp import web
from harness import web_end


@pytest.mark.parametrize("open_at_the_end", [True, False])
@pytest.mark.parametrize("turns", range(6))
def test_no_connection_outlives_the_server(turns: int, open_at_the_end: bool) -> None:
    async def connect_and_end() -> None:
        runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = socket.create_connection(runner.addresses[0])
        if not open_at_the_end:
            client.close()
        for _ in range(turns):
            await asyncio.sleep(0)
        await web_end.end(runner)
        client.close()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(connect_and_end())
        gc.collect()
    assert [str(one.message) for one in warned] == []
