"""`Ledger`: what all workers of an instance have reserved, in a small shared file with a slot for each process.

The file is only a cache. A slot whose process does not exist any more is ignored, and what is stored is counted again at every
start and every minute. So nothing has to be recovered after a crash.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchseal.system.mapped import MappedFile

HEAD = struct.Struct("<8sQQ")  # magic, stored bytes, queued documents
USED, USED_AT = struct.Struct("<Q"), HEAD.size  # how many slots, from the first on, were ever in use
# Process id, start of the process, temporary bytes reserved, how many of them are written, bytes of memory reserved.
SLOT = struct.Struct("<QQQQQ")
MAGIC = b"BSLEDGE2"
FIRST_SLOT, SLOTS = 64, 100
FILE_BYTES = FIRST_SLOT + SLOTS * SLOT.size


@dataclass(slots=True)
class Totals:
    """The totals of an instance. They hold while the lock is held."""

    stored_bytes: int
    queued_documents: int
    temp_bytes: int
    written_bytes: int
    memory_bytes: int


class Ledger:
    """The ledger as one process uses it. A method takes about 20 us, so it is called in the event loop."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path, FILE_BYTES)
        self._map = self._file.bytes
        self._slot = -1
        self._me = os.getpid(), started_at(os.getpid())

    def close(self) -> None:
        """Closes the file. What this process has reserved counts until the process ends."""
        self._file.close()

    @contextmanager
    def booked(self) -> Iterator[Totals]:
        """Gives the totals and holds the lock during the block, so that nobody changes them meanwhile.

        If the block changes `stored_bytes` or `queued_documents`, the changes are kept.
        """
        with self._file.locked():
            magic, stored, queued = HEAD.unpack_from(self._map)
            if magic != MAGIC:
                stored = queued = 0
                self._map[USED_AT:FILE_BYTES] = bytes(FILE_BYTES - USED_AT)
                self._slot = -1
            totals = Totals(stored, queued, 0, 0, 0)
            (used,) = USED.unpack_from(self._map, USED_AT)
            slots = SLOT.iter_unpack(self._map[FIRST_SLOT : FIRST_SLOT + min(used, SLOTS) * SLOT.size])
            for number, (pid, start, temp, written, memory) in enumerate(slots):
                if not pid or not (temp or memory):
                    continue
                if (pid, start) != self._me and started_at(pid) != start:
                    SLOT.pack_into(self._map, FIRST_SLOT + number * SLOT.size, 0, 0, 0, 0, 0)
                    continue
                totals.temp_bytes += temp
                totals.written_bytes += written
                totals.memory_bytes += memory
            yield totals
            HEAD.pack_into(self._map, 0, MAGIC, max(0, totals.stored_bytes), max(0, totals.queued_documents))

    def change(self, temp: int = 0, written: int = 0, memory: int = 0) -> None:
        """Adds to what this process has reserved. To be called in a `booked` block only."""
        if self._slot < 0:
            self._slot = self._free_slot()
        _, _, old_temp, old_written, old_memory = SLOT.unpack_from(self._map, self._slot)
        values = old_temp + temp, old_written + written, old_memory + memory
        SLOT.pack_into(self._map, self._slot, *self._me, *(max(0, value) for value in values))

    def _free_slot(self) -> int:
        (used,) = USED.unpack_from(self._map, USED_AT)
        for number in range(SLOTS):
            offset = FIRST_SLOT + number * SLOT.size
            pid, start, *_ = SLOT.unpack_from(self._map, offset)
            if not pid or started_at(pid) != start:
                SLOT.pack_into(self._map, offset, *self._me, 0, 0, 0)
                USED.pack_into(self._map, USED_AT, max(used, number + 1))
                return offset
        raise RuntimeError(f"more than {SLOTS} processes book in one ledger")


def started_at(pid: int) -> int:
    """When a process was started, in clock ticks since the start of the system. 0 if there is no such process.

    Together with the process id it identifies a process: the id alone may be used again.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the name in parentheses, which may contain anything. The start is the twentieth field after it.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0
