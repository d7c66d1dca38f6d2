"""Computes the sizes of the service from memory and processors, and the limits that a load needs. It keeps no state.

`plan` computes the number of workers and threads, the size of batches, the memory for uploads and the settings of Postgres.
`demand` computes how much memory, disk and database space a load needs, and what the original product asks for. The constants
were measured in containers (benchmarks/results/container.json), as anonymous and shared memory: the kernel can take page cache
back.
"""

import itertools
import re
from dataclasses import dataclass

from batchseal.errors import ConfigurationError
from batchseal.settings.options import Settings
from batchseal.system.cgroups import available_cores, available_memory

MB = 1 << 20

# The memory of the supervisor, the signer, the embedded Postgres and a health probe together, and of one worker without an
# upload. Worker and signer share pages; what is started again after a crash does not.
BASE_BYTES, WORKER_BYTES = 78 * MB, 42 * MB
# The process of the hot folders, with what it reads and writes at once beside what an upload books.
HOT_FOLDERS_BYTES = 48 * MB
# PDFium and what looks for words with it, while somebody has signatures placed at words. What a document needs is booked on top.
KEEPER_BYTES = 20 * MB
# Memory for the rows and digests of documents that are being signed: for each, for all of them, and the largest share of the
# whole.
DOCUMENT_BYTES, MOST_DOCUMENTS_BYTES, MOST_DOCUMENTS_SHARE = 1_900, 20_000 * 1_900, 0.1
# The share of the memory that the processes may use. The kernel needs the rest for page tables, sockets and page cache.
USABLE = 0.9
# An upload holds two batches of documents, their base64 and what the allocator keeps: four windows. Rows and buffers are extra.
WINDOWS_HELD, UPLOAD_FIXED_BYTES = 4, 2 * MB
LEAST_WINDOW_BYTES, MOST_WINDOW_BYTES = 1 * MB, 3 * MB
# The window is made smaller until so many uploads fit into the memory at the same time.
UPLOADS_AT_ONCE = 8
LEAST_UPLOAD_BYTES = WINDOWS_HELD * LEAST_WINDOW_BYTES + UPLOAD_FIXED_BYTES
MOST_WORKERS = 16
WORKER_SHARE_BYTES = 384 * MB

# The rules of the original product: twice the files in flight as temporary space, and about 2 KB in the database for each file.
TEMP_FACTOR, DATABASE_BYTES_PER_FILE = 2, 2_000
# Our rules: SPILL_FACTOR is what a request reserves while it arrives. Only 1.01 times the payload was measured to remain, so that
# the log of the database (at most 256 MB) can use the rest. The other files of the database took 72 MB with 20,000 documents.
SPILL_FACTOR, DATABASE_FIXED_BYTES = 1.1, 150 * MB
# What a document takes of one instance on two cores, with its database, and what each of its bytes takes. Measured were 1,990
# documents a second of 2 KB, 910 of 200 KB and 130 of 2 MB (benchmarks/results/details.json, growth). Client and sandbox took
# their part of the cores.
DOCUMENT_SECONDS, BYTE_SECONDS = 0.000_55, 4e-9
# The usual steps of memory limits, in MB.
STEPS_MB = (192, 256, 320, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
# A worker has the space of up to two segments before small payloads come. Of large loads, what requests reserve beyond the part
# that remains holds this too.
STAYING_FACTOR, SEGMENTS_BYTES = 1.01, 16 * MB


@dataclass(frozen=True, slots=True)
class Plan:
    """How the service divides its memory and processors. Sizes are in bytes."""

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
        """The settings of the embedded database server that depend on the memory."""
        return {
            "shared_buffers": f"{self.shared_buffers_bytes >> 20}MB",
            "work_mem": f"{self.work_bytes >> 20}MB",
            "max_connections": str(self.connections),
        }


def plan(memory_bytes: int, cores: int, workers: int = 0, *, hot_folders: bool = False) -> Plan:
    """The plan for this much memory and so many cores.

    With `hot_folders` there is the process that watches them too. If `workers` is 0, there is one worker for every two cores, as
    far as the memory allows. The signer and Postgres need the rest.
    """
    documents_bytes = min(MOST_DOCUMENTS_BYTES, int(memory_bytes * MOST_DOCUMENTS_SHARE))
    spare = int(memory_bytes * USABLE) - BASE_BYTES - documents_bytes - hot_folders * HOT_FOLDERS_BYTES
    workers = workers or max(1, min(cores // 2, spare // WORKER_SHARE_BYTES, MOST_WORKERS))
    uploads_bytes = max(0, spare - workers * WORKER_BYTES)
    if uploads_bytes < LEAST_UPLOAD_BYTES:
        uploads_bytes = 0  # an upload would take more than there is, and the kernel would end a process for it
    # The least memory is for loads without such signatures: it leaves less, or nothing, for what looks for words.
    uploads_bytes -= min(KEEPER_BYTES, max(0, uploads_bytes - UPLOADS_AT_ONCE * LEAST_UPLOAD_BYTES))
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
        # What the database has used of them once stays in memory, so they are small where there is little.
        shared_buffers_bytes=min(64 * MB, max(min(16 * MB, memory_bytes // 16), memory_bytes // 32)),
        work_bytes=(2 if small else 4) * MB,
        connections=max(40, 5 * (workers + 1) + 16),
    )


def least_memory_bytes(cores: int, workers: int = 0, *, hot_folders: bool = False) -> int:
    """The least memory in which an upload is taken, in steps of 8 MB."""
    sizes = (steps * 8 * MB for steps in itertools.count(1))
    return next(size for size in sizes if plan(size, cores, workers, hot_folders=hot_folders).uploads_bytes > 0)


def planned(settings: Settings) -> Plan:
    """The plan for these settings on this machine."""
    memory, cores = available_memory(settings.memory_limit), available_cores()
    return plan(memory, cores, settings.workers, hot_folders=settings.hot_folder_enabled)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a load needs, and what the original product asks for, in bytes. `original_bytes` is (minimum, recommended)."""

    memory_bytes: int
    disk_bytes: int
    database_bytes: int
    original_bytes: tuple[int, int]
    original_disk_bytes: int


def demand(documents: int, average_bytes: int, requests: int) -> Demand:
    """The demand of `documents` files of `average_bytes` each that arrive in `requests` requests at the same time."""
    payload_bytes = documents * average_bytes
    needed = BASE_BYTES + WORKER_BYTES + KEEPER_BYTES + documents * DOCUMENT_BYTES
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
        disk_bytes=max(int(payload_bytes * SPILL_FACTOR), int(payload_bytes * STAYING_FACTOR) + SEGMENTS_BYTES)
        + DATABASE_FIXED_BYTES
        + documents * DATABASE_BYTES_PER_FILE,
        database_bytes=documents * DATABASE_BYTES_PER_FILE,
        original_bytes=(low * MB, high * MB),
        original_disk_bytes=TEMP_FACTOR * payload_bytes,
    )


def documents_per_hour(average_bytes: int) -> int:
    """How many documents of this size one instance on two cores takes in, signs and delivers, if the signing service keeps up."""
    return int(3600 / (DOCUMENT_SECONDS + average_bytes * BYTE_SECONDS))


# --- batchseal size --------------------------------------------------------------------------------------------------


def parse_bytes(text: str) -> int:
    """The number of bytes that a text such as `200KB`, `1.5 MB`, `2GiB` or `4096` stands for.

    Units are decimal, or binary if they are written with an i. Raises ConfigurationError.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ConfigurationError(f"{text!r} is not a size such as 200KB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** " kmg".index(match[2].lower() or " "))
