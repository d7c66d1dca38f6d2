"""The pauses and the limits of an `Upstream`, in one place: the composition root and the tests give them in."""

from dataclasses import dataclass

from batchseal.system.backoff import Backoff

BYTES_PER_DIGEST = 100  # in a sign call: the digest in base64, and about as much again for the grant
BODY_MARGIN_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPace:
    """The defaults are what the service runs with. Raises ValueError for a pace that cannot work."""

    repeating: Backoff = Backoff(0.25, 20.0, growth=3.0)
    """The pauses between two tries of a digest."""
    calls: int = 4
    """Sign calls of one key that are under way at once. A small order may start one more."""
    call_digests: int = ((1 << 20) - BODY_MARGIN_BYTES) // BYTES_PER_DIGEST
    """The largest number of digests in a call; by default as many as fit into a body of 1 MiB."""
    polling: Backoff = Backoff(0.2, 2.0, growth=1.5)
    """The pauses between two polls for signatures that come later."""
    probing: Backoff = Backoff(0.5, 30.0)
    """The pauses between two probes while the breaker is open."""
    hold_seconds: float = 5.0
    """The longest time that a call waits for the breaker to close."""
    unused_grant_seconds: float = 2.0
    """A grant that was requested ahead is dropped if no call takes it within this time."""
    health_seconds: float = 5.0
    """How long the result of a health check is cached."""
    authority_pause_seconds: float = 15.0
    """After a failure, a time stamp authority gets no request for this time."""

    def __post_init__(self) -> None:
        seconds = (self.hold_seconds, self.unused_grant_seconds, self.health_seconds, self.authority_pause_seconds)
        if min(self.calls, self.call_digests) < 1 or min(seconds) < 0:
            raise ValueError(f"no upstream can work at this pace: {self}")


DEFAULT_PACE = UpstreamPace()
