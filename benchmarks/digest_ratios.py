"""The four figures of the SHA-256 kernels: each kernel over OpenSSL with the same instruction set, in one run.

    python -m benchmarks.digest_ratios                   2,500 documents of 200 KB on average, lognormal sizes
    python -m benchmarks.digest_ratios --drain           where a wide kernel should hand over to the next one

Contenders take turns, each figure is the median of its rounds' ratios, time is the CPU time of the digesting thread: other
load moves the clock and the caches, not the ratio. Every contender's digests are compared. What it leaves out: how the
documents come into memory.
"""

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.digest_work import DOCUMENT_BYTES, OPENSSL_MASKS, Documents, OpensslPeer, kernel_pass

from batchseal._native import cpu, digest

ROUNDS = 7

# figure: (our instruction set, OpenSSL's)
FIGURES = {
    "sha256_avx512_over_openssl_shani": ("avx512-shani", "openssl"),
    "sha256_avx512_over_openssl_avx2": ("avx512", "openssl-avx2"),
    "sha256_avx2_over_openssl_avx2": ("avx2", "openssl-avx2"),
    "sha256_shani_over_openssl_shani": ("shani", "openssl"),
}


def time_kernels(documents: Documents, isa: str) -> tuple[float, str]:
    digest.use_kernels(isa)
    started = time.thread_time()
    digests = kernel_pass(documents)
    seconds = time.thread_time() - started
    digest.use_kernels(None)
    return seconds, hashlib.sha256(digests).hexdigest()


def take_turns(contenders: dict[str, Callable[[], tuple[float, str]]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round, after a round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        results = {name: digest_all() for name, digest_all in contenders.items()}
        if len({combined for _, combined in results.values()}) != 1:
            raise RuntimeError(f"digests differ: {results}")
        if number > 0:
            for name, (taken, _) in results.items():
                seconds[name].append(taken)
    return seconds


def measure_digest_ratios(
    count: int = 2_500, mean_bytes: int = DOCUMENT_BYTES, rounds: int = ROUNDS, without: frozenset[str] = frozenset()
) -> dict[str, float | None]:
    """The figures by name; None for what this processor can't run, which includes OpenSSL's own SHA-NI.

    `without` names instruction sets that are left out although the processor has them.
    """
    supported = {name for name, has in cpu.instruction_sets() if has} - without
    documents = Documents(count, mean_bytes, skewed=True)
    with (
        OpensslPeer(documents, OPENSSL_MASKS["openssl"]) as openssl,
        OpensslPeer(documents, OPENSSL_MASKS["openssl-avx2"]) as openssl_avx2,
    ):
        contenders: dict[str, Callable[[], tuple[float, str]]] = {
            "openssl": openssl.digest,
            "openssl-avx2": openssl_avx2.digest,
        }
        for isa in sorted({ours for ours, _ in FIGURES.values()} & supported):
            contenders[isa] = partial(time_kernels, documents, isa)
        seconds = take_turns(contenders, rounds)
    documents.close()

    if "shani" in supported and statistics.median(seconds["openssl-avx2"]) < 1.5 * statistics.median(
        seconds["openssl"]
    ):
        raise RuntimeError("OPENSSL_ia32cap does not keep OpenSSL from SHA-NI here: its AVX2 figure would be wrong")
    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    for name, (ours, theirs) in FIGURES.items():
        runnable = {ours, "shani" if theirs == "openssl" else "avx2"} <= supported
        if runnable:
            ratios = [theirs / ours for ours, theirs in zip(seconds[ours], seconds[theirs], strict=True)]
            figures[name] = round(statistics.median(ratios), 3)
    return figures


def print_drain() -> None:
    """GB/s for so many equal documents: min_lanes in ext/mbsha256/engines.c is where the wide kernel begins to win."""
    isas = [name for name, has in cpu.instruction_sets() if has]
    print("documents", *(f"{isa:>14}" for isa in isas))
    for count in range(1, 17):
        documents = Documents(count, DOCUMENT_BYTES, skewed=False)
        seconds = take_turns({isa: partial(time_kernels, documents, isa) for isa in isas}, ROUNDS)
        rates = [documents.total_bytes / min(seconds[isa]) / 1e9 for isa in isas]
        print(f"{count:9}", *(f"{rate:14.2f}" for rate in rates))
        documents.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2_500)
    parser.add_argument("--mean-bytes", type=int, default=DOCUMENT_BYTES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--drain", action="store_true")
    arguments = parser.parse_args()
    if arguments.drain:
        print_drain()
    else:
        figures = measure_digest_ratios(arguments.documents, arguments.mean_bytes, arguments.rounds)
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
