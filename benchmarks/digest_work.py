"""What the digest benchmarks share: sets of documents, OpenSSL restricted to an instruction set, the core's clock.

A set of documents lies in memory that other processes can map, since OpenSSL chooses its kernels once per process.
"""

import _hashlib  # hashlib may prefer another implementation; this one is OpenSSL's
import ctypes
import functools
import hashlib
import itertools
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from batchseal._native import digest

DOCUMENT_BYTES = 200_000
SIGMA = 1.0  # of the lognormal sizes: the longest of 2,500 has about 20 times the mean

# Bits of CPUID leaf 7 that OpenSSL must not see (OPENSSL_ia32cap(3)): SHA-NI and all of AVX-512.
OPENSSL_MASKS = {"openssl": "", "openssl-avx2": ":~0x00005F42F0230000"}


def document_sizes(count: int, mean_bytes: int, skewed: bool) -> list[int]:
    if not skewed:
        return [mean_bytes] * count
    rng = random.Random(count)
    return [max(1, int(mean_bytes * rng.lognormvariate(-(SIGMA**2) / 2, SIGMA))) for _ in range(count)]


class Documents:
    """Documents one after another in shared memory, at whatever alignment that gives."""

    def __init__(self, count: int, mean_bytes: int, skewed: bool, descriptor: int | None = None) -> None:
        self.spec = {"count": count, "mean_bytes": mean_bytes, "skewed": skewed}
        sizes = document_sizes(count, mean_bytes, skewed)
        self.total_bytes = sum(sizes)
        self._owned = descriptor is None
        self.descriptor = os.memfd_create("documents") if descriptor is None else descriptor
        if self._owned:
            os.ftruncate(self.descriptor, self.total_bytes)
        self._map = mmap.mmap(self.descriptor, self.total_bytes)
        if self._owned:
            noise = random.Random(1).randbytes(1_000_003)
            for start in range(0, self.total_bytes, len(noise)):
                self._map[start : start + len(noise)] = noise[: self.total_bytes - start]
        self._whole = memoryview(self._map)
        self.views = [
            self._whole[end - size : end] for end, size in zip(itertools.accumulate(sizes), sizes, strict=True)
        ]
        self.jobs = [(view,) for view in self.views]

    def close(self) -> None:
        for view in self.views:
            view.release()
        self._whole.release()
        self._map.close()
        if self._owned:
            os.close(self.descriptor)


def openssl_pass(documents: Documents) -> bytes:
    return b"".join([_hashlib.openssl_sha256(view).digest() for view in documents.views])


def kernel_pass(documents: Documents) -> bytes:
    return b"".join(digest.sha256_many(documents.jobs))


class OpensslPeer:
    """A process whose OpenSSL sees the processor through a mask. Digests a set on demand and tells its CPU time."""

    def __init__(self, documents: Documents, mask: str) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.digest_work",
            str(documents.descriptor),
            json.dumps(documents.spec),
        ]
        prefix = ["env", f"OPENSSL_ia32cap={mask}"] if mask else []
        self._process = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[documents.descriptor],
            cwd=Path(__file__).parents[1],
        )

    def __enter__(self) -> "OpensslPeer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def digest(self, passes: int = 1) -> tuple[float, str]:
        """CPU seconds of one pass, and the SHA-256 of all digests."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{passes}\n")
        self._process.stdin.flush()
        seconds, combined = json.loads(self._process.stdout.readline())
        return seconds / passes, combined


def _serve_peer(descriptor: int, spec: dict[str, int]) -> None:
    documents = Documents(spec["count"], spec["mean_bytes"], bool(spec["skewed"]), descriptor)
    for line in sys.stdin:
        started = time.thread_time()
        for _ in range(int(line)):
            digests = openssl_pass(documents)
        print(json.dumps([time.thread_time() - started, hashlib.sha256(digests).hexdigest()]), flush=True)


CLOCK_SOURCE = """
void chain(unsigned long n) {
    unsigned long x = 0;
    for (; n > 0; n--) __asm__ volatile("%s" : "+r"(x));
}
"""
ADDS = 64


@functools.cache
def _chain() -> Callable[[int], None] | None:
    if shutil.which("gcc") is None or os.uname().machine != "x86_64":
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "clock.c", Path(folder) / "clock.so"
        source.write_text(CLOCK_SOURCE % ("add $1, %0\\n\\t" * ADDS))
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
        return ctypes.CDLL(str(library)).chain


def core_hz() -> float | None:
    """The core's clock now: dependent additions take a cycle each. None where it can't be measured.

    The time stamp counter would not do: its rate is fixed, the core's is not.
    """
    chain = _chain()
    if chain is None:
        return None
    best = float("inf")
    for _ in range(5):
        started = time.thread_time()
        chain(200_000)
        best = min(best, time.thread_time() - started)
    return 200_000 * ADDS / best


if __name__ == "__main__":
    _serve_peer(int(sys.argv[1]), json.loads(sys.argv[2]))
