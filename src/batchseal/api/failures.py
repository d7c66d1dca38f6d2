"""`RecentFailures`: how often something failed in the last minute, for any number of keys, in a fixed piece of shared memory.

A count may be too high, but never too low: no key can push another one out, and nobody can make a count begin anew. It is a
count-min sketch (Cormode and Muthukrishnan 2005): each key has one counter in each of ROWS rows, chosen by a keyed digest, and
its count is the least of the four. A count is too high only if other keys failed often at all four places.

Time is cut into slots of SLOT_SECONDS, each with counters of its own. The slots of the last minute, and the one that began before
it, count together. So no minute, whenever it begins, has more failures than the count says.
"""

import mmap
import struct
from collections.abc import Sequence

SLOT_SECONDS = 10
SLOTS = 7
WINDOW_SECONDS = SLOT_SECONDS * (SLOTS - 1)
ROWS = 4
# A counter that reached this value stays until its slot is used anew: to take one off might make the count too low.
MOST = 255
NUMBERS = struct.Struct(f"<{SLOTS}Q")


def slot_number(now: float) -> int:
    """The number of the slot that the time `now` (seconds) lies in. Never 0, which stands for an unused slot."""
    return int(now // SLOT_SECONDS) + 1


def live_numbers(now: float) -> range:
    """The numbers of the slots that count at `now`, the oldest first."""
    newest = slot_number(now)
    return range(newest - SLOTS + 1, newest + 1)


def seconds_until_fewer(failures: Sequence[tuple[int, int]], limit: int, now: float) -> int:
    """After how many seconds fewer than `limit` of these failures (slot number, count) are left; at least 1."""
    left = sum(count for _, count in failures)
    for number, count in failures:
        left -= count
        if left < limit:
            return max(1, int((number - 1 + SLOTS) * SLOT_SECONDS - now) + 1)
    return WINDOW_SECONDS + SLOT_SECONDS


class RecentFailures:
    """Counters in `data` from `offset` on: the numbers of the slots, then SLOTS x ROWS x `width` counters of one byte.

    `width` must be a power of two. `add` and `take_off` change the counters: hold the lock of the file meanwhile.
    `counts` needs no lock. The oldest slot is cleared before it gets its new number, and nobody reads a slot without a number.
    """

    def __init__(self, data: mmap.mmap, offset: int, width: int) -> None:
        self._data = data
        self._numbers = offset
        self._counters = offset + NUMBERS.size
        self._width = width

    @staticmethod
    def size_bytes(width: int) -> int:
        """The size of the whole piece of memory."""
        return NUMBERS.size + SLOTS * ROWS * width

    def places(self, digest: bytes) -> tuple[int, ...]:
        """The places of a key in the rows of a slot. `digest` is a keyed digest of it, of at least 4 x ROWS bytes."""
        columns = struct.unpack_from(f"<{ROWS}I", digest)
        return tuple(row * self._width + column % self._width for row, column in enumerate(columns))

    def counts(self, places: Sequence[int], now: float) -> list[tuple[int, int]]:
        """(slot number, failures) of the live slots in which the key failed, the oldest first."""
        numbers = NUMBERS.unpack_from(self._data, self._numbers)
        found = []
        for number in live_numbers(now):
            if numbers[number % SLOTS] == number:
                base = self._base(number)
                if count := min(self._data[base + place] for place in places):
                    found.append((number, count))
        return found

    def add(self, places: Sequence[int], now: float) -> int:
        """Counts one failure now, and returns the number of its slot."""
        number = slot_number(now)
        if NUMBERS.unpack_from(self._data, self._numbers)[number % SLOTS] != number:
            self._begin_slot(number)
        base = self._base(number)
        for place in places:
            if self._data[base + place] < MOST:
                self._data[base + place] += 1
        return number

    def take_off(self, places: Sequence[int], number: int) -> None:
        """Takes back a failure that `add` counted in this slot. Does nothing if the slot is no longer there."""
        if NUMBERS.unpack_from(self._data, self._numbers)[number % SLOTS] != number:
            return
        base = self._base(number)
        for place in places:
            if 0 < self._data[base + place] < MOST:
                self._data[base + place] -= 1

    def _begin_slot(self, number: int) -> None:
        place, base = self._numbers + 8 * (number % SLOTS), self._base(number)
        struct.pack_into("<Q", self._data, place, 0)
        self._data[base : base + ROWS * self._width] = bytes(ROWS * self._width)
        struct.pack_into("<Q", self._data, place, number)

    def _base(self, number: int) -> int:
        return self._counters + number % SLOTS * ROWS * self._width
