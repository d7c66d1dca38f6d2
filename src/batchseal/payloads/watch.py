"""Remembers whether a payload store that is not of this machine answers, so that nobody waits for one that does not.

    answers ──(a call failed, or a probe does not come back)──► away
       ▲                                                          │
       └──(a probe, or a call that was let through, succeeded)────┘

While the store is away, calls are refused at once, but for one in a while, which is let through to try. Whoever cannot wait asks
`need`, which starts a probe in a thread where one is due. A store that belongs to another database answers calls as well as ever,
so of that one no call is let through, and a probe alone finds that it is ours again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from batchseal.errors import PayloadsOfAnother, PayloadUnavailable

log = structlog.get_logger("payloads")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPace:
    """Times in seconds.

    A store that is away is tried every `probe_seconds`. `need` has one that was silent for `quiet_seconds` probed, and takes one
    for away whose probe takes longer than `patience_seconds`.
    """

    probe_seconds: float = 2.0
    quiet_seconds: float = 5.0
    patience_seconds: float = 10.0


DEFAULT_PACE = WatchPace()


class Watch:
    """One for each process and store. Any thread may use it. `probe` asks the store something small, or raises.

    `what` stands for the store in the log and in causes.
    """

    def __init__(
        self, probe: Callable[[], None], pace: WatchPace = DEFAULT_PACE, what: str = "the payload store"
    ) -> None:
        self._probe = probe
        self._what = what
        self._pace = pace
        self._lock = threading.Lock()
        self._cause = ""  # why it is away; empty: it is not
        self._is_anothers = False
        self._answered = time.monotonic()
        self._tried = 0.0
        self._probing_since: float | None = None
        self._prober: threading.Thread | None = None  # the last one that was started

    @property
    def is_away(self) -> bool:
        return bool(self._cause)

    def answered(self) -> None:
        """A call was successful."""
        self._answered = time.monotonic()
        if not self._is_anothers:
            self._is_back()

    def _is_back(self) -> None:
        with self._lock:
            was_away, self._cause, self._is_anothers = bool(self._cause), "", False
        if was_away:
            log.info(f"{self._what} answers again")

    def failed(self, cause: str, detail: str = "") -> None:
        """A call found that the store cannot be reached, or cannot do its work. `detail` is for the log alone."""
        with self._lock:
            is_new, self._cause, self._tried = not self._cause, cause, time.monotonic()
        if is_new:
            log.warning(f"{self._what} is away", cause=cause, detail=detail)

    def belongs_to_another(self, cause: str) -> None:
        """A call found that the store belongs to another database."""
        with self._lock:
            is_new = not self._is_anothers
            self._cause, self._is_anothers, self._tried = cause, True, time.monotonic()
        if is_new:
            log.error(f"{self._what} is not used", cause=cause)

    def let_through(self) -> None:
        """For a call that may wait. Raises PayloadUnavailable while the store is away, unless it is time to try."""
        with self._lock:
            if not self._cause:
                return
            now = time.monotonic()
            if self._is_anothers and self._probing_since is None and self._is_due(now):
                self._begin_probe(now)
            if self._is_anothers or now - self._tried < self._pace.probe_seconds:
                raise self._away()
            self._tried = now

    def need(self) -> None:
        """For a call that must not wait. Raises PayloadUnavailable while the store is away, as far as that is known."""
        now = time.monotonic()
        with self._lock:
            if (since := self._probing_since) is not None:
                if now - since > self._pace.patience_seconds and not self._cause:
                    self._cause = "it has not answered for a while"
            elif self._is_due(now):
                self._begin_probe(now)
            if self._cause:
                raise self._away()

    def need_answer(self, seconds: float) -> None:
        """For a call that has nothing to go by before the first answer: has the store probed, and waits so long for that at most.

        Raises PayloadUnavailable where no answer came, or another one than that the store is there.
        """
        with self._lock:
            prober = self._prober
            if prober is None or self._probing_since is None:
                prober = self._begin_probe(time.monotonic())
        prober.join(seconds)
        if prober.is_alive():
            self.failed("it has not answered yet")
        if self._cause:
            raise self._away()

    def _begin_probe(self, now: float) -> threading.Thread:
        """To be called with the lock held."""
        self._probing_since = self._tried = now
        self._prober = threading.Thread(target=self._try, name="payload store", daemon=True)
        self._prober.start()
        return self._prober

    def _is_due(self, now: float) -> bool:
        if self._cause:
            return now - self._tried >= self._pace.probe_seconds
        return now - max(self._answered, self._tried) >= self._pace.quiet_seconds

    def _try(self) -> None:
        try:
            self._probe()
        except PayloadsOfAnother as problem:
            self.belongs_to_another(problem.cause)
        except PayloadUnavailable as problem:
            self.failed(problem.cause)
        else:
            self._answered = time.monotonic()
            self._is_back()
        finally:
            with self._lock:
                self._probing_since = None

    def _away(self) -> PayloadUnavailable:
        seconds = max(1, round(self._pace.probe_seconds))
        if self._is_anothers:
            return PayloadsOfAnother(self._cause, retry_after_seconds=seconds)
        return PayloadUnavailable(f"{self._what} is away: {self._cause}", retry_after_seconds=seconds)
