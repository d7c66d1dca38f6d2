"""What a container's processes hold: anonymous and shared memory, from its cgroup (version 1 or 2)."""

import threading
from contextlib import suppress
from pathlib import Path

from tests.container.engine import call

CGROUPS = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 0.05


def cgroup_of(name: str) -> Path:
    """The folder of a running container's memory cgroup."""
    pid = int(call("podman", "inspect", "-f", "{{.State.Pid}}", name))
    for line in Path(f"/proc/{pid}/cgroup").read_text("ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return CGROUPS / "memory" / path.strip("/")
        unified = CGROUPS / path.strip("/")
        if controllers == "" and (unified / "memory.current").exists():
            return unified
    raise SystemExit("no memory cgroup can be read on this machine")


def fields(path: Path) -> dict[str, int]:
    return {name: int(number) for name, number in (line.split() for line in path.read_text("ascii").splitlines())}


class MemoryWatch:
    """Samples a container until `stop`; page cache counts for nothing, as the kernel takes it back."""

    def __init__(self, name: str) -> None:
        self.folder = cgroup_of(name)
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def first_version(self) -> bool:
        return (self.folder / "memory.limit_in_bytes").exists()

    def held(self) -> int:
        """Anonymous plus shared memory now, in bytes."""
        stat = fields(self.folder / "memory.stat")
        if self.first_version:
            return stat["total_rss"] + stat["total_shmem"]
        return stat["anon"] + stat["shmem"]

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            with suppress(OSError):
                self.peak = max(self.peak, self.held())

    def stop(self) -> dict[str, int]:
        """Peak, the highest use with page cache, how often the limit was met, and kills: numbers by name."""
        self._ended.set()
        self._thread.join()
        if self.first_version:
            usage = int((self.folder / "memory.max_usage_in_bytes").read_text("ascii"))
            met = int((self.folder / "memory.failcnt").read_text("ascii"))
            kills = fields(self.folder / "memory.oom_control").get("oom_kill", 0)
        else:
            peak = self.folder / "memory.peak"  # since Linux 5.19
            usage = int(peak.read_text("ascii")) if peak.exists() else 0
            events = fields(self.folder / "memory.events")
            met, kills = events["max"], events["oom_kill"]
        return {"peak_mb": self.peak >> 20, "max_usage_mb": usage >> 20, "failcnt": met, "oom_kills": kills}
