"""How much memory and how many processors this process may use: what its container allows, else what the machine has.

Linux keeps the limits of a container in the files of its control groups (cgroups(7)). Both versions of these files are read.
"""

import os
from pathlib import Path

# The file that names the cgroups of this process, and the folder where the cgroups are mounted.
PROC, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# Version 1 writes "no limit" as a huge number.
UNLIMITED = 1 << 60


def available_memory(told_bytes: int = 0) -> int:
    """Bytes of memory to work with: what the operator said (0: nothing), else the container's limit, else all of the machine."""
    return told_bytes or memory_limit() or physical_memory()


def physical_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_limit(proc: Path = PROC, root: Path = MOUNT) -> int | None:
    """The lowest memory limit among the cgroup of this process and the cgroups above it, in bytes. None if none has a limit."""
    texts = _settings(proc, root, "memory", "memory.max", "memory.limit_in_bytes")
    limits = [int(text) for text in texts if text.isdigit()]
    return min((limit for limit in limits if 0 < limit < UNLIMITED), default=None)


def available_cores(proc: Path = PROC, root: Path = MOUNT) -> int:
    """The number of processors that this process may use, at least 1: the lower of its CPU affinity and its cgroups' quota."""
    cores = len(os.sched_getaffinity(0))
    quotas = [text.split() for text in _settings(proc, root, "cpu", "cpu.max", "cpu.cfs_quota_us")]
    periods = [text.split() for text in _settings(proc, root, "cpu", "cpu.max", "cpu.cfs_period_us")]
    for quota, period in zip(quotas, periods, strict=False):
        if quota[0].isdigit() and int(period[-1]) > 0:
            cores = min(cores, max(1, -(-int(quota[0]) // int(period[-1]))))
    return cores


def _settings(proc: Path, root: Path, controller: str, unified: str, split: str) -> list[str]:
    """The values of one setting in the cgroup of this process and in the cgroups above it.

    The file is called `unified` in version 2, and `split` in version 1, which has a tree of its own for each controller.
    """
    found: list[str] = []
    try:
        lines = proc.read_text("ascii").splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _upwards(root, path, unified)
        elif controller in controllers.split(","):
            found += _upwards(root / controller, path, split)
    return found


def _upwards(mount: Path, path: str, name: str) -> list[str]:
    """The contents of the files called `name` in the folder `path` and in each folder above it, up to `mount`.

    Inside a container `path` may be one of the host, which does not exist here. Then `mount` itself is the container's cgroup.
    """
    folder, found = mount / path.strip("/"), []
    while True:
        try:
            found.append((folder / name).read_text("ascii").strip())
        except OSError:  # this folder does not exist here, or has no such setting
            pass
        if folder == mount:
            return found
        folder = folder.parent
