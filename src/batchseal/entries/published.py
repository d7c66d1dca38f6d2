"""What a hot folder has published lately, so that none of it is signed again where it comes back into the input folder.

That happens where a program keeps two folders the same, or moves results to where it has taken files from. Results are known by
their length and the first half of their SHA-256, in a file for each day:

    input/.batchseal/published/2026-11-30      24 bytes for each result: its length, and the digest

A digest is noted with its draft (`notes.py`), and stays there until it is in the file of the day.
"""

import hashlib
import os
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from batchseal.entries import files
from batchseal.entries.claims import PRIVATE
from batchseal.entries.content import Source
from batchseal.entries.files import FILE, make_private, opened, opened_below

FOLDER = "published"
DAYS = 7
RECORD = struct.Struct("<Q16s")
# About 20 MB of memory. Beyond that the older ones are forgotten first.
MOST_RECORDS = 200_000
MOST_BYTES = MOST_RECORDS * RECORD.size

# The length of a result, and half of its digest.
Result = tuple[int, bytes]


class Published:
    """Of one folder. `load`, `has` and `keep` block. Batches add from several threads at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: dict[Result, None] = {}
        self._sizes: set[int] = set()

    def load(self, root: int) -> None:
        """Reads what is kept below an open input folder, in place of what is known."""
        self.clear()
        with suppress(FileNotFoundError), opened_below(root, f"{PRIVATE}/{FOLDER}") as folder:
            for day in sorted(os.listdir(folder)):
                with opened(day, FILE, folder) as descriptor:
                    size = os.fstat(descriptor).st_size // RECORD.size * RECORD.size
                    content = os.pread(descriptor, MOST_BYTES, max(0, size - MOST_BYTES))
                whole = len(content) // RECORD.size * RECORD.size
                self.add(RECORD.iter_unpack(content[:whole]))

    def clear(self) -> None:
        with self._lock:
            self._results, self._sizes = {}, set()

    def add(self, results: Iterable[Result]) -> None:
        """These are known from now on, until they are forgotten with the process."""
        with self._lock:
            for one in results:
                self._results[one] = None
                self._sizes.add(one[0])
            if len(self._results) > MOST_RECORDS:
                self._results = dict.fromkeys(list(self._results)[-MOST_RECORDS // 2 :])
                self._sizes = {size for size, _ in self._results}

    def may_have(self, size: int) -> bool:
        """Whether there is a result of this length: most files need not be read for more."""
        return size in self._sizes

    def has(self, source: Source) -> bool:
        """Whether the content of a file is a result."""
        digest = hashlib.sha256()
        for block in source.blocks():
            digest.update(block)
        return (source.size, digest.digest()[:16]) in self._results

    def keep(self, root: int, results: Iterable[Result], now: datetime | None = None) -> None:
        """Appends results to the file of the day, durably, and removes the files of days that are over."""
        today = now or datetime.now(UTC)
        content = b"".join(RECORD.pack(*one) for one in results)
        if not content:
            return
        with opened_below(root, f"{PRIVATE}/{FOLDER}", make_private) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(f"{today:%Y-%m-%d}", flags, 0o600, dir_fd=folder)
            try:
                # A record that a power cut has cut off must not shift those behind it.
                torn = os.fstat(descriptor).st_size % RECORD.size
                files.write_all(descriptor, bytes(RECORD.size - torn if torn else 0) + content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            oldest = f"{today - timedelta(days=DAYS):%Y-%m-%d}"
            for day in os.listdir(folder):
                if day < oldest:
                    os.unlink(day, dir_fd=folder)
