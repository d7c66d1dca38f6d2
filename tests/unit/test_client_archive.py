"""Reading zip archives as they arrive. The archives are written by the standard library."""

import io
import os
import struct
import zipfile

import pytest
from asn1crypto import core

from batchseal.client.archive import has_zip64, read_entries
from batchseal.errors import RequestFailed

FILES = {"a": b"", "b é": b"x", "c": os.urandom(3_000_000), "d/e": os.urandom(70_000)}


class Unseekable(io.RawIOBase):
    """A file that cannot seek, like that of the service. The sizes of an entry are then written after its data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


class Slow:
    """A source that returns at most `most` bytes for each read."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream, self._most = io.BytesIO(data), most

    def read(self, count: int, /) -> bytes:
        return self._stream.read(min(count, self._most))


def archive(*, stream: bool, wide: bool = False, method: int = zipfile.ZIP_STORED) -> bytes:
    sink: io.BytesIO | Unseekable = Unseekable() if stream else io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as target:
        for name, content in FILES.items():
            with target.open(name, "w", force_zip64=wide) as entry:
                entry.write(content)
    return bytes(sink.data) if isinstance(sink, Unseekable) else sink.getvalue()


def read(data: bytes, most: int = 1 << 30) -> dict[str, bytes]:
    sizes = {name: len(content) for name, content in FILES.items()}
    return {name: b"".join(content) for name, content in read_entries(Slow(data, most), sizes.__getitem__)}


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 70_000])
def test_a_value_in_der_tells_its_own_length(length: int) -> None:
    content = core.OctetString(bytes(length)).dump()
    sink = Unseekable()
    with zipfile.ZipFile(sink, "w") as target:
        target.writestr("a.ers", content)
        target.writestr("b", b"behind it")
    sizes = {"a.ers": None, "b": 9}
    found = {name: b"".join(pieces) for name, pieces in read_entries(Slow(bytes(sink.data), 997), sizes.__getitem__)}
    assert found == {"a.ers": content, "b": b"behind it"}


@pytest.mark.parametrize("content", [b"\x30\x80\x00\x00", b"\x30\x85\x00\x00\x00\x00\x01x", b"\x30\x05abc", b"\x30"])
def test_what_is_not_in_der_is_refused(content: bytes) -> None:
    sink = Unseekable()
    with zipfile.ZipFile(sink, "w") as target:
        target.writestr("a.ers", content)
    entries = read_entries(io.BytesIO(bytes(sink.data)), lambda name: None)
    with pytest.raises(RequestFailed):
        list(entries)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("most", [1 << 30, 50_000, 997])
def test_what_was_written_is_read(stream: bool, wide: bool, most: int) -> None:
    assert read(archive(stream=stream, wide=wide), most) == FILES


def test_a_content_that_is_not_taken_is_passed_over() -> None:
    sizes = {name: len(content) for name, content in FILES.items()}
    assert [name for name, _ in read_entries(io.BytesIO(archive(stream=True)), sizes.__getitem__)] == list(FILES)


@pytest.mark.parametrize("stream", [True, False])
def test_a_flipped_bit_is_seen(stream: bool) -> None:
    data = bytearray(archive(stream=stream))
    data[data.index(FILES["c"][:50]) + 1_000_000] ^= 4
    with pytest.raises(RequestFailed, match="'c' does not match its checksum"):
        read(bytes(data))


def test_a_size_that_differs_is_seen() -> None:
    sizes = {name: len(content) for name, content in FILES.items()} | {"c": 2_999_999}
    entries = read_entries(io.BytesIO(archive(stream=True)), sizes.__getitem__)
    with pytest.raises(RequestFailed, match="does not end where it should"):
        list(entries)


@pytest.mark.parametrize("length", [0, 3, 29, 40, 1_000_000])
def test_an_archive_that_ends_early_is_seen(length: int) -> None:
    with pytest.raises(RequestFailed, match="too early"):
        read(archive(stream=True)[:length])


def test_compressed_entries_are_refused() -> None:
    with pytest.raises(RequestFailed, match="compressed"):
        read(archive(stream=True, method=zipfile.ZIP_DEFLATED))


def test_extra_fields() -> None:
    assert not has_zip64(b"")
    assert not has_zip64(struct.pack("<HHI", 7, 4, 1))
    assert has_zip64(struct.pack("<HHIHHQQ", 7, 4, 1, 1, 16, 0, 0))
