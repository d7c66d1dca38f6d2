"""`KnownPairs`: the pairs of address and name that proved themselves within the last day, each with a counter of its own.

Only who proves itself gets in, so strangers cannot fill the table. A name has WAYS entries: if it comes from more addresses, the
one that was quiet for longest goes. The entries of two names never push each other out unless their digests share a bucket.
"""

import mmap
import struct
from collections.abc import Sequence

from batchseal.api.failures import SLOTS, live_numbers, slot_number

# The key of the pair, when it last proved itself (seconds), the newest slot with failures, failures for each slot.
ENTRY = struct.Struct(f"<QdQ{SLOTS}sx")
WAYS = 16
KNOWN_SECONDS = 86_400.0
# A pair that proves itself again and again is written no more often than this.
RENEWED_SECONDS = 60.0
MOST = 255


class KnownPairs:
    """A table in `data` from `offset` on, with `buckets` (a power of two) buckets of WAYS entries.

    `remember`, `add` and `take_off` change it: hold the lock of the file meanwhile. The others need no lock.
    """

    def __init__(self, data: mmap.mmap, offset: int, buckets: int) -> None:
        self._data = data
        self._offset = offset
        self._buckets = buckets

    @staticmethod
    def size_bytes(buckets: int) -> int:
        """The size of the whole table."""
        return buckets * WAYS * ENTRY.size

    def find(self, bucket: int, key: int, now: float) -> int | None:
        """The place of a known pair, or None. `bucket` and `key` are numbers from the digests of the name and of the pair."""
        for place in self._places(bucket):
            stored, proved, _, _ = ENTRY.unpack_from(self._data, place)
            if stored == key:
                return place if self._holds(proved, now) else None
        return None

    def is_fresh(self, place: int, now: float) -> bool:
        """Whether the pair proved itself so short a time ago that it need not be written again."""
        return bool(now - ENTRY.unpack_from(self._data, place)[1] < RENEWED_SECONDS)

    def remember(self, bucket: int, key: int, now: float, failures: Sequence[tuple[int, int]]) -> None:
        """Notes that the pair proved itself now. `failures` (slot number, count) are those that it had before it was known."""
        if (known := self.find(bucket, key, now)) is not None:
            _, _, newest, counts = ENTRY.unpack_from(self._data, known)
            ENTRY.pack_into(self._data, known, key, now, newest, counts)
            return
        entries = [(place, *ENTRY.unpack_from(self._data, place)[:2]) for place in self._places(bucket)]
        # The pair's own expired entry, else an empty or expired one, else the one that was quiet for longest.
        place = min(entries, key=lambda e: (e[1] != key, self._holds(e[2], now), e[2]))[0]
        counts = bytearray(SLOTS)
        for number, count in failures:
            counts[number % SLOTS] = min(count, MOST)
        ENTRY.pack_into(self._data, place, key, now, slot_number(now), bytes(counts))

    def counts(self, place: int, now: float) -> list[tuple[int, int]]:
        """(slot number, failures) of the live slots in which the pair failed, the oldest first."""
        _, _, newest, counts = ENTRY.unpack_from(self._data, place)
        return [
            (number, counts[number % SLOTS])
            for number in live_numbers(now)
            if newest - SLOTS < number <= newest and counts[number % SLOTS]
        ]

    def add(self, place: int, now: float) -> int:
        """Counts one failure of the pair now, and returns the number of its slot."""
        key, proved, newest, stored = ENTRY.unpack_from(self._data, place)
        counts, number = bytearray(stored), slot_number(now)
        for passed in range(max(newest, number - SLOTS) + 1, number + 1):
            counts[passed % SLOTS] = 0
        counts[number % SLOTS] = min(counts[number % SLOTS] + 1, MOST)
        ENTRY.pack_into(self._data, place, key, proved, number, bytes(counts))
        return number

    def take_off(self, place: int, key: int, number: int) -> None:
        """Takes back a failure that `add` counted for `key`. Does nothing if the slot or the pair is no longer there."""
        stored_key, proved, newest, stored = ENTRY.unpack_from(self._data, place)
        if stored_key == key and newest - SLOTS < number <= newest and stored[number % SLOTS]:
            counts = bytearray(stored)
            counts[number % SLOTS] -= 1
            ENTRY.pack_into(self._data, place, key, proved, newest, bytes(counts))

    def _places(self, bucket: int) -> range:
        begin = self._offset + bucket % self._buckets * WAYS * ENTRY.size
        return range(begin, begin + WAYS * ENTRY.size, ENTRY.size)

    @staticmethod
    def _holds(proved: float, now: float) -> bool:
        """The monotonic clock starts anew when the machine does, so a time in the future means a start before this one."""
        return 0 < proved <= now < proved + KNOWN_SECONDS
