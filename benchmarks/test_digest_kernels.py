"""SHA-256: every kernel beside OpenSSL, unrestricted and without SHA-NI and AVX-512, by number and size of documents.

    python -m pytest benchmarks/test_digest_kernels.py --benchmark-only --benchmark-group-by=param:count,param:sizes

The wall times are pytest-benchmark's. GB/s and cycles a byte, in extra_info, come from the CPU time of the thread that
digests. Left out: how the documents come into memory, and SHA-384 and SHA-512, which are the library's.
"""

import statistics
from collections.abc import Callable, Iterator

import pytest
from benchmarks.digest_ratios import time_kernels
from benchmarks.digest_work import DOCUMENT_BYTES, OPENSSL_MASKS, Documents, OpensslPeer, core_hz
from pytest_benchmark.fixture import BenchmarkFixture

from batchseal._native import cpu

KERNELS = [name for name, supported in cpu.instruction_sets() if supported]
ROUNDS = 3
CALL_BYTES = 8_000_000  # a call of a peer digests no less, so that the pipe to it does not count


@pytest.fixture(scope="module", params=["equal", "lognormal"])
def sizes(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[1, 8, 16, 100, 2_500])
def count(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def documents(count: int, sizes: str) -> Iterator[Documents]:
    made = Documents(count, DOCUMENT_BYTES, skewed=sizes == "lognormal")
    yield made
    made.close()


def measure(benchmark: BenchmarkFixture, documents: Documents, digest_all: Callable[[], tuple[float, str]]) -> None:
    """`digest_all` gives the CPU seconds of one pass over the documents."""
    seconds = []
    clock = core_hz()
    benchmark.pedantic(lambda: seconds.append(digest_all()[0]), rounds=ROUNDS, warmup_rounds=1)
    rate = documents.total_bytes / statistics.median(seconds[1:])
    benchmark.extra_info["bytes"] = documents.total_bytes
    benchmark.extra_info["gigabytes_per_second"] = round(rate / 1e9, 3)
    benchmark.extra_info["cycles_per_byte"] = round(clock / rate, 3) if clock else None


@pytest.mark.parametrize("isa", KERNELS)
def test_kernels(benchmark: BenchmarkFixture, documents: Documents, isa: str) -> None:
    measure(benchmark, documents, lambda: time_kernels(documents, isa))


@pytest.mark.parametrize("peer", OPENSSL_MASKS)
def test_openssl(benchmark: BenchmarkFixture, documents: Documents, peer: str) -> None:
    passes = -(-CALL_BYTES // documents.total_bytes)
    with OpensslPeer(documents, OPENSSL_MASKS[peer]) as openssl:
        measure(benchmark, documents, lambda: openssl.digest(passes))
