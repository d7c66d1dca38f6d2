"""A supervisor that is killed takes every process of its service with it."""

import os
import signal
import time
from pathlib import Path

from harness.service import RunningService, descendants


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_outlives_the_supervisor() -> None:
    with RunningService("--sandbox-credential=p256") as service:
        family = [pid for pid, _ in descendants(service.process.pid)]
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        ends = time.monotonic() + 10
        while (left := [pid for pid in family if alive(pid)]) and time.monotonic() < ends:
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert len(family) >= 4
    assert left == [], "processes outlived the supervisor"
