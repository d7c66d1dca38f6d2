"""What all workers of an instance have reserved: a small shared file, a slot for each process.

The file is a cache of facts that can be found again, never a truth: a slot whose process is gone counts for nothing, what is
stored is counted anew at every start and every minute after.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchseal.system.mapped import MappedFile

HEAD = struct.Struct("<8sQQ")  # magic, stored bytes, queued documents
USED, USED_AT = struct.Struct("<Q"), HEAD.size  # slots that were ever taken: the first ones
SLOT = struct.Struct("<QQQQQ")  # process, its start, temporary bytes reserved, of which written, memory reserved
MAGIC = b"BSLEDGE2"
FIRST_SLOT, SLOTS = 64, 100
FILE_BYTES = FIRST_SLOT + SLOTS * SLOT.size


@dataclass(slots=True)
class Totals:
    """Totals of an instance, under the lock."""

    stored_bytes: int
    queued_documents: int
    temp_bytes: int
    written_bytes: int
    memory_bytes: int


class Ledger:
    """One for each process; a method takes some 20 us, so it is called from the loop."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path, FILE_BYTES)
        self._map = self._file.bytes
        self._slot = -1
        self._me = os.getpid(), started_at(os.getpid())

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def booked(self) -> Iterator[Totals]:
        """The totals, locked: what is decided on them holds until the block ends. Changes of the first two are kept."""
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
        """Adds to this process's slot. Inside `booked`."""
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
    """Clock ticks between the system's start and the process's; 0 where there is none. Tells a reused id apart."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything; this is the twentieth field after it.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0
