"""The link between worker and signer: what is told needs no answer, what is asked may be answered late, and nothing that is
long breaks it for others.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from harness.stream_server import stream_server
from harness.waiting import eventually

from batchseal.errors import DatabaseUnavailable, InternalError, NoRoom
from batchseal.processes.link import MAX_MESSAGE_BYTES, MAX_TOLD_BYTES, Handler, Link, LinkServer


@asynccontextmanager
async def linked(path: Path, **handlers: Handler) -> AsyncIterator[Link]:
    server, link = LinkServer(path, handlers), Link(path)
    await server.start()
    link.start()
    try:
        await eventually(lambda: link.is_connected)
        yield link
    finally:
        await link.stop()
        await server.stop()


async def test_what_is_told_arrives_in_order_and_long_messages_are_not_sent(tmp_path: Path) -> None:
    told: list[object] = []

    async def wake(what: object) -> None:
        told.append(what if not isinstance(what, str) else len(what))

    async def heard() -> list[object]:
        return told

    async with linked(tmp_path / "link", wake=wake, heard=heard) as link:
        assert link.tell("wake", 1)
        assert not link.tell("wake", "x" * MAX_TOLD_BYTES)
        assert link.tell("wake", 2)
        assert await link.call("heard") == [1, 2]


def test_it_works_in_the_loop_of_the_service(tmp_path: Path) -> None:
    async def echo(what: str) -> str:
        return what

    async def call() -> str:
        async with linked(tmp_path / "link", echo=echo) as link:
            return str(await link.call("echo", "x" * 100_000))

    assert uvloop.run(call()) == "x" * 100_000


async def test_what_is_asked_is_answered_when_it_is_there(tmp_path: Path) -> None:
    going_on = asyncio.Event()

    async def work(what: str) -> str:
        await going_on.wait()
        if what == "bad":
            raise DatabaseUnavailable("away")
        return what

    async def ping() -> str:
        return "ok"

    async with linked(tmp_path / "link", work=work, ping=ping) as link:
        answers: list[Any] = [link.ask("work", what) for what in ("good", "bad", "nobody waits")]
        assert link.ask("work", "x" * MAX_TOLD_BYTES) is None
        assert await link.call("ping") == "ok"
        answers[2].cancel()
        going_on.set()
        assert await answers[0] == "good"
        with pytest.raises(DatabaseUnavailable, match="away"):
            await answers[1]
        await link.call("ping")
        assert link.unanswered == 0


async def test_what_is_asked_fails_when_the_signer_goes_away(tmp_path: Path) -> None:
    async def go_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with stream_server(go_away, path=str(tmp_path / "link")):
        link = Link(tmp_path / "link")
        link.start()
        await eventually(lambda: link.is_connected)
        answer = link.ask("work")
        assert answer is not None
        with pytest.raises(NoRoom):
            await answer
        await link.stop()


async def test_an_answer_that_is_too_long_breaks_no_other_call(tmp_path: Path) -> None:
    """The worker would cut the connection, and with it the calls of everybody else."""
    going_on = asyncio.Event()

    async def long() -> bytes:
        return bytes(MAX_MESSAGE_BYTES)

    async def other() -> str:
        await going_on.wait()
        return "ok"

    async with linked(tmp_path / "link", long=long, other=other) as link:
        answer = link.ask("other")
        assert answer is not None
        with pytest.raises(InternalError, match="too long"):
            await link.call("long")
        going_on.set()
        assert await answer == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
async def test_neither_end_talks_to_another_user(tmp_path: Path) -> None:
    """A caller's token goes over the link, so whoever takes the socket's place must learn nothing."""
    folder = tmp_path / "temp"
    folder.mkdir()
    imposter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPOSTER, str(folder / "link"), stdout=asyncio.subprocess.PIPE
    )
    assert imposter.stdout is not None
    assert await asyncio.wait_for(imposter.stdout.readline(), 120) == b"listening\n"
    link = Link(folder / "link")
    link.start()
    try:
        assert await asyncio.wait_for(imposter.stdout.readline(), 120) == b"left\n"  # it was asked for nothing
        assert not link.is_connected
        with pytest.raises(NoRoom):
            link.tell("wake", "secret")
    finally:
        await link.stop()
        imposter.kill()
        await imposter.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
async def test_another_user_is_not_answered(tmp_path: Path) -> None:
    async def secret() -> str:
        return "secret"

    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    async with linked(folder / "link", secret=secret) as link:
        os.chmod(folder / "link", 0o777)
        stranger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STRANGER, str(folder / "link"), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(stranger.communicate(), 120)
        assert said == b"0\n"
        assert await link.call("secret") == "secret"


# Listens as another user, and says so when a connection has ended without a byte.
IMPOSTER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.setresuid(65534, 65534, 65534)
listener.listen()
print("listening", flush=True)
while not listener.accept()[0].recv(1):
    print("left", flush=True)
print("heard something", flush=True)
"""

# Connects as another user, calls, and says how many bytes came back. The folders above may be closed to that user.
STRANGER = """
import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
os.setresuid(65534, 65534, 65534)
client = socket.socket(socket.AF_UNIX)
client.connect(os.path.basename(sys.argv[1]))
try:
    client.sendall(bytes.fromhex("0a00000093 01 a6 736563726574 90".replace(" ", "")))
    print(len(client.recv(100)))
except ConnectionError:
    print(0)
"""
