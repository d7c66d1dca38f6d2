"""Failed attempts to prove oneself, counted by all workers in one small file.

Counted for an address and the name that it tried, and more loosely for the address alone: whoever guesses secrets is stopped,
and cannot lock out a client service that calls from elsewhere. While it is stopped even the right secret is refused, else
guessing could go on.
"""

import struct
import time
from pathlib import Path

import xxhash

from batchseal.errors import TooManyRequests
from batchseal.system.mapped import MappedFile

ENTRY = struct.Struct("<QdII")  # key, when the window began, failures, 0
ENTRIES = 8192
FILE_BYTES = ENTRY.size * ENTRIES
WINDOW_SECONDS = 60.0
MAX_FOR_NAME, MAX_FOR_ADDRESS = 10, 100


class Attempts:
    """Entries share places by their key's hash; a newer key takes an older one's place once its window has ended."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path, FILE_BYTES)
        self._map = self._file.bytes

    def close(self) -> None:
        self._file.close()

    def check(self, address: str, name: str) -> None:
        """Raises TooManyRequests where this address has failed too often."""
        for key, most in self._keys(address, name):
            _, began, failures = self._entry(key)
            if failures >= most:
                left = int(began + WINDOW_SECONDS - time.monotonic()) + 1
                raise TooManyRequests("too many failed attempts from this address", retry_after_seconds=max(1, left))

    def failed(self, address: str, name: str) -> None:
        with self._file.locked():
            for key, _ in self._keys(address, name):
                offset, began, failures = self._entry(key)
                ENTRY.pack_into(self._map, offset, key, began if failures else time.monotonic(), failures + 1, 0)

    def _keys(self, address: str, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
        pair = xxhash.xxh3_64_intdigest(f"{address}\0{name}".encode("utf-8", "replace")) | 1
        return (pair, MAX_FOR_NAME), (xxhash.xxh3_64_intdigest(address.encode()) & ~1, MAX_FOR_ADDRESS)

    def _entry(self, key: int) -> tuple[int, float, int]:
        """Place, begin and failures; none where the window has ended, or the machine was started anew since."""
        offset = key % ENTRIES * ENTRY.size
        stored, began, failures, _ = ENTRY.unpack_from(self._map, offset)
        now = time.monotonic()
        if stored != key or not began <= now < began + WINDOW_SECONDS:
            return offset, now, 0
        return offset, began, failures
