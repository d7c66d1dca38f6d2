"""Length-framed messages, as a stream and as a file that waits."""

import asyncio
import io
from typing import Any

import pytest

from batchseal.system import messages

MESSAGES: list[list[Any]] = [[], [1, "name", [b"\0\xff", None]], [{"token": "t"}], [b"x" * 5000]]


def stream_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_messages_come_as_they_were_sent() -> None:
    data = b"".join(map(messages.pack, MESSAGES))
    reader, file = stream_of(data), io.BytesIO(data)
    assert [await messages.read(reader, 8192) for _ in MESSAGES] == MESSAGES
    assert [messages.read_blocking(file, 8192) for _ in MESSAGES] == MESSAGES


@pytest.mark.parametrize("cut", [0, 3, 4, 9])
async def test_an_end_in_the_middle_is_told(cut: int) -> None:
    data = messages.pack(["some", "words"])[:cut]
    with pytest.raises(EOFError):
        await messages.read(stream_of(data), 8192)
    with pytest.raises(EOFError):
        messages.read_blocking(io.BytesIO(data), 8192)


@pytest.mark.parametrize(
    "data", [messages.LENGTH.pack(8193), messages.LENGTH.pack(1) + b"\xc1", messages.LENGTH.pack(0)]
)
async def test_what_is_no_message_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ConnectionError):
        await messages.read(stream_of(data), 8192)
    with pytest.raises(ConnectionError):
        messages.read_blocking(io.BytesIO(data), 8192)


async def test_a_message_that_is_no_array_is_none() -> None:
    with pytest.raises(ConnectionError):
        await messages.read(stream_of(messages.LENGTH.pack(1) + b"\x01"), 8192)
