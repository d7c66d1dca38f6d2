"""Micro benches of the scanner and base64 with every kernel, beside ijson, pybase64 and binascii; all in memory, on one core.

`gb_per_s` in the extra info counts the body or the base64 characters. Left out: the first touch of fresh memory, which the
reuse of buffers avoids here as in the service. What escapes cost, and batches of many small documents, are the losing cases.
"""

import base64
import binascii
import random
from collections.abc import Callable
from typing import Any

import pybase64
import pytest
from benchmarks.scan_ratio import in_pieces, read_with_ijson, request_body, scan

from batchseal._native import base64 as native_base64
from batchseal._native import scanner

KERNELS = list({kernel: name for name, kernel, supported, _ in scanner.kernels() if supported}.items())
DOCUMENTS = [(1, 200_000), (100, 200_000), (100, 2_000), (2_500, 2_000), (1, 20_000_000)]
PAYLOAD = random.Random(2).randbytes(200_000)


@pytest.fixture(params=[name for _, name in KERNELS], ids=[kernel for kernel, _ in KERNELS])
def kernel(request):
    scanner.use_kernels(request.param)
    native_base64.use_kernels(request.param)
    yield request.param
    scanner.use_kernels()
    native_base64.use_kernels()


@pytest.fixture
def timed(benchmark: Any) -> Callable[..., Any]:
    """Runs the benchmark over so many characters and notes the throughput of its median."""

    def run(characters: int, work: Callable[..., Any], *arguments: Any) -> Any:
        result = benchmark.pedantic(work, arguments, rounds=7, iterations=1, warmup_rounds=1)
        if benchmark.stats is not None:
            benchmark.extra_info["gb_per_s"] = round(characters / benchmark.stats.stats.median / 1e9, 3)
        return result

    return run


def sized(pieces: list[bytes]) -> int:
    return sum(map(len, pieces))


@pytest.mark.benchmark(group="scan")
@pytest.mark.parametrize(("documents", "document_bytes"), DOCUMENTS)
def test_scan(timed, kernel, documents, document_bytes):
    pieces = in_pieces(request_body(documents, document_bytes))
    assert timed(sized(pieces), scan, pieces) == (documents, documents * document_bytes)


@pytest.mark.benchmark(group="scan")
@pytest.mark.parametrize(("documents", "document_bytes"), DOCUMENTS)
def test_ijson_with_pybase64(timed, documents, document_bytes):
    pieces = in_pieces(request_body(documents, document_bytes))
    assert timed(sized(pieces), read_with_ijson, pieces) == (documents, documents * document_bytes)


ESCAPES = {
    "php": lambda text: text.replace(b"/", b"\\/"),
    "mime": lambda text: b"\\r\\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
    "unicode": lambda text: text.replace(b"+", b"\\u002b"),
}


@pytest.mark.benchmark(group="scan with escapes")
@pytest.mark.parametrize("escape", ESCAPES)
def test_scan_with_escapes(timed, kernel, escape):
    def escaped():
        for part in request_body(50, len(PAYLOAD)):
            yield ESCAPES[escape](part) if len(part) > 1000 else part

    pieces = in_pieces(escaped())
    assert timed(sized(pieces), scan, pieces) == (50, 50 * len(PAYLOAD))


@pytest.mark.benchmark(group="decode")
def test_decode(timed, kernel):
    text = base64.b64encode(PAYLOAD)
    assert timed(len(text), native_base64.decode, text) == PAYLOAD


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("peer", ["pybase64", "binascii"])
def test_decode_by_a_peer(timed, peer):
    text = base64.b64encode(PAYLOAD)
    work = {
        "pybase64": lambda t: pybase64.b64decode(t, validate=True),
        "binascii": lambda t: binascii.a2b_base64(t, strict_mode=True),
    }[peer]
    assert timed(len(text), work, text) == PAYLOAD


@pytest.mark.benchmark(group="encode")
def test_encode(timed, kernel):
    assert timed(len(PAYLOAD) * 4 // 3, native_base64.encode, PAYLOAD) == base64.b64encode(PAYLOAD)


@pytest.mark.benchmark(group="encode")
@pytest.mark.parametrize("peer", ["pybase64", "binascii"])
def test_encode_by_a_peer(timed, peer):
    work = pybase64.b64encode if peer == "pybase64" else base64.b64encode
    assert timed(len(PAYLOAD) * 4 // 3, work, PAYLOAD) == base64.b64encode(PAYLOAD)


@pytest.mark.benchmark(group="encode segments")
@pytest.mark.parametrize("way", ["segments", "joined, by pybase64"])
def test_encode_segments(timed, way):
    """A signed document as it is delivered: original, update before the signature, signature, the rest."""
    segments = [PAYLOAD[:-9_001], PAYLOAD[-9_001:-8_300], PAYLOAD[-8_300:-104], PAYLOAD[-104:]]
    work = native_base64.encode_segments if way == "segments" else lambda parts: pybase64.b64encode(b"".join(parts))
    assert timed(len(PAYLOAD) * 4 // 3, work, segments) == base64.b64encode(PAYLOAD)
