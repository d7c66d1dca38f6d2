"""Starts beside somebody who writes a lot to the same file system."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.service import RunningService
from tests.adversity.drills import registry
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import FAST, batch, documents, finished, post, until

READY_SECONDS = 10
FULL_BYTES, QUICK_BYTES = 4 << 30, 512 << 20
DIRTY_SECONDS = 30
# Writes the same file over and over, until it or the drill is ended. The kernel writes some of it out meanwhile: it writes half
# as much more.
WRITER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
file, size, piece = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), int(sys.argv[2]), os.urandom(1 << 20)
at = 0
while True:
    os.pwrite(file, piece, at)
    at = (at + len(piece)) % size
"""


@drill("busy-disk", quick=1, short=20, long=100, on_disk=True)
def busy_disk(folder: Path) -> Iterator[Trial]:
    """A first start, then one after a kill: of the supervisor alone and of everything in turn. Each is ready within 10 s."""
    dirty_bytes = FULL_BYTES if registry.FULL else QUICK_BYTES
    contents = documents(20)

    def trial(number: int) -> Figures:
        place = folder / f"busy {number}"
        place.mkdir()
        try:
            return starts(place, everything=number % 2 == 1)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def starts(place: Path, everything: bool) -> Figures:
        with writer(folder / "other people's", dirty_bytes):
            dirty_before = dirty()
            first = start_seconds(RunningService(*FAST, folder=place), contents, "first", everything)
            service = RunningService(*FAST, folder=place)
            after_kill = start_seconds(service, contents, "after the kill", everything)
        with RunningService(*FAST, folder=place) as service:
            for reference in ("first", "after the kill"):
                status = finished(service, reference)
                judge_result(service, status.operation_id, contents, verified=2)
        return {
            "first_start_seconds_max": first,
            "after_kill_seconds_max": after_kill,
            "dirty_mb_max": dirty_before >> 20,
            "dirty_mb_missing_max": max(0, dirty_bytes - dirty_before) >> 20,
        }

    yield trial


def start_seconds(service: RunningService, contents: list[bytes], reference: str, everything: bool) -> float:
    """How long the service takes to be ready. It is killed when it has acknowledged an operation."""
    began = time.monotonic()
    with service:
        took = time.monotonic() - began
        said = service.log.read_text("utf-8", "replace")[-2000:]
        assert took < within(READY_SECONDS), f"{reference}: ready after {took:.1f} s; it said:\n{said}"
        assert post(service, batch(reference, contents))[0] == 200
        if everything:
            service.kill()
        else:
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.wait()
    return took


@contextmanager
def writer(path: Path, dirty_bytes: int) -> Iterator[None]:
    """Keeps about `dirty_bytes` unwritten on the file system of `path`."""
    size = dirty_bytes + dirty_bytes // 2
    command = [sys.executable, "-I", "-S", "-c", WRITER, str(path), str(size)]
    process = subprocess.Popen(command)
    try:
        with suppress(AssertionError):  # how much is missing stands in the figures
            until(lambda: dirty() >= dirty_bytes, DIRTY_SECONDS)
        yield
        assert process.poll() is None, "the writer ended before the starts did"
    finally:
        process.kill()
        process.wait()
        path.unlink(missing_ok=True)


def dirty() -> int:
    """What the whole system has not yet written to its disks."""
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return (kilobytes["Dirty"] + kilobytes["Writeback"]) * 1024
