"""What the kernel says of the service's processes: CPU time by process and kind of thread, memory by process."""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.service import descendants, pss_bytes
from harness.waiting import PATIENCE_SECONDS

CpuSeconds = dict[str, float]

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.1
# The memory that the kernel cannot take back as it takes the page cache.
ANONYMOUS_AND_SHARED = ("Pss_Anon", "Pss_Shmem")


def part_of(command: str) -> str:
    """Which part of the service a command line is."""
    arguments = command.split("\0")
    if "postgres" in arguments[0]:
        return "postgres"
    if "batchseal.sandbox" in arguments:
        return "sandbox"
    if "batchseal.app" in arguments:
        return arguments[arguments.index("batchseal.app") + 1]
    return "null" if "benchmarks.null_service" in arguments else "supervisor"


def family(pid: int) -> list[tuple[int, str]]:
    """The process and all under it: id and part."""
    own = ""
    with suppress(OSError):
        own = Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")
    return [(member, part_of(command)) for member, command in [(pid, own), *descendants(pid)]]


def cpu_seconds(pid: int) -> CpuSeconds:
    """CPU seconds so far by part; a worker's also by thread: its event loop, its native pool, and the HTTP server's own."""
    total: CpuSeconds = {}
    for member, part in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            with suppress(OSError):
                head, _, tail = (task / "stat").read_text("utf-8", "replace").rpartition(")")
                fields = tail.split()
                seconds = (int(fields[11]) + int(fields[12])) / TICKS
                total[part] = total.get(part, 0.0) + seconds
                if part in ("worker", "null"):
                    main = int(task.name) == member
                    python = head.partition("(")[2].startswith("python")
                    kind = f"{part}: {'loop' if main else 'pool' if python else 'server'}"
                    total[kind] = total.get(kind, 0.0) + seconds
    return total


class PeakMemory:
    """The highest PSS of each part while it runs, in bytes; `service` is the highest sum without Postgres and sandbox.

    `fields` are those of smaps_rollup that are added up (proc(5)).
    """

    def __init__(self, pid: int, spill: Path | None = None, fields: Sequence[str] = ("Pss",)) -> None:
        self._fields = fields
        self.peak: dict[str, int] = {}
        self.spill_bytes = 0
        self._pid, self._spill = pid, spill
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sample()
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        now: dict[str, int] = {}
        for member, part in family(self._pid):
            now[part] = now.get(part, 0) + sum(pss_bytes(member, field) for field in self._fields)
        now["service"] = sum(size for part, size in now.items() if part not in ("postgres", "sandbox"))
        for part, size in now.items():
            self.peak[part] = max(self.peak.get(part, 0), size)
        if self._spill:
            stored = 0
            for path in self._spill.glob("*.spill"):
                with suppress(OSError):
                    stored += path.stat().st_blocks * 512
            self.spill_bytes = max(self.spill_bytes, stored)


def listening_port(pid: int) -> int:
    """The TCP port on which a process listens. Raises LookupError where there is none."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        links = set()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                links.add(str(entry.readlink()))
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                return int(fields[1].partition(":")[2], 16)
        time.sleep(0.05)
    raise LookupError(f"process {pid} listens nowhere")
