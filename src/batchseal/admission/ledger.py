"""`Ledger`: what all workers of an instance have reserved, in a small shared file: who reserved it, and for which client service.

The file is only a cache. A slot whose process does not exist any more is ignored, and what is stored and queued is counted again
at every start and every minute. So nothing has to be recovered after a crash.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from batchseal.errors import NoRoom
from batchseal.system.mapped import MappedFile

# Magic, stored bytes, queued documents, rows of documents, and how many slots and clients were ever in use.
HEAD = struct.Struct("<8sQQQQQ")
# Process id, start of the process, client, temporary bytes reserved, how many of them are written, bytes of memory reserved.
SLOT = struct.Struct("<QQQQQQ")
CLIENT = struct.Struct("<QQQQ")  # client, stored bytes, queued documents, rows of documents
MAGIC = b"BSLEDGE3"
FIRST_SLOT, SLOTS, CLIENTS = 64, 1000, 1024
FIRST_CLIENT = FIRST_SLOT + SLOTS * SLOT.size
FILE_BYTES = FIRST_CLIENT + CLIENTS * CLIENT.size
RETRY_SECONDS = 2
# The client that work of the service itself is booked for.
NOBODY = ""


@dataclass(slots=True)
class Own:
    """What one client service has of the totals."""

    stored_bytes: int = 0
    queued_documents: int = 0
    document_rows: int = 0
    temp_bytes: int = 0
    memory_bytes: int = 0


@dataclass(slots=True)
class Totals:
    """The totals of an instance. They hold while the lock is held. `own` is the part of the client that was asked for."""

    stored_bytes: int
    queued_documents: int
    document_rows: int
    temp_bytes: int = 0
    written_bytes: int = 0
    memory_bytes: int = 0
    own: Own = field(default_factory=Own)

    def counts(self) -> list[int]:
        """What the file keeps of these: three counts of all clients, and the same three of the one."""
        own = self.own
        counts = [self.stored_bytes, self.queued_documents, self.document_rows]
        return [*counts, own.stored_bytes, own.queued_documents, own.document_rows]


class Ledger:
    """The ledger as one process uses it. A method takes about 20 us, so it is called in the event loop."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path, FILE_BYTES)
        self._map = self._file.bytes
        self._slots: dict[int, int] = {}  # the offset of this process's slot for a client, as far as it is known
        self._clients: dict[int, int] = {}  # the offset of the record of a client, likewise
        self._me = os.getpid(), started_at(os.getpid())
        # The client that the present block is about, the offset of its record, and what the file says at the beginning.
        self._client, self._clients_record = 0, FIRST_CLIENT
        self._before: list[int] = []

    def close(self) -> None:
        """Closes the file. What this process has reserved counts until the process ends."""
        self._file.close()

    @contextmanager
    def booked(self, client: str = NOBODY) -> Iterator[Totals]:
        """Gives the totals and holds the lock during the block, so that nobody changes them meanwhile.

        If the block changes `stored_bytes`, `queued_documents` or `document_rows`, of all or of the client, that is kept.
        """
        with self._file.locked():
            totals = self._totals(client)
            yield totals
            if (counts := totals.counts()) != self._before:
                counts = [max(0, count) for count in counts]
                CLIENT.pack_into(self._map, self._clients_record, self._client, *counts[3:])
                *_, slots, clients = HEAD.unpack_from(self._map)
                HEAD.pack_into(self._map, 0, MAGIC, *counts[:3], slots, clients)

    def _totals(self, client: str) -> Totals:
        magic, stored, queued, rows, slots, _ = HEAD.unpack_from(self._map)
        if magic != MAGIC:
            self._map[:FILE_BYTES] = bytes(FILE_BYTES)
            HEAD.pack_into(self._map, 0, MAGIC, 0, 0, 0, 0, 0)
            stored = queued = rows = slots = 0
        self._client = key_of(client)
        self._clients_record = self._record(self._client)
        _, *own = CLIENT.unpack_from(self._map, self._clients_record)
        totals = Totals(stored, queued, rows, own=Own(*own))
        self._before = [stored, queued, rows, *own]
        records = SLOT.iter_unpack(self._map[FIRST_SLOT : FIRST_SLOT + min(slots, SLOTS) * SLOT.size])
        for number, (pid, start, owner, temp, written, memory) in enumerate(records):
            if not pid or not (temp or memory):
                continue
            if (pid, start) != self._me and started_at(pid) != start:
                SLOT.pack_into(self._map, FIRST_SLOT + number * SLOT.size, 0, 0, 0, 0, 0, 0)
                continue
            totals.temp_bytes += temp
            totals.written_bytes += written
            totals.memory_bytes += memory
            if owner == self._client:
                totals.own.temp_bytes += temp
                totals.own.memory_bytes += memory
        return totals

    def change(self, temp: int = 0, written: int = 0, memory: int = 0) -> None:
        """Adds to what this process has reserved for the client of the block. To be called in a `booked` block only."""
        slot = self._slot(self._client)
        *owner, old_temp, old_written, old_memory = SLOT.unpack_from(self._map, slot)
        values = max(0, old_temp + temp), max(0, old_written + written), max(0, old_memory + memory)
        SLOT.pack_into(self._map, slot, *owner, *values)

    def count_stored(self, total_bytes: int, by_client: Mapping[str, int]) -> None:
        """Replaces what is stored: in all, as it was counted in the store, and for each client."""
        with self.booked() as booked:
            booked.stored_bytes = total_bytes
            booked.own.stored_bytes = 0
            self._count({key_of(client): stored for client, stored in by_client.items()}, column=1)

    def count_queued(self, by_client: Mapping[str, int], total: int | None = None) -> None:
        """Replaces how many documents wait to be signed. `total`: at this instance, where others have some too."""
        with self.booked() as booked:
            booked.queued_documents = sum(by_client.values()) if total is None else total
            booked.own.queued_documents = 0
            self._count({key_of(client): queued for client, queued in by_client.items()}, column=2)

    def count_rows(self, by_client: Mapping[str, int]) -> None:
        """Replaces how many documents have a row in the database."""
        with self.booked() as booked:
            booked.document_rows = sum(by_client.values())
            booked.own.document_rows = 0
            self._count({key_of(client): rows for client, rows in by_client.items()}, column=3)

    def _count(self, by_key: dict[int, int], *, column: int) -> None:
        """Replaces one column of all records of clients. A client that is not named has nothing."""
        for key in by_key:
            self._record(key)
        *_, clients = HEAD.unpack_from(self._map)
        for number in range(clients):
            offset = FIRST_CLIENT + number * CLIENT.size
            record = list(CLIENT.unpack_from(self._map, offset))
            record[column] = by_key.get(record[0], 0)
            CLIENT.pack_into(self._map, offset, *record)

    def _slot(self, client: int) -> int:
        """The offset of this process's slot for the client, which is made where it is missing. Raises NoRoom."""
        known = self._slots.get(client)
        if known is not None and SLOT.unpack_from(self._map, known)[:3] == (*self._me, client):
            return known
        *counts, used, clients = HEAD.unpack_from(self._map)
        for number in range(SLOTS):
            offset = FIRST_SLOT + number * SLOT.size
            pid, start, _, temp, _, memory = SLOT.unpack_from(self._map, offset)
            is_free = not pid or not (temp or memory)
            if is_free or ((pid, start) != self._me and started_at(pid) != start):
                SLOT.pack_into(self._map, offset, *self._me, client, 0, 0, 0)
                HEAD.pack_into(self._map, 0, *counts, max(used, number + 1), clients)
                self._slots[client] = offset
                return offset
        raise NoRoom("too many client services have requests under way", retry_after_seconds=RETRY_SECONDS)

    def _record(self, client: int) -> int:
        """The offset of the client's record, which is made where it is missing.

        Client services beyond the first thousand share the last record.
        """
        known = self._clients.get(client)
        if known is not None and CLIENT.unpack_from(self._map, known)[0] == client:
            return known
        *counts, slots, clients = HEAD.unpack_from(self._map)
        offsets = range(FIRST_CLIENT, FIRST_CLIENT + clients * CLIENT.size, CLIENT.size)
        for offset in offsets:
            if CLIENT.unpack_from(self._map, offset)[0] == client:
                self._clients[client] = offset
                return offset
        offset = FIRST_CLIENT + min(int(clients), CLIENTS - 1) * CLIENT.size
        if clients < CLIENTS:
            CLIENT.pack_into(self._map, offset, client, 0, 0, 0)
            HEAD.pack_into(self._map, 0, *counts, slots, clients + 1)
            self._clients[client] = offset
        return offset


def key_of(client: str) -> int:
    """A number that stands for a client service in the file. 0 is nobody."""
    return xxhash.xxh3_64_intdigest(client.encode()) if client else 0


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
