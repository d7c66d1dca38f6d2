"""Counts failed logins and stops callers who guess secrets. All workers of one instance share the counts in one small file.

What instances count together, where they share a database, is in `login_failures.py`.

What is counted is a pair: a client id, and the address that it is tried from (`system/addresses.py`: IPv6 counts by /64). After
MAX_FAILURES within a minute the pair is locked: its secrets are not compared until the minute is over. Nothing else locks a pair,
so a guesser locks out nobody but callers who use the same client id from the same address, and those only for Basic. A right
secret takes no failures away, because otherwise a guesser could go on beside a caller who knows it.

Where the counts are kept:

- A pair that proved itself within a day has a counter of its own (`KnownPairs`). No stranger, wherever he calls from, changes it.
- All other pairs share counters that can be too high but never too low (`RecentFailures`). Configured ids and ids that nobody has
  use different ones, so made-up ids never raise the count of a configured id. Callers cannot tell the two apart.
- The digests that choose the counters have a random key, so nobody can look for ids that share them.
"""

import hashlib
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchseal.api.failures import RecentFailures, seconds_until_fewer
from batchseal.api.known_pairs import KnownPairs
from batchseal.errors import TooManyRequests
from batchseal.system.addresses import group_of
from batchseal.system.expiring import ExpiringCache
from batchseal.system.mapped import MappedFile

MAX_FAILURES = 10
MAGIC, KEY_BYTES = b"BSTRIES2", 32
HEAD_BYTES = 64
# With so many counters in a row, 2,000 guesses a second at configured ids, from ever new addresses, lock no pair that made none:
# the counters of a minute then stand at 4 on average, and the chance that all four of a pair reach 10 is 1 in 100 million.
CONFIGURED_WIDTH, OTHER_WIDTH = 32_768, 8_192
PAIR_BUCKETS = TOKEN_BUCKETS = 256
MAX_LOCKED = 4096


@dataclass(frozen=True, slots=True)
class Pair:
    """A client id and the address that it is tried from, as `Attempts` counts them: `text` names both, the rest its counters."""

    text: str
    counters: RecentFailures
    places: tuple[int, ...]
    bucket: int
    key: int


@dataclass(frozen=True, slots=True)
class Booking:
    """One failure that was counted before its guess was made. `known` is the place of the pair's own counter."""

    pair: Pair
    number: int
    known: int | None


class Attempts:
    """The counts of this instance, in a memory-mapped file.

    `now` tells the seconds of the monotonic clock. `width` is the number of counters in a row for configured ids, the same in
    all processes of an instance.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.monotonic, width: int = CONFIGURED_WIDTH) -> None:
        self._now = now
        others = HEAD_BYTES + RecentFailures.size_bytes(width)
        pairs = others + RecentFailures.size_bytes(OTHER_WIDTH)
        tokens = pairs + KnownPairs.size_bytes(PAIR_BUCKETS)
        size_bytes = tokens + KnownPairs.size_bytes(TOKEN_BUCKETS)
        self._file = MappedFile(path, size_bytes)
        data = self._file.bytes
        with self._file.locked():
            if (found := data[: len(MAGIC)]) != MAGIC:
                # A new file is empty. To write it would keep all of its pages in memory.
                if any(found):
                    data[:size_bytes] = bytes(size_bytes)
                data[: len(MAGIC) + KEY_BYTES] = MAGIC + secrets.token_bytes(KEY_BYTES)
            self._key = data[len(MAGIC) : len(MAGIC) + KEY_BYTES]
        self._configured = RecentFailures(data, HEAD_BYTES, width)
        self._others = RecentFailures(data, others, OTHER_WIDTH)
        self._pairs = KnownPairs(data, pairs, PAIR_BUCKETS)
        self._tokens = KnownPairs(data, tokens, TOKEN_BUCKETS)
        # Pairs that failed too often at all instances together, and until when they are locked.
        self._locked: ExpiringCache[int, float] = ExpiringCache(MAX_LOCKED, clock=now)

    def close(self) -> None:
        self._file.close()

    # --- pairs --------------------------------------------------------------------------------------------------------

    def pair(self, address: str, name: str, *, configured: bool) -> Pair:
        """The pair of this client id and network address. `configured` says whether there is such a client service."""
        group = group_of(address)
        text = f"{group}\0{name}"
        digest = self._digest(text)
        counters = self._configured if configured else self._others
        bucket = int.from_bytes(self._digest(name)[:4], "little")
        return Pair(text, counters, counters.places(digest), bucket, int.from_bytes(digest[-8:], "little") | 1)

    def check(self, pair: Pair) -> None:
        """Raises TooManyRequests if the pair is locked, with the seconds until it is not."""
        now = self._now()
        self._check(pair, self._pairs.find(pair.bucket, pair.key, now), now)

    def is_locked(self, pair: Pair) -> bool:
        try:
            self.check(pair)
        except TooManyRequests:
            return True
        return False

    def failed(self, pair: Pair) -> None:
        """Counts one failure. Raises TooManyRequests instead if the pair is locked, even if it was not a moment ago.

        So of any number of simultaneous guesses, in whatever processes, only MAX_FAILURES are answered.
        """
        self.book(pair)

    def book(self, pair: Pair) -> Booking:
        """Counts a failure before the guess is made, for guesses that take time. Raises TooManyRequests like `failed`."""
        with self._file.locked():
            now = self._now()
            known = self._pairs.find(pair.bucket, pair.key, now)
            self._check(pair, known, now)
            if known is None:
                return Booking(pair, pair.counters.add(pair.places, now), None)
            return Booking(pair, self._pairs.add(known, now), known)

    def give_back(self, booking: Booking) -> None:
        """Takes a failure back: what was booked turned out to be right, or nobody could say."""
        with self._file.locked():
            if booking.known is None:
                booking.pair.counters.take_off(booking.pair.places, booking.number)
            else:
                self._pairs.take_off(booking.known, booking.pair.key, booking.number)

    def succeeded(self, pair: Pair) -> bool:
        """Notes that the pair proved itself: for a day it has a counter of its own. The failures that it has stay.

        Returns whether it is the first time within a day.
        """
        now = self._now()
        known = self._pairs.find(pair.bucket, pair.key, now)
        if known is not None and self._pairs.is_fresh(known, now):
            return False
        with self._file.locked():
            self._pairs.remember(pair.bucket, pair.key, now, pair.counters.counts(pair.places, now))
        return known is None

    def is_known(self, pair: Pair) -> bool:
        """Whether the pair proved itself within a day."""
        return self._pairs.find(pair.bucket, pair.key, self._now()) is not None

    def lock(self, pair: Pair, seconds: float) -> None:
        """Locks a pair in this process, for it has failed too often at all instances together."""
        self._locked.keep(pair.key, self._now() + seconds, seconds)

    def check_lock(self, pair: Pair) -> None:
        """Raises TooManyRequests if `lock` has locked the pair."""
        if locked := self._locked.find(pair.key):
            raise too_many(max(1, math.ceil(locked[0] - self._now())))

    def never_fails(self, pair: Pair) -> bool:
        """Whether the pair proved itself within a day and has no failure in the last minute, as far as this instance knows."""
        now = self._now()
        known = self._pairs.find(pair.bucket, pair.key, now)
        return known is not None and not self._pairs.counts(known, now)

    def _check(self, pair: Pair, known: int | None, now: float) -> None:
        failures = pair.counters.counts(pair.places, now) if known is None else self._pairs.counts(known, now)
        if sum(count for _, count in failures) >= MAX_FAILURES:
            raise too_many(seconds_until_fewer(failures, MAX_FAILURES, now))
        self.check_lock(pair)

    # --- tokens of the signing service --------------------------------------------------------------------------------

    def remember_token(self, digest: bytes) -> None:
        """Notes that the signing service accepts the token with this digest: asking about it again is no guess."""
        bucket, key = token_numbers(digest)
        with self._file.locked():
            self._tokens.remember(bucket, key, self._now(), ())

    def remembers_token(self, digest: bytes) -> bool:
        """Whether the signing service accepted the token with this digest within a day."""
        return self._tokens.find(*token_numbers(digest), self._now()) is not None

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._key, digest_size=32).digest()


def too_many(seconds: int) -> TooManyRequests:
    """What a caller gets whose pair is locked for so many seconds."""
    cause = "too many failed attempts with this client id from this address"
    return TooManyRequests(cause, retry_after_seconds=seconds)


def token_numbers(digest: bytes) -> tuple[int, int]:
    """Bucket and key of a token, from the SHA-256 of it."""
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:12], "little") | 1
