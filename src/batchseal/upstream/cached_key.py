"""What is kept of the key of an account, so that it is not read for each call."""

from dataclasses import dataclass

from batchseal.upstream.gate import OPEN, Gate
from batchseal.upstream.interface import Account, RemoteKey
from batchseal.upstream.lane import Lane


@dataclass(eq=False, slots=True)
class CachedKey:
    """The key of an account as it was read from the signing service, and the lane of its sign calls."""

    account: Account
    key: RemoteKey
    read_at: float
    """By `time.monotonic()`."""
    lane: Lane
    gate: Gate = OPEN
