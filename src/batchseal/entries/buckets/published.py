"""What was published lately, in objects: one for each batch, below the day on which it ended (`entries/published.py`).

    INPUT/.batchseal/published/2026-11-30/BATCH      24 bytes for each result: its length, and half of its SHA-256

Such an object also says that its batch has ended, should an old list of it come back: a store may carry out a request that it has
held for a while.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from batchseal.entries.buckets.prefix import AtOnce, Prefix
from batchseal.entries.claims import PRIVATE
from batchseal.entries.published import DAYS, FOLDER, MOST_RECORDS, RECORD, Published, Result

PLACE = f"{PRIVATE}/{FOLDER}"
READ_AT_ONCE = 64


class PublishedObjects:
    """All methods block."""

    def __init__(self, input: Prefix, at_once: AtOnce) -> None:
        self._input = input
        self._at_once = at_once
        self.ended = set[UUID]()  # batches that ended lately

    def load(self, published: Published) -> None:
        """Reads what is kept, the newest first, in place of what is known; and removes what is over."""
        oldest = f"{PLACE}/{datetime.now(UTC) - timedelta(days=DAYS):%Y-%m-%d}"
        keys = sorted((one.key for page in self._input.pages(PLACE) for one in page), reverse=True)
        kept = [key for key in keys if key >= oldest]
        self._input.delete(keys[len(kept) :])
        self.ended = set(_ids(kept))
        found = list[list[Result]]()
        while kept and sum(map(len, found)) < MOST_RECORDS:
            found += self._at_once.map(self._read, kept[:READ_AT_ONCE])
            del kept[:READ_AT_ONCE]
        published.clear()
        for results in reversed(found):
            published.add(results)

    def _read(self, key: str) -> list[Result]:
        try:
            content, _ = self._input.get(key)
        except FileNotFoundError:
            return []
        whole = len(content) // RECORD.size * RECORD.size
        return list(RECORD.iter_unpack(content[:whole]))

    def keep(self, batch: UUID, results: Iterable[Result]) -> None:
        """The batch has ended, with these results."""
        key = f"{PLACE}/{datetime.now(UTC):%Y-%m-%d}/{batch}"
        self._input.put(key, b"".join(RECORD.pack(*one) for one in results))
        self.ended.add(batch)


def _ids(keys: Iterable[str]) -> Iterator[UUID]:
    for key in keys:
        with suppress(ValueError):
            yield UUID(key.rpartition("/")[2])
