"""How much faster the request scanner is than ijson (yajl2_c) with pybase64, on the body of a large batch.

Both read the same pieces of 1 MiB from memory, find every document and decode it strictly; documents are dropped as they
come. Interleaved rounds, medians of CPU time (both run on one core and wait for nothing, so that other load on the
machine counts for neither). Left out: the network, the spill, and what ijson and pybase64 do not do
(duplicate keys, padding bits, limits).
"""

import argparse
import base64
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import ijson
import pybase64

from batchseal._native import scanner

PIECE_BYTES = 1 << 20
YAJL = ijson.get_backend("yajl2_c")


def request_body(documents: int, document_bytes: int) -> Iterator[bytes]:
    """The text of a SignRequest, a part at a time; eight different documents take turns."""
    rng = random.Random(1)
    contents = [base64.b64encode(rng.randbytes(document_bytes)) for _ in range(min(8, documents))]
    yield b'{"description":"Batch","externalReference":"FT 2021/5","documents":['
    for i in range(documents):
        info = {"signatureType": "PAdES", "applyTimestamp": False, "location": "Oeiras", "reason": "API"}
        yield b"," * (i > 0) + b'{"documentRequest":{"base64Content":"'
        yield contents[i % len(contents)]
        yield b'","contentType":"application/pdf","externalReference":"FT %d","name":"fatura %d.pdf"},' % (i, i)
        yield b'"signatureInfo":%s}' % json.dumps(info).encode()
    yield b"]}"


def in_pieces(parts: Iterator[bytes], piece_bytes: int = PIECE_BYTES) -> list[bytes]:
    """The same bytes in pieces of one length, without ever holding them twice."""
    pieces, rest = [], bytearray()
    for part in parts:
        rest += part
        while len(rest) >= piece_bytes:
            pieces.append(bytes(rest[:piece_bytes]))
            del rest[:piece_bytes]
    return [*pieces, bytes(rest)]


class Pieces:
    """A file for ijson whose every read gives the next piece: no copy is made for it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = iter(pieces)

    def read(self, size: int) -> bytes:
        return next(self.pieces, b"") if size else b""


def scan(pieces: list[bytes]) -> tuple[int, int]:
    """Documents and their bytes, by the scanner."""
    s: Any = scanner.RequestScanner()
    found = decoded = 0
    for piece in pieces:
        for document in s.feed(piece):
            found += 1
            decoded += len(document.content)
    if s.finish() is None:
        raise RuntimeError(s.failure.message)
    return found, decoded


def read_with_ijson(pieces: list[bytes]) -> tuple[int, int]:
    """The same by ijson and pybase64."""
    found = decoded = 0
    for document in YAJL.items(Pieces(pieces), "documents.item", buf_size=PIECE_BYTES):
        found += 1
        decoded += len(pybase64.b64decode(document["documentRequest"]["base64Content"], validate=True))
    return found, decoded


def seconds(work: Callable[[list[bytes]], tuple[int, int]], pieces: list[bytes], expected: tuple[int, int]) -> float:
    gc.collect()
    started = time.process_time()
    found = work(pieces)
    elapsed = time.process_time() - started
    if found != expected:
        raise RuntimeError(f"{work.__name__} found {found} instead of {expected}")
    return elapsed


def measure(documents: int = 2500, document_bytes: int = 200_000, rounds: int = 5) -> dict[str, float]:
    """scan_over_ijson (with the best kernel; a ratio of medians), and the GB/s of each kernel and of ijson."""
    pieces = in_pieces(request_body(documents, document_bytes))
    body_gb = sum(map(len, pieces)) / 1e9
    expected = documents, documents * document_bytes
    kernels = list({kernel: name for name, kernel, supported, _ in scanner.kernels() if supported}.items())
    times: dict[str, list[float]] = {name: [] for name in ("best", "ijson", *(f"scan_{k}" for k, _ in kernels))}
    try:
        for _ in range(rounds):
            scanner.use_kernels()
            times["best"].append(seconds(scan, pieces, expected))
            times["ijson"].append(seconds(read_with_ijson, pieces, expected))
            for kernel, name in kernels:
                scanner.use_kernels(name)
                times[f"scan_{kernel}"].append(seconds(scan, pieces, expected))
    finally:
        scanner.use_kernels()
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "scan_over_ijson": medians["ijson"] / medians.pop("best"),
        "scan_body_mb": body_gb * 1e3,
        **{f"{name}_gb_per_s": body_gb / taken for name, taken in medians.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2500)
    parser.add_argument("--document-bytes", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(measure(options.documents, options.document_bytes, options.rounds), indent=2))


if __name__ == "__main__":
    main()
