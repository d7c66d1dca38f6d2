"""`Pace`: the amounts and the pauses of the signing queue, in one place. The composition root and the tests give them in."""

from dataclasses import dataclass

from batchseal.store.instances import LEASE_SECONDS
from batchseal.system.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much the signer does at once, and how long it waits. Many operations, so that small ones share sign calls; but no more
    documents than memory should hold.
    """

    operations: int = 256
    documents: int = 20_000
    claimed: int = 8  # operations in one look at the database
    # The same where others leave operations to this instance: these should share sign calls with its own.
    shared_claimed: int = 64
    look_seconds: float = 2.0
    # The same where others leave operations to this instance: they have been waiting before it finds them.
    shared_look_seconds: float = 0.2
    lease_seconds: float = LEASE_SECONDS
    between_tries: Backoff = Backoff(1.0, 60.0)  # that failed for the whole operation
    # After this long with a signing service that is away, documents are given up untried.
    patience_seconds: float = 86_400.0
    unexpected_failures: int = 5  # of one operation, before it is given up
    share_percent: int = 25  # of operations and documents: for client services that have little at work


DEFAULT_PACE = Pace()
