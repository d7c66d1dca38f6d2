"""Messages between two processes of the service. Each is a msgpack array, after its length as 4 bytes, little-endian."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


def pack(message: Sequence[Any]) -> bytes:
    """The bytes of a message."""
    body = _encode(message)
    return LENGTH.pack(len(body)) + body


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


def _length(head: bytes, most_bytes: int) -> int:
    (length,) = LENGTH.unpack(head)
    if length > most_bytes:
        raise ConnectionError(f"a message of {length} bytes is too long")
    return int(length)


def _decoded(body: bytes) -> list[Any]:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        raise ConnectionError("a message cannot be read") from None
