"""A supervisor that is killed takes every process of its service with it."""

import os
import signal
from pathlib import Path

from harness.service import RunningService, descendants
from harness.waiting import until


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
        assert len(family) >= 4
        try:
            until(lambda: not any(map(alive, family)))
        finally:
            for pid in filter(alive, family):
                os.kill(pid, signal.SIGKILL)
