"""Base64 against binascii and pybase64: every kernel, lengths around register widths, faults everywhere."""

import base64
import random
from typing import Any

import pybase64
import pytest

from batchseal._native import base64 as native

KERNELS = [name for name, _, supported, _ in native.kernels() if supported]
LENGTHS = [*range(301), 1023, 1024, 4095, 4096, 4097, 100_003]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request):
    yield native.use_kernels(request.param)
    native.use_kernels()


@pytest.fixture
def rng():
    return random.Random(4648)


def canonical(text: bytes) -> bytes | None:
    """What strict decoding gives, None if it is refused: binascii decides, and the way back must agree."""
    stripped = text.replace(b"\r", b"").replace(b"\n", b"")
    try:
        data = base64.b64decode(stripped, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data) == stripped else None


def decoded(text: bytes) -> bytes | None:
    try:
        return native.decode(text)
    except ValueError:
        return None


def misaligned(data: bytes, by: int) -> memoryview:
    return memoryview(b"\0" * by + data)[by:]


def test_all_lengths_encode_and_decode(rng):
    for n in LENGTHS:
        data = rng.randbytes(n)
        text = pybase64.b64encode(data)
        assert native.encode(misaligned(data, n % 64)) == text
        assert native.decode(misaligned(text, n % 61)) == data
        assert native.encoded_length(n) == len(text)


def test_every_byte_value_at_every_place_of_a_register(rng):
    text = bytearray(base64.b64encode(rng.randbytes(192)))
    for place in range(0, len(text), 5):
        for value in range(256):
            before, text[place] = text[place], value
            assert decoded(bytes(text)) == canonical(bytes(text)), (place, value)
            text[place] = before


def test_a_fault_is_told_by_its_offset(rng):
    text = base64.b64encode(rng.randbytes(300))
    for place in range(len(text)):
        for wrong in (b"!", b"\x80", b"\0", b" "):
            with pytest.raises(ValueError, match=rf"outside the alphabet, offset {place}$"):
                native.decode(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"QR==", "non-zero bits under the padding, offset 2"),
        (b"QUJ=", "non-zero bits under the padding, offset 3"),
        (b"QQ=", "the padding is missing, offset 3"),
        (b"QQ", "the padding is missing, offset 2"),
        (b"QUI", "the padding is missing, offset 3"),
        (b"Q", "the padding is missing, offset 1"),
        (b"=", "padding in the wrong place, offset 0"),
        (b"Q===", "padding in the wrong place, offset 1"),
        (b"QUJD=", "padding in the wrong place, offset 4"),
        (b"QQ==QQ==", "data after the padding, offset 4"),
        (b"QQ==\r\n=", "data after the padding, offset 6"),
        (b"QQ=A", "data after the padding, offset 3"),
        (b"QUJD-_", "a character outside the alphabet, offset 4"),
    ],
)
def test_strictness(text, words):
    with pytest.raises(ValueError, match=f"base64: {words}$"):
        native.decode(text)


def test_line_breaks_are_skipped_wherever_they_stand(rng):
    for n in (0, 1, 2, 3, 57, 58, 400):
        data = rng.randbytes(n)
        assert native.decode(base64.encodebytes(data).replace(b"\n", b"\r\n")) == data
        assert native.decode(b"\n".join(bytes([c]) for c in base64.b64encode(data))) == data


def test_mutations_agree_with_binascii(rng):
    alphabet = b'AZaz09+/==\r\n"\\- \xff'
    for _ in range(3000):
        text = bytearray(base64.b64encode(rng.randbytes(rng.randrange(200))))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(text) + 1)
            text[at : at + rng.randrange(3)] = bytes(rng.choices(alphabet, k=rng.randrange(3)))
        assert decoded(bytes(text)) == canonical(bytes(text)), bytes(text)


def test_decoding_in_pieces_is_decoding_at_once(rng):
    data = rng.randbytes(200)
    text = base64.encodebytes(data)
    for first in range(0, len(text), 3):
        for second in range(first, len(text), 41):
            decoder = native.Base64Decoder()
            pieces = (text[:first], text[first:second], text[second:])
            assert b"".join(decoder.update(piece) for piece in pieces) == data
            decoder.finish()


def test_a_refused_stream_stays_refused():
    decoder = native.Base64Decoder()
    decoder.update(b"QUJD")
    with pytest.raises(ValueError, match="offset 5"):
        decoder.update(b"Q!")
    with pytest.raises(ValueError, match="refused before"):
        decoder.update(b"QUJD")


def test_segments_are_encoded_as_one(rng):
    for _ in range(300):
        segments = [rng.randbytes(rng.choice((0, 1, 2, 3, 47, 48, 49, 300))) for _ in range(rng.randrange(8))]
        whole = pybase64.b64encode(b"".join(segments))
        assert native.encode_segments(segments) == whole
        encoder = native.Base64Encoder()
        assert b"".join(map(encoder.update, segments)) + encoder.finish() == whole


def test_encode_into_writes_exactly_what_it_says(rng):
    data = rng.randbytes(1000)
    for first in (0, 1, 2, 3, 500, 999, 1000):
        encoder, out = native.Base64Encoder(), bytearray(b"#" * 2000)
        at = 7
        at += encoder.encode_into(data[:first], out, at)
        at += encoder.encode_into(data[first:], out, at)
        last = encoder.finish()
        assert bytes(out[7:at]) + last == pybase64.b64encode(data)
        assert set(out[:7] + out[at:]) == {ord("#")}


def test_encode_into_refuses_what_does_not_fit():
    encoder, out = native.Base64Encoder(), bytearray(8)
    with pytest.raises(ValueError, match="8 characters don't fit at 1 of 8"):
        encoder.encode_into(b"abcdef", out, 1)
    for offset in (-1, 9):
        with pytest.raises(ValueError, match="don't fit"):
            encoder.encode_into(b"", out, offset)
    assert out == bytearray(8)
    with pytest.raises(BufferError):
        encoder.encode_into(b"abc", b"read-only")
    assert encoder.encode_into(b"abcdef", out) == 8
    assert encoder.finish() == b""


def test_a_finished_encoder_starts_anew():
    encoder = native.Base64Encoder()
    for _ in range(2):
        assert encoder.update(b"ab") == b""
        assert encoder.finish() == b"YWI="


def test_what_is_not_a_buffer_is_refused():
    anything: tuple[Any, ...] = ("text", 5, None)
    for wrong in anything:
        with pytest.raises(TypeError):
            native.encode(wrong)
    with pytest.raises(TypeError):
        native.encode_segments([b"a", "b"])  # type: ignore[list-item]


def test_names_of_kernels(kernel):
    with pytest.raises(ValueError, match="portable"):
        native.use_kernels("mmx")
    assert [name for name, _, _, active in native.kernels() if active] == [kernel]
