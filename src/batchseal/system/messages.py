"""Messages between two processes of the service. Each is a msgpack array, after its length as 4 bytes, little-endian."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast

import msgspec

LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


def pack(message: Sequence[Any]) -> bytes:
    """The bytes of a message."""
    body = _encode(message)
    return LENGTH.pack(len(body)) + body


class Messages(asyncio.Protocol):
    """One end of a connection on which messages come. `received` is given each of them, in order, and `ended` is called once.

    No task waits for messages: where many small ones come, that costs more than to read them. A message that is longer than
    `most_bytes`, or that is no msgpack array, ends the connection, since nothing that follows can be trusted either.
    """

    def __init__(
        self,
        most_bytes: int,
        *,
        began: Callable[[asyncio.Transport], bool] = lambda transport: True,
        received: Callable[[list[Any], asyncio.Transport], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`began` is given the connection, and returns False where it is to be closed unread."""
        self._most_bytes = most_bytes
        self._began = began
        self._received = received
        self._ended = ended
        self._left = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)  # those of uvloop are of no class of asyncio
        if self._began(connection):
            self._transport = connection
        else:
            connection.close()

    def data_received(self, data: bytes) -> None:
        self._left += data
        while self._transport is not None and len(self._left) >= LENGTH.size:
            try:
                behind = LENGTH.size + _length(self._left[: LENGTH.size], self._most_bytes)
                if len(self._left) < behind:
                    return
                message = _decoded(bytes(self._left[LENGTH.size : behind]))
            except ConnectionError:
                self._transport.close()
                self._transport = None
                return
            del self._left[:behind]
            self._received(message, self._transport)

    def connection_lost(self, problem: Exception | None) -> None:
        self._transport = None
        self._ended()


async def read(reader: asyncio.StreamReader, most_bytes: int) -> list[Any]:
    """Reads the next message. Raises IncompleteReadError if the stream ends.

    Raises ConnectionError for a message that is longer than `most_bytes` or is no msgpack array. Then nothing that follows on the
    stream can be trusted either.
    """
    length = _length(await reader.readexactly(LENGTH.size), most_bytes)
    return _decoded(await reader.readexactly(length))


def read_blocking(stream: BinaryIO, most_bytes: int) -> list[Any]:
    """Like `read`, but reads from a file and blocks. Raises EOFError if the file ends."""
    return _decoded(_exactly(stream, _length(_exactly(stream, LENGTH.size), most_bytes)))


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other process closed the stream")
    return data


def _length(head: bytes | bytearray, most_bytes: int) -> int:
    (length,) = LENGTH.unpack(head)
    if length > most_bytes:
        raise ConnectionError(f"a message of {length} bytes is too long")
    return int(length)


def _decoded(body: bytes) -> list[Any]:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        raise ConnectionError("a message cannot be read") from None
