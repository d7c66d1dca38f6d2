"""What a container's limits make of the service, and what limits a load needs: arithmetic, no state.

`plan` goes from memory and cores to workers, threads, batch windows, upload memory and Postgres' own; `demand` goes from a
load to memory, disk and database space, with the original product's figures beside it. The constants were measured in
containers (benchmarks/results/container.json): anonymous and shared memory, since the kernel takes page cache back.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from batchseal.errors import ConfigurationError

MB = 1 << 20

# Supervisor, signer, embedded Postgres and a health probe at their work; a worker without an upload.
BASE_BYTES, WORKER_BYTES = 80 * MB, 42 * MB
# Rows and digests of documents that are being signed, for 20,000 of them; in little memory fewer come at once.
DOCUMENT_BYTES, MOST_DOCUMENTS_BYTES, MOST_DOCUMENTS_SHARE = 1_900, 20_000 * 1_900, 0.1
# The rest is the kernel's: page tables, sockets, and page cache to breathe.
USABLE = 0.9
# An upload holds two batches of documents, their base64 and what the allocator keeps; rows and buffers on top.
WINDOWS_HELD, UPLOAD_FIXED_BYTES = 4, 2 * MB
LEAST_WINDOW_BYTES, MOST_WINDOW_BYTES = 1 * MB, 4 * MB
# The window shrinks until so many uploads fit side by side.
UPLOADS_AT_ONCE = 8
LEAST_UPLOAD_BYTES = WINDOWS_HELD * LEAST_WINDOW_BYTES + UPLOAD_FIXED_BYTES
MOST_WORKERS = 16
WORKER_SHARE_BYTES = 384 * MB
# cgroup v1 says "no limit" with a huge number.
UNLIMITED = 1 << 60

# The rules of the original product: temporary space twice the files in flight, a database row of about 2 KB each.
TEMP_FACTOR, DATABASE_BYTES_PER_FILE = 2, 2_000
# Ours: what a request reserves while it comes in; 1.01 times the payload was measured to remain, so the database's log (256 MB at
# most) can grow into the rest. Its own files took 72 MB with 20,000 documents.
SPILL_FACTOR, DATABASE_FIXED_BYTES = 1.1, 150 * MB
# Memory that limits can be set to without looking odd, in MB.
STEPS_MB = (192, 256, 320, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the service divides what it has. Bytes, except for the counts."""

    memory_bytes: int
    cores: int
    workers: int
    native_threads: int
    window_bytes: int
    upload_bytes: int
    uploads_bytes: int
    shared_buffers_bytes: int
    work_bytes: int
    connections: int

    def postgres(self) -> dict[str, str]:
        """Settings of the embedded server."""
        return {
            "shared_buffers": f"{self.shared_buffers_bytes >> 20}MB",
            "work_mem": f"{self.work_bytes >> 20}MB",
            "max_connections": str(self.connections),
        }


def plan(memory_bytes: int, cores: int, workers: int = 0) -> Plan:
    """`workers` of 0: a worker for each two cores, as far as memory goes; the signer and Postgres want the other one."""
    documents_bytes = min(MOST_DOCUMENTS_BYTES, int(memory_bytes * MOST_DOCUMENTS_SHARE))
    spare = int(memory_bytes * USABLE) - BASE_BYTES - documents_bytes
    workers = workers or max(1, min(cores // 2, spare // WORKER_SHARE_BYTES, MOST_WORKERS))
    uploads_bytes = max(0, spare - workers * WORKER_BYTES)
    share = (uploads_bytes // UPLOADS_AT_ONCE - UPLOAD_FIXED_BYTES) // WINDOWS_HELD
    window_bytes = min(MOST_WINDOW_BYTES, max(LEAST_WINDOW_BYTES, share))
    small = memory_bytes < 512 * MB
    return Plan(
        memory_bytes=memory_bytes,
        cores=cores,
        workers=workers,
        native_threads=min(cores, 2) if small else cores,
        window_bytes=window_bytes,
        upload_bytes=WINDOWS_HELD * window_bytes + UPLOAD_FIXED_BYTES,
        uploads_bytes=uploads_bytes,
        shared_buffers_bytes=min(64 * MB, max(16 * MB, memory_bytes // 32)),
        work_bytes=(2 if small else 4) * MB,
        connections=max(40, 4 * (workers + 1) + 16),
    )


@dataclass(frozen=True, slots=True)
class Demand:
    """What to give a load, and what the original asks for. Bytes; `original_bytes` is (minimum, recommended)."""

    memory_bytes: int
    disk_bytes: int
    database_bytes: int
    original_bytes: tuple[int, int]
    original_disk_bytes: int


def demand(documents: int, average_bytes: int, requests: int) -> Demand:
    """For `documents` files in flight of `average_bytes` that come in `requests` requests at once."""
    payload_bytes = documents * average_bytes
    needed = BASE_BYTES + WORKER_BYTES + documents * DOCUMENT_BYTES
    needed += min(requests, UPLOADS_AT_ONCE) * (LEAST_UPLOAD_BYTES + 2 * min(average_bytes, 100 * MB))
    needed = int(needed / USABLE)
    memory_bytes = next((step * MB for step in STEPS_MB if step * MB >= needed), needed)
    small = payload_bytes // max(1, requests) <= 20_000_000
    rows = {
        (True, True): (512, 768),
        (True, False): (1024, 2048),
        (False, True): (2048, 4096),
        (False, False): (4096, 8192),
    }
    low, high = rows[small, requests <= 2]
    return Demand(
        memory_bytes=memory_bytes,
        disk_bytes=int(payload_bytes * SPILL_FACTOR) + DATABASE_FIXED_BYTES + documents * DATABASE_BYTES_PER_FILE,
        database_bytes=documents * DATABASE_BYTES_PER_FILE,
        original_bytes=(low * MB, high * MB),
        original_disk_bytes=TEMP_FACTOR * payload_bytes,
    )


# --- what this process has -------------------------------------------------------------------------------------------


def available_memory(told_bytes: int = 0) -> int:
    """What the operator said, else the container's limit, else the machine's memory."""
    return told_bytes or memory_limit() or physical_memory()


def physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


PROC, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def memory_limit(proc: Path = PROC, root: Path = MOUNT) -> int | None:
    """The lowest limit of this process's memory cgroup and those above it, in bytes; None where there is none."""
    limits = [
        int(text) for text in _settings(proc, root, "memory", "memory.max", "memory.limit_in_bytes") if text.isdigit()
    ]
    return min((limit for limit in limits if 0 < limit < UNLIMITED), default=None)


def available_cores(proc: Path = PROC, root: Path = MOUNT) -> int:
    """Processors that this process may use, by its affinity and its cgroup's quota; at least one."""
    cores = len(os.sched_getaffinity(0))
    quotas = [text.split() for text in _settings(proc, root, "cpu", "cpu.max", "cpu.cfs_quota_us")]
    periods = [text.split() for text in _settings(proc, root, "cpu", "cpu.max", "cpu.cfs_period_us")]
    for quota, period in zip(quotas, periods, strict=False):
        if quota[0].isdigit() and int(period[-1]) > 0:
            cores = min(cores, max(1, -(-int(quota[0]) // int(period[-1]))))
    return cores


def _settings(proc: Path, root: Path, controller: str, unified: str, split: str) -> list[str]:
    """A cgroup setting of this process and of the groups above it: version 2 calls it `unified`, version 1 `split`."""
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
    """Inside a container the path may name the host's tree: then the mount itself is our cgroup."""
    folder, found = mount / path.strip("/"), []
    while True:
        try:
            found.append((folder / name).read_text("ascii").strip())
        except OSError:  # no such folder here
            pass
        if folder == mount:
            return found
        folder = folder.parent


# --- batchseal size --------------------------------------------------------------------------------------------------


def parse_bytes(text: str) -> int:
    """`200KB`, `1.5 MB`, `2GiB`, `4096`: decimal units as data sheets use them, binary ones with an i.

    Raises ConfigurationError.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ConfigurationError(f"{text!r} is not a size such as 200KB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** " kmg".index(match[2].lower() or " "))
