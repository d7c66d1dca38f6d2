"""Counts failed logins and stops callers who guess secrets. All workers of one instance share the counts in one small file.

There are two counts: one for each pair of address and client id (MAX_FOR_NAME failures), and one for each address
(MAX_FOR_ADDRESS failures). Both belong to the address, so a guesser cannot lock out a client service that calls from another
address. A blocked address is refused even with the right secret; otherwise it could go on guessing.
"""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import xxhash

from batchseal.errors import TooManyRequests
from batchseal.system.mapped import MappedFile

ENTRY = struct.Struct("<QdII")  # key, start of the window (seconds of the monotonic clock), failures, unused
ENTRIES = 8192
FILE_BYTES = ENTRY.size * ENTRIES
WINDOW_SECONDS = 60.0
MAX_FOR_NAME, MAX_FOR_ADDRESS = 10, 100


class Attempts:
    """A hash table of ENTRIES fixed places in a shared, memory-mapped file.

    Keys with the same place overwrite each other: then a count begins anew, and more guesses are allowed than intended.
    `now` tells the seconds of the monotonic clock.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._file = MappedFile(path, FILE_BYTES)
        self._map = self._file.bytes

    def close(self) -> None:
        self._file.close()

    def check(self, address: str, name: str) -> None:
        """Raises TooManyRequests if this address has failed too often, with the seconds until its window ends."""
        for key, most in self._keys(address, name):
            _, began, failures = self._entry(key)
            if failures >= most:
                left = int(began + WINDOW_SECONDS - self._now()) + 1
                raise TooManyRequests("too many failed attempts from this address", retry_after_seconds=max(1, left))

    def failed(self, address: str, name: str) -> None:
        """Counts one failure of `address` with the client id `name`."""
        with self._file.locked():
            for key, _ in self._keys(address, name):
                offset, began, failures = self._entry(key)
                ENTRY.pack_into(self._map, offset, key, began if failures else self._now(), failures + 1, 0)

    def _keys(self, address: str, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """(key, limit) of the pair and of the address. The lowest bit tells the two kinds of keys apart."""
        pair = xxhash.xxh3_64_intdigest(f"{address}\0{name}".encode("utf-8", "replace")) | 1
        return (pair, MAX_FOR_NAME), (xxhash.xxh3_64_intdigest(address.encode()) & ~1, MAX_FOR_ADDRESS)

    def _entry(self, key: int) -> tuple[int, float, int]:
        """Returns the entry's offset in the file, the start of its window and its failures.

        There are 0 failures if the place belongs to another key, if the window has ended, or if it began in the future:
        the monotonic clock starts anew when the machine does.
        """
        offset = key % ENTRIES * ENTRY.size
        stored, began, failures, _ = ENTRY.unpack_from(self._map, offset)
        now = self._now()
        if stored != key or not began <= now < began + WINDOW_SECONDS:
            return offset, now, 0
        return offset, began, failures
