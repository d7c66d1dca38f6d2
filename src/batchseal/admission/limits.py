"""How much there is: the temporary budget, the memory that a container gives, the upstream queue."""

import os
from dataclasses import dataclass
from pathlib import Path

from batchseal.config import Settings

# Left on the volume for the database, whose log takes 16 MB at a time.
SPARE_BYTES = 48 << 20
# What the processes need before any upload, and what a container keeps back for the kernel.
BASE_BYTES, WORKER_BYTES = 150 << 20, 90 << 20
USABLE = 0.9
LEAST_MEMORY_BYTES = 64 << 20
# cgroup v1 says "no limit" with a huge number.
UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Budgets:
    temp_bytes: int
    memory_bytes: int
    queued_documents: int


def budgets_of(settings: Settings) -> Budgets:
    """The 2x rule for the temporary space (api.md "Sizes"); memory from the container, or as told."""
    limit = settings.memory_limit or memory_limit() or physical_memory()
    memory = int(limit * USABLE) - BASE_BYTES - WORKER_BYTES * settings.workers
    return Budgets(
        temp_bytes=2 * settings.files_in_flight * settings.average_document_bytes,
        memory_bytes=max(LEAST_MEMORY_BYTES, memory),
        queued_documents=settings.max_queued_documents or settings.files_in_flight,
    )


def free_bytes(folder: Path) -> int:
    """What the volume has left for payloads."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize - SPARE_BYTES


def physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_limit(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The lowest limit of this process's memory cgroup and those above it, in bytes; None where there is none."""
    limits: list[int] = []
    try:
        lines = proc.read_text("ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limits += _limits(root, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "memory", path, "memory.limit_in_bytes")
    return min((limit for limit in limits if 0 < limit < UNLIMITED), default=None)


def _limits(mount: Path, path: str, name: str) -> list[int]:
    """Inside a container the path may name the host's tree: then the mount itself is our cgroup."""
    folder, found = mount / path.strip("/"), []
    while True:
        try:
            found.append(int((folder / name).read_text("ascii")))
        except (OSError, ValueError):  # "max", or no such folder here
            pass
        if folder == mount:
            return found
        folder = folder.parent
